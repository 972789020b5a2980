// Inside of Array: its metadata, its files, and the walk over chunks that reading and writing share.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "store/store_files.h"
#include "store/zarr_meta.h"

namespace me2::store {

struct Extent {  // of one inner chunk within its file
  std::uint64_t offset = 0, size = 0;
};
using ShardIndex = std::vector<std::optional<Extent>>;  // row-major over the inner grid of one full shard; nothing = absent

// ---- zarr_shard.cpp
std::size_t shard_index_bytes(const CodecChain& index_codecs, std::size_t chunks);
// Checks every entry against the file: inside it, no wrap-around. Throws Error(Exit::data) without the place.
ShardIndex decode_shard_index(ByteSpan encoded, const CodecChain& index_codecs, std::size_t chunks, std::uint64_t file_size);
Bytes encode_shard_index(const ShardIndex& index, const CodecChain& index_codecs);
ShardIndex read_shard_index(const ReadFile& file, const ArrayMeta& meta);

struct Array::Impl {
  std::shared_ptr<const StoreFiles> files;
  std::string relative;  // "" for an array at the store's root
  std::string shown;     // STORE/name
  ArrayMeta meta;

  struct CachedIndex {
    std::uint64_t stamp;
    std::shared_ptr<const ShardIndex> index;
  };
  mutable std::mutex mutex;
  mutable std::map<std::string, CachedIndex> indices;  // by chunk key; what random rows of a shard would read again and again

  std::string file_of(const std::string& key) const { return relative.empty() ? key : relative + "/" + key; }
};

// One file of an array: a chunk, or a shard of inner chunks.
struct Unit {
  std::string key;
  Shape origin;                  // its first element
  std::optional<ReadFile> file;  // nothing: missing, reads as the fill value
  std::shared_ptr<const ShardIndex> index;
  std::optional<Extent> find(std::int64_t inner) const;
};
Unit open_unit(const Array::Impl& array, const Shape& grid_index);

Shape inner_counts(const ArrayMeta& meta);                 // inner chunks per file, by axis
Shape unravel(std::int64_t i, const Shape& counts);        // row-major
Box intersection(const Box& a, const Box& b);
Box grid_range(const Box& box, const Shape& chunk);        // indices of the chunks that touch a box (of at least one element)
inline std::int64_t volume(const Box& box) { return element_count(box.count); }

// Runs of elements that are contiguous both in a row-major chunk and in a row-major box: f(element in the chunk, element in the box, length).
void for_each_run(const Box& chunk, const Box& box, const Box& piece, const std::function<void(std::int64_t, std::int64_t, std::int64_t)>& f);

// Memory that grows but is never cleared or zeroed.
class Scratch {
 public:
  std::uint8_t* get(std::size_t n) {
    if (n > size_) data_ = std::make_unique_for_overwrite<std::uint8_t[]>(n), size_ = n;
    return data_.get();
  }

 private:
  std::unique_ptr<std::uint8_t[]> data_;
  std::size_t size_ = 0;
};

// One inner chunk, decoded, row-major in the array's axes, native order; `to` has room for the whole chunk.
void decode_chunk(const ArrayMeta& meta, const ReadFile& file, Extent extent, std::uint8_t* to);
void encode_chunk(const ArrayMeta& meta, const std::uint8_t* chunk, Bytes& out);
std::vector<std::string> decode_string_chunk(const ArrayMeta& meta, const ReadFile& file, Extent extent);
Bytes encode_string_chunk(const ArrayMeta& meta, std::span<const std::string> values);

void check_box(const Array::Impl& array, const Box& box);

// Adds the array and the chunk to an error about the content.
template <class F>
auto in_chunk(const Array::Impl& array, const std::string& key, std::int64_t inner, F&& f) {
  try {
    return f();
  } catch (const Error& e) {
    if (e.exit() != Exit::data) throw;
    if (!array.meta.sharded || inner < 0) throw data_error("{}: chunk {}: {}", array.shown, key, e.what());
    throw data_error("{}: chunk {}, inner chunk {}: {}", array.shown, key, fmt::join(unravel(inner, inner_counts(array.meta)), "/"), e.what());
  }
}

}  // namespace me2::store
