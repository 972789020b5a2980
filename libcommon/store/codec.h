// The codec chain of one Zarr array: array -> array (transpose), array -> bytes (bytes, vlen-utf8), bytes -> bytes.
// Decoding trusts nothing: sizes that a frame announces are held against what the metadata say before memory is taken.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace me2::store {

using Bytes = std::vector<std::uint8_t>;
using ByteSpan = std::span<const std::uint8_t>;

// Largest chunk, decoded, that is read or written: 4 GiB.
inline constexpr std::int64_t kMaxChunkBytes = std::int64_t{1} << 32;

struct ByteCodec {
  enum class Kind { blosc, zstd, gzip, zlib, crc32c };
  Kind kind = Kind::zstd;
  int level = 0;
  bool checksum = false;        // zstd: write a frame checksum
  std::string compressor;       // blosc: lz4, lz4hc, blosclz, zlib, zstd, snappy
  int shuffle = 0;              // blosc: 0 none, 1 bytes, 2 bits
  std::size_t typesize = 1;     // blosc
  std::size_t blocksize = 0;    // blosc; 0 lets the library choose
  const char* name() const;
};

struct CodecChain {
  std::vector<int> order;        // transpose: stored axis k is array axis order[k]; empty: as it is
  bool big_endian = false;       // of elements wider than one byte
  bool vlen_utf8 = false;        // array -> bytes is vlen-utf8, not bytes
  std::vector<ByteCodec> bytes;  // in the order of encoding

  bool stored_as_is() const { return order.empty() && !big_endian && !vlen_utf8 && bytes.empty(); }

  // Undoes the bytes -> bytes codecs. All throw Error(Exit::data) with a sentence that lacks the place: the caller knows it.
  void decode(ByteSpan encoded, std::span<std::uint8_t> out) const;  // exactly out.size() bytes, else an error
  Bytes decode_up_to(ByteSpan encoded, std::size_t most) const;      // for vlen-utf8, where the size is not known
  // Does the bytes -> bytes codecs. Same input, same bytes.
  void encode(ByteSpan raw, Bytes& out) const;
};

// False when no codec could make `decoded` bytes out of `encoded`: asked before memory for a chunk is taken.
bool expansion_is_possible(std::size_t encoded, std::size_t decoded);

// vlen-utf8: u32 LE count, then per item u32 LE length and UTF-8 bytes.
std::vector<std::string> decode_vlen_utf8(ByteSpan raw, std::size_t count);
Bytes encode_vlen_utf8(std::span<const std::string> values);
// Fixed-width strings, NUL padded: UCS-4 in the given byte order, or plain bytes.
std::vector<std::string> decode_ucs4(ByteSpan raw, std::size_t characters, bool big_endian);
Bytes encode_ucs4(std::span<const std::string> values, std::size_t characters, bool big_endian);
std::vector<std::string> decode_fixed_bytes(ByteSpan raw, std::size_t width);
Bytes encode_fixed_bytes(std::span<const std::string> values, std::size_t width);
bool is_utf8(std::string_view text);

}  // namespace me2::store
