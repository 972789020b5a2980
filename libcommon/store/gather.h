// Scattered rows of an array in one call, so that their chunks are read and decoded by several threads.
#pragma once
#include <cstdint>
#include <span>

#include "store/zarr.h"

namespace me2::store {

// out[i] = row rows[i] of the first axis, [rows, ...rest], converted as Array::read_bytes does. Any order, repeats allowed; ascending
// neighbours are read together. Up to store_threads() threads. Errors are read_bytes', of the lowest i.
void gather_bytes(const Array& array, std::span<const std::int64_t> rows, DType as, void* out);

template <class T>
void gather_rows(const Array& array, std::span<const std::int64_t> rows, T* out) {
  gather_bytes(array, rows, dtype_of<T>(), out);
}

// gather_rows of numbers that must be finite: Exit::data names the first row that holds another.
void gather_finite_rows(const Array& array, std::span<const std::int64_t> rows, float* out);

}  // namespace me2::store
