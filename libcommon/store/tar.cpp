#include "store/tar.h"

#include <charconv>
#include <cstring>
#include <filesystem>

#include "base/error.h"

namespace me2::store {
namespace {

constexpr std::size_t kBlock = 512;

std::string field(const char* at, std::size_t size) { return {at, strnlen(at, size)}; }

// Octal text, or base-256 when the top bit is set. -1 when it is neither.
std::int64_t number(const char* at, std::size_t size) {
  const auto* p = reinterpret_cast<const unsigned char*>(at);
  if (p[0] & 0x80) {
    if (p[0] & 0x40) return -1;  // negative
    std::int64_t value = p[0] & 0x3f;
    for (std::size_t i = 1; i < size; ++i)
      if (__builtin_mul_overflow(value, 256, &value) || __builtin_add_overflow(value, p[i], &value)) return -1;
    return value;
  }
  std::size_t i = 0;
  while (i < size && at[i] == ' ') ++i;
  std::int64_t value = 0;
  for (; i < size && at[i] >= '0' && at[i] <= '7'; ++i) value = value * 8 + (at[i] - '0');
  for (; i < size; ++i)
    if (at[i] != ' ' && at[i] != '\0') return -1;
  return value;
}

bool valid_utf8(const std::string& s) {
  for (std::size_t i = 0; i < s.size();) {
    const unsigned char c = static_cast<unsigned char>(s[i]);
    const std::size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
    if (n == 0 || i + n > s.size()) return false;
    for (std::size_t k = 1; k < n; ++k)
      if ((static_cast<unsigned char>(s[i + k]) & 0xc0) != 0x80) return false;
    i += n;
  }
  return true;
}

void check_name(const std::string& name, const std::string& where) {
  if (name.empty() || name.find('\0') != std::string::npos || !valid_utf8(name))
    throw data_error("{}: a member's name is empty or not UTF-8 text", where);
  if (name.front() == '/') throw data_error("{}: member '{}' has an absolute path", where, name);
  for (const auto& part : std::filesystem::path(name))
    if (part == "..") throw data_error("{}: member '{}' has '..' in its path", where, name);
}

// "LENGTH KEY=VALUE\n" records; only path and size matter here.
void apply_pax(const std::string& text, std::string& path, std::int64_t& size, const std::string& where) {
  for (std::size_t at = 0; at < text.size();) {
    std::size_t length = 0;
    const auto [end, error] = std::from_chars(text.data() + at, text.data() + text.size(), length);
    const std::size_t digits = static_cast<std::size_t>(end - (text.data() + at));
    if (error != std::errc() || length < digits + 3 || length > text.size() - at || *end != ' ' || text[at + length - 1] != '\n')
      throw data_error("{}: malformed pax header", where);
    const std::string record = text.substr(at + digits + 1, length - digits - 2);
    const std::size_t eq = record.find('=');
    if (eq == std::string::npos) throw data_error("{}: malformed pax header", where);
    const std::string key = record.substr(0, eq), value = record.substr(eq + 1);
    if (key == "path") path = value;
    if (key == "size") {
      const auto [stop, bad] = std::from_chars(value.data(), value.data() + value.size(), size);
      if (bad != std::errc() || stop != value.data() + value.size() || size < 0) throw data_error("{}: malformed size '{}' in a pax header", where, value);
    }
    if (key.starts_with("GNU.sparse")) throw data_error("{}: sparse members are not supported", where);
    at += length;
  }
}

}  // namespace

TarReader::TarReader(const std::string& path, TarLimits limits) : where_(path), limits_(limits) {
  if (!std::filesystem::exists(path)) throw missing_error("{}: no such file; a tar archive was expected", path);
  if (!std::filesystem::is_regular_file(path)) throw data_error("{}: not a file; a tar archive was expected", path);
  file_ = std::make_unique<std::ifstream>(path, std::ios::binary);
  if (!*file_) throw io_error("{}: cannot be opened for reading", path);
  stream_ = file_.get();
}

TarReader::TarReader(std::istream& stream, const std::string& where, TarLimits limits) : stream_(&stream), where_(where), limits_(limits) {}

void TarReader::read_exactly(char* out, std::size_t n, const std::string& member) {
  stream_->read(out, static_cast<std::streamsize>(n));
  if (static_cast<std::size_t>(stream_->gcount()) != n)
    throw data_error("{}: truncated tar archive: {} of {} bytes of {}", where_, stream_->gcount(), n, member);
}

std::string TarReader::read_text(std::int64_t size, const std::string& member) {
  if (size > 1 << 20) throw data_error("{}: {} of {} bytes is too long", where_, member, size);
  std::string text(static_cast<std::size_t>(size), '\0');
  read_exactly(text.data(), text.size(), member);
  char padding[kBlock];
  read_exactly(padding, (kBlock - text.size() % kBlock) % kBlock, member);
  return text;
}

bool TarReader::next(TarMember& member) {
  std::string long_name, pax_name;
  std::int64_t pax_size = -1;
  while (!done_) {
    char h[kBlock];
    stream_->read(h, kBlock);
    if (stream_->gcount() == 0 && count_ > 0)
      throw data_error("{}: truncated tar archive: it ends after {} members without an end mark", where_, count_);
    if (stream_->gcount() != static_cast<std::streamsize>(kBlock))
      throw data_error("{}: truncated tar archive: {} bytes of a 512-byte header after {} members", where_, stream_->gcount(), count_);
    unsigned sum = 0;
    bool zero = true;
    for (std::size_t i = 0; i < kBlock; ++i) {
      zero = zero && h[i] == 0;
      sum += i >= 148 && i < 156 ? ' ' : static_cast<unsigned char>(h[i]);
    }
    if (zero) {
      done_ = true;
      break;
    }
    if (number(h + 148, 8) != static_cast<std::int64_t>(sum))
      throw data_error("{}: not a tar archive: header checksum of member {} is wrong", where_, count_ + 1);
    std::int64_t size = number(h + 124, 12);
    const char type = h[156];
    std::string name = field(h, 100);
    if (std::memcmp(h + 257, "ustar\0", 6) == 0 && h[345]) name = field(h + 345, 155) + "/" + name;
    if (size < 0) throw data_error("{}: member '{}' has a malformed size", where_, name);
    if (++count_ > limits_.members) throw data_error("{}: more than {} members", where_, limits_.members);
    if (type == 'L') {
      long_name = read_text(size, "a long name");
      long_name = long_name.c_str();  // NUL-terminated
      continue;
    }
    if (type == 'x' || type == 'g') {
      const std::string text = read_text(size, "a pax header");
      if (type == 'x') apply_pax(text, pax_name, pax_size, where_);
      continue;
    }
    if (!long_name.empty()) name = long_name;
    if (!pax_name.empty()) name = pax_name;
    if (pax_size >= 0) size = pax_size;
    check_name(name, where_);
    if (type == '5') {
      read_text(size, "directory '" + name + "'");
      long_name.clear(), pax_name.clear(), pax_size = -1;
      continue;
    }
    if (type != '0' && type != '\0' && type != '7')
      throw data_error("{}: member '{}' is {}; only regular files are read", where_, name,
                       type == '1' || type == '2' ? "a link" : type == 'S' ? "a sparse file" : type == 'K' ? "a long link" : "a device or unknown type");
    if (size > limits_.member_bytes)
      throw data_error("{}: member '{}' announces {} bytes; the limit is {}", where_, name, size, limits_.member_bytes);
    member.name = std::move(name);
    // Grown as bytes arrive, so that a header alone cannot make us allocate what it announces.
    member.bytes.clear();
    for (std::int64_t got = 0; got < size;) {
      const std::int64_t step = std::min<std::int64_t>(size - got, 1 << 20);
      member.bytes.resize(static_cast<std::size_t>(got + step));
      stream_->read(reinterpret_cast<char*>(member.bytes.data()) + got, step);
      if (stream_->gcount() != step)
        throw data_error("{}: truncated tar archive: member '{}' has {} of {} bytes", where_, member.name, got + stream_->gcount(), size);
      got += step;
    }
    char padding[kBlock];
    read_exactly(padding, static_cast<std::size_t>((kBlock - size % kBlock) % kBlock), "the padding of '" + member.name + "'");
    return true;
  }
  return false;
}

const std::vector<std::byte>* WebSample::find(const std::string& name) const {
  for (const auto& [field, bytes] : fields)
    if (field == name) return &bytes;
  return nullptr;
}

bool WebdatasetReader::next(WebSample& sample) {
  sample.key.clear();
  sample.fields.clear();
  for (;;) {
    if (!ahead_) {
      TarMember member;
      if (!tar_.next(member)) break;
      ahead_ = std::move(member);
    }
    const std::size_t slash = ahead_->name.rfind('/');
    const std::size_t dot = ahead_->name.find('.', slash == std::string::npos ? 0 : slash + 1);
    const std::string key = ahead_->name.substr(0, dot), rest = dot == std::string::npos ? "" : ahead_->name.substr(dot + 1);
    if (!sample.fields.empty() && key != sample.key) break;
    sample.key = key;
    if (sample.find(rest)) throw data_error("{}: member '{}' occurs twice", tar_.where(), ahead_->name);
    sample.fields.emplace_back(rest, std::move(ahead_->bytes));
    ahead_.reset();
  }
  return !sample.fields.empty();
}

}  // namespace me2::store
