// HDF5 files, read by rows. Data behind external links, external storage, virtual datasets or filter plugins is refused: a file
// must hold what it claims to hold.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "store/zarr.h"

namespace me2::store {

class H5File {
 public:
  explicit H5File(const std::string& path);  // Exit::no_input, or Exit::data when it is not HDF5 or truncated

  const std::string& path() const;
  std::vector<std::string> datasets(const std::string& group = "/") const;  // names of direct children, sorted
  std::vector<std::string> groups(const std::string& group = "/") const;
  bool has(const std::string& name) const;  // "subj01/V1" is allowed

  Shape shape(const std::string& dataset) const;
  DType dtype(const std::string& dataset) const;  // h5py booleans (enums of one byte) are b1; float16 is f2

  // Rows of the first axis (hyperslab), row-major, converted to `as`. A chunk cache of 64 MiB is kept per open dataset.
  void read_rows(const std::string& dataset, std::int64_t first, std::int64_t count, DType as, void* out) const;
  template <class T>
  std::vector<T> read_rows(const std::string& dataset, std::int64_t first, std::int64_t count) const {
    std::vector<T> out(static_cast<std::size_t>(row_size(dataset) * count));
    read_rows(dataset, first, count, dtype_of<T>(), out.data());
    return out;
  }
  template <class T>
  std::vector<T> read(const std::string& dataset) const {
    const Shape s = shape(dataset);
    return read_rows<T>(dataset, 0, s.empty() ? 1 : s[0]);
  }
  std::int64_t row_size(const std::string& dataset) const;  // elements of one row

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

bool is_hdf5(const std::string& path);  // by its signature

}  // namespace me2::store
