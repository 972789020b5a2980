// Elements from one numeric type to another, and float16 <-> float32.
#pragma once
#include <cstddef>
#include <cstdint>

#include "store/zarr.h"

namespace me2::store {

float half_to_float(std::uint16_t bits);
std::uint16_t float_to_half(float value);  // rounds to nearest even; overflow gives infinity

// `n` elements of `from` at `in` to `to` at `out`, which may not overlap. f2 elements are their uint16 bits.
// Floating types round; integers, and floating values into integers, must fit exactly: Exit::data naming the value and the type.
void convert_elements(DType from, const void* in, DType to, void* out, std::size_t n);

// In place: reverses the bytes of each of the `n` elements of `item` bytes (2, 4 or 8).
void swap_bytes(void* data, std::size_t item, std::size_t n);

}  // namespace me2::store
