// A NIfTI-1 file in memory, byte by byte (nifti1.h), for what no program writes.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "store/convert.h"
#include "store/nifti.h"
#include "support/files.h"

namespace me2::test {

struct MadeNifti {
  std::string b = std::string(352, '\0');
  bool swap = false;
  template <class T>
  MadeNifti& put(std::size_t at, T value) {
    if (swap) store::swap_bytes(&value, sizeof value, 1);
    std::memcpy(b.data() + at, &value, sizeof value);
    return *this;
  }
  // type and bits: datatype and bitpix of nifti1.h, int16 unless told. pixdim[k] is k + 1.
  explicit MadeNifti(std::vector<std::int16_t> dims, std::int16_t type = 4, std::int16_t bits = 16, bool swapped = false) : swap(swapped) {
    put<std::int32_t>(0, 348).put<std::int16_t>(40, static_cast<std::int16_t>(dims.size())).put(70, type).put(72, bits).put<float>(108, 352);
    for (std::size_t k = 0; k < dims.size(); ++k) put(42 + 2 * k, dims[k]);
    for (std::size_t k = 0; k < 8; ++k) put<float>(76 + 4 * k, static_cast<float>(k) + 1);
    std::memcpy(b.data() + 344, "n+1", 4);
  }
  template <class T>
  MadeNifti& data(std::vector<T> values) {  // first axis fastest
    for (T v : values) {
      if (swap) store::swap_bytes(&v, sizeof v, 1);
      b.append(reinterpret_cast<const char*>(&v), sizeof v);
    }
    return *this;
  }
  store::NiftiFile open() const { return store::NiftiFile(std::as_bytes(std::span(b)), "v.nii"); }
  void write(const std::string& path) const { write_text(path, b); }
};

// float32 [X,Y,Z,volume] from values in store order: volume after volume, the last of X, Y, Z fastest.
inline MadeNifti float_nifti(std::int16_t x, std::int16_t y, std::int16_t z, const std::vector<float>& values) {
  const int one = x * y * z;
  std::vector<float> turned(values.size());
  for (std::size_t t = 0; t * one < values.size(); ++t)
    for (int i = 0; i < x; ++i)
      for (int j = 0; j < y; ++j)
        for (int k = 0; k < z; ++k) turned[t * one + (k * y + j) * x + i] = values[t * one + (i * y + j) * z + k];
  return MadeNifti({x, y, z, static_cast<std::int16_t>(values.size() / one)}, 16, 32).data(turned);
}

}  // namespace me2::test
