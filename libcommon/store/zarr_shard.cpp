// sharding_indexed: many inner chunks in one file, with an index of (offset, bytes) pairs at its start or end.
#include <cstring>
#include <limits>

#include "base/error.h"
#include "store/convert.h"
#include "store/zarr_impl.h"

namespace me2::store {
namespace {
constexpr std::uint64_t kAbsent = std::numeric_limits<std::uint64_t>::max();
}

std::size_t shard_index_bytes(const CodecChain& index_codecs, std::size_t chunks) {
  return chunks * 16 + 4 * index_codecs.bytes.size();  // each byte codec there is a crc32c
}

ShardIndex decode_shard_index(ByteSpan encoded, const CodecChain& index_codecs, std::size_t chunks, std::uint64_t file_size) {
  std::vector<std::uint64_t> words(chunks * 2);
  const std::span<std::uint8_t> raw(reinterpret_cast<std::uint8_t*>(words.data()), words.size() * 8);
  try {
    index_codecs.decode(encoded, raw);
  } catch (const Error& e) {
    throw data_error("shard index: {}", e.what());
  }
  if (index_codecs.big_endian) swap_bytes(words.data(), 8, words.size());
  ShardIndex index(chunks);
  for (std::size_t i = 0; i < chunks; ++i) {
    const std::uint64_t offset = words[2 * i], size = words[2 * i + 1];
    if (offset == kAbsent && size == kAbsent) continue;
    if (offset > file_size || size > file_size - offset)
      throw data_error("shard index: entry {} points to {} bytes at {}, outside the file of {} bytes", i, size, offset, file_size);
    index[i] = Extent{offset, size};
  }
  return index;
}

Bytes encode_shard_index(const ShardIndex& index, const CodecChain& index_codecs) {
  std::vector<std::uint64_t> words;
  words.reserve(index.size() * 2);
  for (const std::optional<Extent>& extent : index) {
    words.push_back(extent ? extent->offset : kAbsent);
    words.push_back(extent ? extent->size : kAbsent);
  }
  if (index_codecs.big_endian) swap_bytes(words.data(), 8, words.size());
  Bytes out;
  index_codecs.encode({reinterpret_cast<const std::uint8_t*>(words.data()), words.size() * 8}, out);
  return out;
}

ShardIndex read_shard_index(const ReadFile& file, const ArrayMeta& meta) {
  const std::size_t chunks = static_cast<std::size_t>(element_count(inner_counts(meta)));
  const std::size_t bytes = shard_index_bytes(meta.index_codecs, chunks);
  if (file.size() < bytes) throw data_error("shard of {} bytes is shorter than its index of {} bytes", file.size(), bytes);
  Bytes encoded(bytes);
  file.read(meta.index_at_start ? 0 : file.size() - bytes, encoded.data(), bytes);
  return decode_shard_index(encoded, meta.index_codecs, chunks, file.size());
}

std::optional<Extent> Unit::find(std::int64_t inner) const {
  if (!file) return std::nullopt;
  if (!index) return Extent{0, file->size()};
  return (*index)[static_cast<std::size_t>(inner)];
}

Unit open_unit(const Array::Impl& array, const Shape& grid_index) {
  Unit unit{chunk_key(array.meta, grid_index), grid_index, array.files->open(array.file_of(chunk_key(array.meta, grid_index))), nullptr};
  for (std::size_t k = 0; k < grid_index.size(); ++k) unit.origin[k] *= array.meta.grid[k];
  if (!array.meta.sharded || !unit.file) return unit;
  {
    const std::lock_guard lock(array.mutex);
    const auto it = array.indices.find(unit.key);
    if (it != array.indices.end() && it->second.stamp == unit.file->stamp()) {
      unit.index = it->second.index;
      return unit;
    }
  }
  unit.index = std::make_shared<const ShardIndex>(
      in_chunk(array, unit.key, -1, [&] { return read_shard_index(*unit.file, array.meta); }));
  constexpr std::size_t kMostCached = 1 << 20;  // entries in all
  const std::lock_guard lock(array.mutex);
  if (array.indices.size() * unit.index->size() > kMostCached) array.indices.clear();
  array.indices[unit.key] = {unit.file->stamp(), unit.index};
  return unit;
}

}  // namespace me2::store
