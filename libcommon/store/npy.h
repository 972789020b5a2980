// NumPy .npy files, format versions 1 to 3: C and Fortran order, either byte order. Object arrays (pickles) are refused.
// Format: numpy/lib/format.py.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "store/zarr.h"

namespace me2::store {

// An array in memory: native byte order, row-major.
struct NpyArray {
  Shape shape;
  DType dtype = DType::f8;
  std::vector<std::byte> bytes;

  std::int64_t size() const;
  template <class T>
  std::vector<T> as() const {
    std::vector<T> out(static_cast<std::size_t>(size()));
    convert(dtype_of<T>(), out.data());
    return out;
  }
  void convert(DType as, void* out) const;
};

struct NpyHeader {
  Shape shape;
  DType dtype = DType::f8;
  bool fortran = false, swapped = false;  // swapped: the file's byte order is not this machine's
  std::size_t data_offset = 0;
};

// Exit::data, naming `where`, when the header or the length is not right.
NpyHeader parse_npy_header(std::span<const std::byte> file, const std::string& where);
NpyArray parse_npy(std::span<const std::byte> file, const std::string& where);
NpyArray read_npy(const std::string& path);

// A memory-mapped .npy, read by rows of the first axis.
class NpyFile {
 public:
  explicit NpyFile(const std::string& path);
  const NpyHeader& header() const { return header_; }
  void read_rows(std::int64_t first, std::int64_t count, DType as, void* out) const;

 private:
  MappedFile file_;
  NpyHeader header_;
};

std::string npy_header(const Shape& shape, DType dtype);  // what comes before the elements: version 1, C order, little-endian

// Version 1 header, C order, little-endian; written to a temporary file and renamed.
void write_npy(const std::string& path, const Shape& shape, DType dtype, const void* values);

}  // namespace me2::store
