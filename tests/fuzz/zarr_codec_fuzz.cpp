// One chunk of foreign bytes through a codec chain. Byte 0: number of codecs, bytes 1-3: which, bytes 4-5: decoded size, byte 6:
// strings or bytes; the rest is the chunk. What decodes must encode and decode to the same again.
#include <algorithm>
#include <cstdint>

#include "base/error.h"
#include "store/codec.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace me2::store;
  if (size < 7) return 0;
  CodecChain chain;
  for (int i = 0; i < data[0] % 4; ++i) {
    ByteCodec codec;
    codec.kind = static_cast<ByteCodec::Kind>(data[1 + i] % 5);
    codec.level = 1;
    codec.compressor = "lz4";
    chain.bytes.push_back(codec);
  }
  const std::size_t bytes = data[4] | std::size_t{data[5]} << 8;
  const ByteSpan chunk(data + 7, size - 7);
  try {
    if (data[6] % 2) {
      const auto strings = decode_vlen_utf8(chain.decode_up_to(chunk, 1 << 20), bytes);
      if (decode_vlen_utf8(encode_vlen_utf8(strings), bytes) != strings) __builtin_trap();
      decode_ucs4(chunk, 1 + bytes % 7, data[6] & 2);
      decode_fixed_bytes(chunk, 1 + bytes % 7);
    } else {
      Bytes out(bytes), again(bytes), encoded;
      chain.decode(chunk, out);
      chain.encode(out, encoded);
      chain.decode(encoded, again);
      if (out != again) __builtin_trap();
    }
  } catch (const me2::Error&) {
  }
  return 0;
}
