// Sizes of arrays from files that may lie, and float64 -> float16 in one rounding.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "store/zarr.h"

namespace me2::store {

// Product of `shape` times `item`; Exit::data naming `where` when an extent is negative or the product passes 2^62.
std::int64_t checked_bytes(const Shape& shape, std::size_t item, const std::string& where);
std::int64_t element_count(const Shape& shape, const std::string& where);

std::uint16_t double_to_half(double value);  // nearest even, once: not by way of float32

}  // namespace me2::store
