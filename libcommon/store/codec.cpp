#include "store/codec.h"

#include <blosc.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>

#include "base/error.h"
#include "store/crc32c.h"

namespace me2::store {
namespace {

std::uint32_t u32_at(const std::uint8_t* p) {
  return p[0] | std::uint32_t{p[1]} << 8 | std::uint32_t{p[2]} << 16 | std::uint32_t{p[3]} << 24;
}

// Where a decoder puts its bytes: a span of known size, or a vector that may grow to a bound.
// A decoder that finds one byte more than `limit` fails.
struct Sink {
  std::span<std::uint8_t> fixed;  // used when `growing` is null
  Bytes* growing = nullptr;
  std::size_t limit = 0;
  bool exact = false;
};

[[noreturn]] void wrong_size(const char* codec, std::size_t found, const Sink& sink, bool more = false) {
  throw data_error("{} decodes to {}{} bytes, {}{} expected", codec, found, more ? " or more" : "",
                   sink.exact ? "" : "at most ", sink.limit);
}

// ---- zstd
struct FreeZstd {
  void operator()(ZSTD_DCtx* c) const { ZSTD_freeDCtx(c); }
  void operator()(ZSTD_CCtx* c) const { ZSTD_freeCCtx(c); }
};
ZSTD_DCtx* zstd_decoder() {
  thread_local const std::unique_ptr<ZSTD_DCtx, FreeZstd> context(ZSTD_createDCtx());
  if (!context) throw std::bad_alloc();
  return context.get();
}
ZSTD_CCtx* zstd_encoder() {
  thread_local const std::unique_ptr<ZSTD_CCtx, FreeZstd> context(ZSTD_createCCtx());
  if (!context) throw std::bad_alloc();
  return context.get();
}

void decode_zstd(ByteSpan in, Sink& sink) {
  const unsigned long long announced = ZSTD_getFrameContentSize(in.data(), in.size());
  if (announced == ZSTD_CONTENTSIZE_ERROR) throw data_error("not a zstd frame ({} bytes)", in.size());
  if (announced != ZSTD_CONTENTSIZE_UNKNOWN) {
    const std::size_t frame = ZSTD_findFrameCompressedSize(in.data(), in.size());
    if (ZSTD_isError(frame)) throw data_error("zstd frame is damaged or cut: {}", ZSTD_getErrorName(frame));
    if (frame == in.size() && (announced > sink.limit || (sink.exact && announced != sink.limit)))
      wrong_size("zstd", announced, sink);
  }
  ZSTD_DCtx* context = zstd_decoder();
  if (!sink.growing) {
    const std::size_t n = ZSTD_decompressDCtx(context, sink.fixed.data(), sink.fixed.size(), in.data(), in.size());
    if (ZSTD_isError(n)) throw data_error("zstd frame is damaged, cut or too long: {}", ZSTD_getErrorName(n));
    if (n != sink.limit) wrong_size("zstd", n, sink);
    return;
  }
  Bytes& out = *sink.growing;
  ZSTD_DCtx_reset(context, ZSTD_reset_session_only);
  ZSTD_inBuffer source{in.data(), in.size(), 0};
  std::size_t filled = 0, state = 1;
  out.resize(std::min<std::size_t>(sink.limit, std::max<std::size_t>(4096, in.size() * 4)));
  for (;;) {
    ZSTD_outBuffer target{out.data(), out.size(), filled};
    state = ZSTD_decompressStream(context, &target, &source);
    if (ZSTD_isError(state)) throw data_error("zstd frame is damaged: {}", ZSTD_getErrorName(state));
    const bool stuck = target.pos == filled && source.pos == source.size;
    filled = target.pos;
    if (state == 0 && source.pos == source.size) break;
    if (filled == out.size()) {
      if (filled >= sink.limit) wrong_size("zstd", filled, sink, true);
      out.resize(std::min(sink.limit, out.size() * 2));
    } else if (stuck) {
      throw data_error("zstd frame ends early");
    }
  }
  out.resize(filled);
  if (sink.exact && filled != sink.limit) wrong_size("zstd", filled, sink);
}

void encode_zstd(const ByteCodec& codec, ByteSpan in, Bytes& out) {
  ZSTD_CCtx* context = zstd_encoder();
  ZSTD_CCtx_reset(context, ZSTD_reset_session_and_parameters);
  ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, codec.level);
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, codec.checksum);
  out.resize(ZSTD_compressBound(in.size()));
  const std::size_t n = ZSTD_compress2(context, out.data(), out.size(), in.data(), in.size());
  if (ZSTD_isError(n)) throw Error(Exit::internal, fmt::format("zstd: {}", ZSTD_getErrorName(n)));
  out.resize(n);
}

// ---- gzip and zlib
void inflate_all(bool gzip, ByteSpan in, Sink& sink) {
  const char* name = gzip ? "gzip" : "zlib";
  z_stream z{};
  if (inflateInit2(&z, gzip ? 15 + 16 : 15) != Z_OK) throw std::bad_alloc();
  const struct End {
    z_stream* z;
    ~End() { inflateEnd(z); }
  } end{&z};
  constexpr std::size_t kStep = std::size_t{1} << 30;  // zlib counts in 32 bits
  std::size_t consumed = 0, filled = 0;
  std::uint8_t beyond;  // one byte past the expected size is asked for, to notice more
  Bytes* grow = sink.growing;
  if (grow) grow->resize(std::min<std::size_t>(sink.limit, std::max<std::size_t>(4096, in.size() * 4)));
  for (;;) {
    if (grow && filled == grow->size() && filled < sink.limit) grow->resize(std::min(sink.limit, grow->size() * 2));
    const std::size_t room = (grow ? grow->size() : sink.fixed.size()) - filled;
    std::uint8_t* to = (grow ? grow->data() : sink.fixed.data()) + filled;
    z.next_in = const_cast<Bytef*>(in.data() + consumed);
    z.avail_in = static_cast<uInt>(std::min(kStep, in.size() - consumed));
    z.next_out = room ? to : &beyond;
    z.avail_out = room ? static_cast<uInt>(std::min(kStep, room)) : 1;
    const uInt in_before = z.avail_in, out_before = z.avail_out;
    const int state = inflate(&z, Z_NO_FLUSH);
    consumed += in_before - z.avail_in;
    const std::size_t made = out_before - z.avail_out;
    if (room == 0 && made > 0) wrong_size(name, sink.limit + 1, sink, true);
    filled += made;
    if (state == Z_STREAM_END) {
      if (consumed == in.size()) break;
      if (!gzip) throw data_error("{} bytes after the end of the zlib stream", in.size() - consumed);
      if (inflateReset(&z) != Z_OK) throw data_error("gzip: {} bytes after the end", in.size() - consumed);  // next member
      continue;
    }
    if (state == Z_BUF_ERROR || (state == Z_OK && made == 0 && in_before == z.avail_in))
      throw data_error("{} stream ends early, after {} decoded bytes", name, filled);
    if (state != Z_OK) throw data_error("not a sound {} stream: {}", name, z.msg ? z.msg : "damaged");
  }
  if (grow) grow->resize(filled);
  if (sink.exact && filled != sink.limit) wrong_size(name, filled, sink);
}

void deflate_all(bool gzip, int level, ByteSpan in, Bytes& out) {
  z_stream z{};
  if (deflateInit2(&z, level, Z_DEFLATED, gzip ? 15 + 16 : 15, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    throw Error(Exit::internal, fmt::format("zlib refuses level {}", level));
  const struct End {
    z_stream* z;
    ~End() { deflateEnd(z); }
  } end{&z};
  out.resize(deflateBound(&z, in.size()) + 32);
  constexpr std::size_t kStep = std::size_t{1} << 30;
  std::size_t consumed = 0, filled = 0;
  for (;;) {
    const std::size_t left = in.size() - consumed;
    if (filled == out.size()) out.resize(out.size() * 2);
    z.next_in = const_cast<Bytef*>(in.data() + consumed);
    z.avail_in = static_cast<uInt>(std::min(kStep, left));
    z.next_out = out.data() + filled;
    z.avail_out = static_cast<uInt>(std::min(kStep, out.size() - filled));
    const uInt in_before = z.avail_in, out_before = z.avail_out;
    const int state = deflate(&z, left <= kStep ? Z_FINISH : Z_NO_FLUSH);
    consumed += in_before - z.avail_in;
    filled += out_before - z.avail_out;
    if (state == Z_STREAM_END) break;
    if (state != Z_OK && state != Z_BUF_ERROR) throw Error(Exit::internal, "deflate failed");
  }
  out.resize(filled);
}

// ---- blosc
void decode_blosc(ByteSpan in, Sink& sink) {
  if (in.size() < BLOSC_MIN_HEADER_LENGTH) throw data_error("{} bytes are too few for a blosc frame", in.size());
  const std::size_t announced = u32_at(in.data() + 4), whole = u32_at(in.data() + 12);
  // Before anything is decompressed: the library reads past the end of a cut frame, and believes any size.
  if (whole != in.size()) throw data_error("blosc frame of {} bytes announced, {} bytes found", whole, in.size());
  if (announced > sink.limit || (sink.exact && announced != sink.limit)) wrong_size("blosc", announced, sink);
  std::size_t checked = 0;
  if (blosc_cbuffer_validate(in.data(), in.size(), &checked) < 0 || checked != announced)
    throw data_error("blosc frame is damaged (its header is not consistent)");
  if (sink.growing) sink.growing->resize(announced);
  std::uint8_t* to = sink.growing ? sink.growing->data() : sink.fixed.data();
  if (announced == 0) return;
  const int n = blosc_decompress_ctx(in.data(), to, announced, 1);
  if (n < 0 || static_cast<std::size_t>(n) != announced) throw data_error("blosc frame is damaged (code {})", n);
}

void encode_blosc(const ByteCodec& codec, ByteSpan in, Bytes& out) {
  if (in.size() > BLOSC_MAX_BUFFERSIZE) throw Error(Exit::internal, "chunk too large for blosc (2 GiB)");
  out.resize(in.size() + BLOSC_MAX_OVERHEAD);
  const int n = blosc_compress_ctx(codec.level, codec.shuffle, codec.typesize, in.size(), in.data(), out.data(), out.size(),
                                   codec.compressor.c_str(), codec.blocksize, 1);
  if (n <= 0) throw data_error("blosc cannot compress with {} (code {})", codec.compressor, n);
  out.resize(static_cast<std::size_t>(n));
}

// ---- crc32c
ByteSpan check_crc32c(ByteSpan in) {
  if (in.size() < 4) throw data_error("{} bytes leave no room for the crc32c checksum", in.size());
  const ByteSpan content = in.first(in.size() - 4);
  const std::uint32_t stored = u32_at(in.data() + content.size()), computed = crc32c(content.data(), content.size());
  if (stored != computed) throw data_error("crc32c checksum is {:08x}, the content gives {:08x}", stored, computed);
  return content;
}

// No codec here makes more than this out of one byte (zstd: 128 KiB blocks of 4 bytes); announcing more is a bomb.
constexpr std::size_t kMostExpansion = 43700;

void decode_one(const ByteCodec& codec, ByteSpan in, Sink& sink) {
  switch (codec.kind) {
    case ByteCodec::Kind::zstd: return decode_zstd(in, sink);
    case ByteCodec::Kind::gzip: return inflate_all(true, in, sink);
    case ByteCodec::Kind::zlib: return inflate_all(false, in, sink);
    case ByteCodec::Kind::blosc: return decode_blosc(in, sink);
    case ByteCodec::Kind::crc32c: {
      const ByteSpan content = check_crc32c(in);
      if (content.size() > sink.limit || (sink.exact && content.size() != sink.limit))
        throw data_error("{} bytes found, {} expected", content.size(), sink.limit);
      if (sink.growing) sink.growing->assign(content.begin(), content.end());
      else std::copy(content.begin(), content.end(), sink.fixed.begin());
    }
  }
}

std::size_t bound_after(const ByteCodec& codec, std::size_t n) {  // of the encoded size
  return codec.kind == ByteCodec::Kind::crc32c ? n + 4 : n + n / 8 + 4096;
}

}  // namespace

const char* ByteCodec::name() const {
  switch (kind) {
    case Kind::blosc: return "blosc";
    case Kind::zstd: return "zstd";
    case Kind::gzip: return "gzip";
    case Kind::zlib: return "zlib";
    case Kind::crc32c: return "crc32c";
  }
  return "";
}

void CodecChain::decode(ByteSpan encoded, std::span<std::uint8_t> out) const {
  if (bytes.empty()) {
    if (encoded.size() != out.size()) throw data_error("{} bytes found, {} expected", encoded.size(), out.size());
    std::copy(encoded.begin(), encoded.end(), out.begin());
    return;
  }
  // limits[i]: most bytes that codec i may decode to.
  std::vector<std::size_t> limits{out.size()};
  bool exact = true;
  std::vector<bool> exactly{true};
  for (std::size_t i = 0; i + 1 < bytes.size(); ++i) {
    limits.push_back(bound_after(bytes[i], limits.back()));
    exact = exact && bytes[i].kind == ByteCodec::Kind::crc32c;
    exactly.push_back(exact);
  }
  Bytes buffers[2];
  int turn = 0;  // `in` may lie in the buffer used last
  ByteSpan in = encoded;
  for (std::size_t i = bytes.size(); i-- > 0;) {
    if (i > 0) {
      if (bytes[i].kind == ByteCodec::Kind::crc32c) {  // no copy
        in = check_crc32c(in);
        continue;
      }
      Bytes& buffer = buffers[turn ^= 1];
      Sink sink{{}, &buffer, limits[i], exactly[i]};
      decode_one(bytes[i], in, sink);
      in = buffer;
    } else {
      Sink sink{out, nullptr, out.size(), true};
      decode_one(bytes[0], in, sink);
    }
  }
}

Bytes CodecChain::decode_up_to(ByteSpan encoded, std::size_t most) const {
  Bytes current(encoded.begin(), encoded.end());
  std::vector<std::size_t> limits{most};
  for (std::size_t i = 0; i + 1 < bytes.size(); ++i) limits.push_back(bound_after(bytes[i], limits.back()));
  for (std::size_t i = bytes.size(); i-- > 0;) {
    Bytes next;
    Sink sink{{}, &next, limits[i], false};
    decode_one(bytes[i], current, sink);
    current = std::move(next);
  }
  if (current.size() > most) throw data_error("{} bytes found, at most {} expected", current.size(), most);
  return current;
}

void CodecChain::encode(ByteSpan raw, Bytes& out) const {
  if (bytes.empty()) {
    out.assign(raw.begin(), raw.end());
    return;
  }
  Bytes previous;
  ByteSpan in = raw;
  for (const ByteCodec& codec : bytes) {
    if (in.data() == out.data()) {
      std::swap(previous, out);
      in = previous;
    }
    switch (codec.kind) {
      case ByteCodec::Kind::zstd: encode_zstd(codec, in, out); break;
      case ByteCodec::Kind::gzip: deflate_all(true, codec.level, in, out); break;
      case ByteCodec::Kind::zlib: deflate_all(false, codec.level, in, out); break;
      case ByteCodec::Kind::blosc: encode_blosc(codec, in, out); break;
      case ByteCodec::Kind::crc32c: {
        const std::uint32_t c = crc32c(in.data(), in.size());
        out.resize(in.size() + 4);
        std::copy(in.begin(), in.end(), out.begin());
        for (int i = 0; i < 4; ++i) out[in.size() + i] = static_cast<std::uint8_t>(c >> (8 * i));
      }
    }
    in = out;
  }
}

bool expansion_is_possible(std::size_t encoded, std::size_t decoded) {
  return decoded <= (std::size_t{1} << 20) || decoded / kMostExpansion <= encoded;
}

// ---- strings

bool is_utf8(std::string_view text) {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  const auto* const end = p + text.size();
  while (p < end) {
    if (*p < 0x80) {
      ++p;
      continue;
    }
    const int more = *p >= 0xF0 && *p <= 0xF4 ? 3 : *p >= 0xE0 && *p < 0xF0 ? 2 : *p >= 0xC2 && *p < 0xE0 ? 1 : 0;
    if (more == 0 || end - p <= more) return false;
    for (int i = 1; i <= more; ++i)
      if ((p[i] & 0xC0) != 0x80) return false;
    if (*p == 0xE0 && p[1] < 0xA0) return false;  // overlong
    if (*p == 0xED && p[1] > 0x9F) return false;  // surrogates
    if (*p == 0xF0 && p[1] < 0x90) return false;
    if (*p == 0xF4 && p[1] > 0x8F) return false;
    p += more + 1;
  }
  return true;
}

std::vector<std::string> decode_vlen_utf8(ByteSpan raw, std::size_t count) {
  if (raw.size() < 4) throw data_error("vlen-utf8: {} bytes are too few", raw.size());
  const std::size_t stored = u32_at(raw.data());
  if (stored != count) throw data_error("vlen-utf8: {} strings found, {} expected", stored, count);
  if ((raw.size() - 4) / 4 < count) throw data_error("vlen-utf8: {} bytes are too few for {} strings", raw.size(), count);
  std::vector<std::string> out;
  out.reserve(count);
  std::size_t at = 4;
  for (std::size_t i = 0; i < count; ++i) {
    if (raw.size() - at < 4) throw data_error("vlen-utf8: ends before string {}", i);
    const std::size_t n = u32_at(raw.data() + at);
    at += 4;
    if (raw.size() - at < n) throw data_error("vlen-utf8: string {} of {} bytes passes the end", i, n);
    out.emplace_back(reinterpret_cast<const char*>(raw.data()) + at, n);
    if (!is_utf8(out.back())) throw data_error("vlen-utf8: string {} is not UTF-8", i);
    at += n;
  }
  if (at != raw.size()) throw data_error("vlen-utf8: {} bytes after the last string", raw.size() - at);
  return out;
}

Bytes encode_vlen_utf8(std::span<const std::string> values) {
  Bytes out;
  const auto put = [&](std::size_t n) {
    if (n > std::numeric_limits<std::uint32_t>::max()) throw data_error("string of {} bytes: too long for vlen-utf8", n);
    for (int i = 0; i < 4; ++i) out.push_back(static_cast<std::uint8_t>(n >> (8 * i)));
  };
  put(values.size());
  for (const std::string& value : values) {
    if (!is_utf8(value)) throw data_error("string \"{}\" is not UTF-8", value);
    put(value.size());
    out.insert(out.end(), value.begin(), value.end());
  }
  return out;
}

std::vector<std::string> decode_ucs4(ByteSpan raw, std::size_t characters, bool big_endian) {
  std::vector<std::string> out;
  for (std::size_t at = 0; characters > 0 && at + characters * 4 <= raw.size(); at += characters * 4) {
    std::string text, zeros;
    for (std::size_t i = 0; i < characters; ++i) {
      std::uint32_t c = u32_at(raw.data() + at + i * 4);
      if (big_endian) c = __builtin_bswap32(c);
      if (c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) throw data_error("U+{:X} is not a character", c);
      if (c == 0) {
        zeros.push_back('\0');  // padding, unless characters follow
        continue;
      }
      text += zeros;
      zeros.clear();
      if (c < 0x80) {
        text.push_back(static_cast<char>(c));
      } else {
        const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
        constexpr unsigned kLead[] = {0, 0xC0, 0xE0, 0xF0};
        text.push_back(static_cast<char>(kLead[more] | c >> (6 * more)));
        for (int k = more - 1; k >= 0; --k) text.push_back(static_cast<char>(0x80 | (c >> (6 * k) & 0x3F)));
      }
    }
    out.push_back(std::move(text));
  }
  return out;
}

Bytes encode_ucs4(std::span<const std::string> values, std::size_t characters, bool big_endian) {
  Bytes out(values.size() * characters * 4, 0);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!is_utf8(values[i])) throw data_error("string \"{}\" is not UTF-8", values[i]);
    std::size_t k = 0;
    for (std::size_t at = 0; at < values[i].size(); ++k) {
      if (k == characters) throw data_error("string \"{}\" is longer than {} characters", values[i], characters);
      const auto lead = static_cast<unsigned char>(values[i][at]);
      const int more = lead < 0x80 ? 0 : lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
      std::uint32_t c = more == 0 ? lead : lead & (0x3F >> more);
      for (int b = 1; b <= more; ++b) c = c << 6 | (static_cast<unsigned char>(values[i][at + b]) & 0x3F);
      at += more + 1;
      if (big_endian) c = __builtin_bswap32(c);
      std::memcpy(out.data() + (i * characters + k) * 4, &c, 4);
    }
  }
  return out;
}

std::vector<std::string> decode_fixed_bytes(ByteSpan raw, std::size_t width) {
  std::vector<std::string> out;
  for (std::size_t at = 0; width > 0 && at + width <= raw.size(); at += width) {
    std::string text(reinterpret_cast<const char*>(raw.data()) + at, width);
    text.erase(text.find_last_not_of('\0') + 1);
    out.push_back(std::move(text));
  }
  return out;
}

Bytes encode_fixed_bytes(std::span<const std::string> values, std::size_t width) {
  Bytes out(values.size() * width, 0);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i].size() > width) throw data_error("string \"{}\" is longer than {} bytes", values[i], width);
    std::memcpy(out.data() + i * width, values[i].data(), values[i].size());
  }
  return out;
}

}  // namespace me2::store
