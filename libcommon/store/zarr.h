// Zarr v2 and v3, shaped like xtensor-zarr: a hierarchy of groups and arrays, read and written chunk by chunk.
// Why our own: docs/decisions (xtensor-zarr predates v3 and is in no registry we can install from).
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json_fwd.h"

namespace me2::store {

using Shape = std::vector<std::int64_t>;

enum class DType { b1, i1, i2, i4, i8, u1, u2, u4, u8, f2, f4, f8, str };
std::size_t item_size(DType);          // bytes of one element in memory; str has none (0)
const char* dtype_name(DType);         // "f4"
template <class T>
constexpr DType dtype_of();            // float -> f4, std::int32_t -> i4, ... ; f2 travels as std::uint16_t bits through read_bytes

struct Box {  // a hyper-rectangle of elements
  Shape start, count;
};

enum class Codec { raw, zstd, gzip, blosc_lz4, blosc_zstd };

struct ArraySpec {
  Shape shape;
  DType dtype = DType::f4;
  Shape chunks;                 // empty: one row per chunk policy of stage stores is NOT applied; the whole array is one chunk
  Shape shards;                 // empty: not sharded; else a multiple of chunks in every axis
  Codec codec = Codec::zstd;
  std::vector<std::string> dimension_names;  // v3 dimension_names and v2 _ARRAY_DIMENSIONS
  std::string units, long_name;              // attributes every array of ours carries
  double fill = 0;
  std::optional<int> level;     // of the codec; else zstd 1, gzip 5, blosc lz4 5, blosc zstd 1
  bool crc32c = false;          // v3: a checksum after each chunk (zstd frames have one of their own)
  const Json* attributes = nullptr;  // further attributes
};

// Threads that one call may use for its chunks; 0 (at the start): as many as this process may run on.
void set_store_threads(int n);
int store_threads();

// A handle: cheap to copy, thread-safe for reading; writes of different write units may run concurrently.
class Array {
 public:
  const std::string& path() const;       // STORE/name, for messages
  const Shape& shape() const;
  const Shape& chunks() const;           // the unit of reading
  const Shape& write_unit() const;       // shard shape, or chunk shape when not sharded
  DType dtype() const;
  const std::vector<std::string>& dimension_names() const;
  const Json& attributes() const;
  std::int64_t size() const;             // number of elements

  // Native-endian row-major elements of `box`; numeric types are converted to `as` (f2 bits as uint16 when as == f2).
  // Missing chunks read as the fill value. Exit::data naming the array and the chunk key when a chunk is corrupt.
  void read_bytes(const Box& box, DType as, void* out) const;
  void write_bytes(const Box& box, DType from, const void* in);  // each touched write unit: temporary file, fsync, rename

  template <class T>
  std::vector<T> read() const;                                            // everything
  template <class T>
  void read_rows(std::int64_t first, std::int64_t count, T* out) const;    // rows of the first axis
  template <class T>
  std::vector<T> read_rows(std::int64_t first, std::int64_t count) const;
  template <class T>
  void write(const T* in);
  template <class T>
  void write_rows(std::int64_t first, std::int64_t count, const T* in);

  std::vector<std::string> read_strings() const;  // row-major; also from fixed-width U and S arrays
  std::vector<std::string> read_strings(const Box& box) const;
  void write_strings(std::span<const std::string> values);
  void write_strings(const Box& box, std::span<const std::string> values);

  // Whether the file of this write unit (index in the grid of write units) is there.
  bool has_unit(const Shape& grid_index) const;

  // Exit::data when all elements, `item` bytes each, could not be held in this machine's memory.
  void check_memory(std::size_t item) const;

  struct Impl;
  explicit Array(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

 private:
  std::shared_ptr<Impl> impl_;
};

class Group {
 public:
  static Group open(const std::string& path);                                  // v2 or v3, found out from the files
  static Group create(const std::string& path, int zarr_format = 3, const Json* attributes = nullptr);

  const std::string& path() const;
  int zarr_format() const;
  const Json& attributes() const;
  void set_attributes(const Json& attributes);  // rewrites the metadata atomically
  std::vector<std::string> array_names() const;  // sorted, direct children
  std::vector<std::string> group_names() const;
  bool has_array(const std::string& name) const;  // "roi/V1" is allowed
  Array array(const std::string& name) const;     // Exit::data naming the store and what it does hold when absent
  Group group(const std::string& name) const;
  Array create_array(const std::string& name, const ArraySpec& spec);
  Group create_group(const std::string& name);
  void consolidate();  // write consolidated metadata; call once, at the end

  struct Impl;
  explicit Group(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

 private:
  std::shared_ptr<Impl> impl_;
};

// Definitions of the templates.
template <> constexpr DType dtype_of<bool>() { return DType::b1; }
template <> constexpr DType dtype_of<std::int8_t>() { return DType::i1; }
template <> constexpr DType dtype_of<std::int16_t>() { return DType::i2; }
template <> constexpr DType dtype_of<std::int32_t>() { return DType::i4; }
template <> constexpr DType dtype_of<std::int64_t>() { return DType::i8; }
template <> constexpr DType dtype_of<std::uint8_t>() { return DType::u1; }
template <> constexpr DType dtype_of<std::uint16_t>() { return DType::u2; }
template <> constexpr DType dtype_of<std::uint32_t>() { return DType::u4; }
template <> constexpr DType dtype_of<std::uint64_t>() { return DType::u8; }
template <> constexpr DType dtype_of<float>() { return DType::f4; }
template <> constexpr DType dtype_of<double>() { return DType::f8; }

template <class T>
void Array::read_rows(std::int64_t first, std::int64_t count, T* out) const {
  Box box{Shape(shape().size(), 0), shape()};
  box.start[0] = first;
  box.count[0] = count;
  read_bytes(box, dtype_of<T>(), out);
}
template <class T>
std::vector<T> Array::read_rows(std::int64_t first, std::int64_t count) const {
  std::vector<T> out(shape()[0] ? size() / shape()[0] * count : 0);
  read_rows(first, count, out.data());
  return out;
}
template <class T>
std::vector<T> Array::read() const {
  check_memory(sizeof(T));
  std::vector<T> out(size());
  read_bytes({Shape(shape().size(), 0), shape()}, dtype_of<T>(), out.data());
  return out;
}
template <class T>
void Array::write_rows(std::int64_t first, std::int64_t count, const T* in) {
  Box box{Shape(shape().size(), 0), shape()};
  box.start[0] = first;
  box.count[0] = count;
  write_bytes(box, dtype_of<T>(), in);
}
template <class T>
void Array::write(const T* in) {
  write_bytes({Shape(shape().size(), 0), shape()}, dtype_of<T>(), in);
}

}  // namespace me2::store
