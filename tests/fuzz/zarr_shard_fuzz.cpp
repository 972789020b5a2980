// A shard index of foreign bytes. Byte 0: flags (crc32c, big-endian), byte 1: chunks, bytes 2-3: size of the file. Every extent of
// an accepted index lies in the file; the index encodes to the same entries.
#include <cstdint>

#include "base/error.h"
#include "store/zarr_impl.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace me2::store;
  if (size < 4) return 0;
  CodecChain codecs;
  codecs.big_endian = data[0] & 2;
  if (data[0] & 1) {
    ByteCodec sum;
    sum.kind = ByteCodec::Kind::crc32c;
    codecs.bytes.push_back(sum);
  }
  const std::size_t chunks = data[1] % 32;
  const std::uint64_t file = data[2] | std::uint64_t{data[3]} << 8;
  try {
    const ShardIndex index = decode_shard_index({data + 4, size - 4}, codecs, chunks, file);
    for (const auto& extent : index)
      if (extent && (extent->offset > file || extent->size > file - extent->offset)) __builtin_trap();
    const Bytes encoded = encode_shard_index(index, codecs);
    if (encoded.size() != shard_index_bytes(codecs, chunks)) __builtin_trap();
  } catch (const me2::Error&) {
  }
  return 0;
}
