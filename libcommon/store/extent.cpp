#include "store/extent.h"

#include <algorithm>
#include <bit>

#include "base/error.h"

namespace me2::store {

std::int64_t checked_bytes(const Shape& shape, std::size_t item, const std::string& where) {
  std::int64_t total = static_cast<std::int64_t>(item);
  bool empty = false;
  for (const std::int64_t extent : shape) {
    if (extent < 0) throw data_error("{}: shape [{}] has a negative extent", where, fmt::join(shape, ", "));
    if (extent == 0) empty = true;
    else if (__builtin_mul_overflow(total, extent, &total) || total > std::int64_t{1} << 62)
      throw data_error("{}: shape [{}] is larger than any memory", where, fmt::join(shape, ", "));
  }
  return empty ? 0 : total;
}

std::int64_t element_count(const Shape& shape, const std::string& where) { return checked_bytes(shape, 1, where); }

std::uint16_t double_to_half(double value) {
  const std::uint64_t bits = std::bit_cast<std::uint64_t>(value), sign = (bits >> 48) & 0x8000;
  const int exponent = static_cast<int>((bits >> 52) & 0x7ff) - 1023;
  std::uint64_t mantissa = bits & 0xfffffffffffff;
  if (exponent == 1024) return static_cast<std::uint16_t>(sign | 0x7c00 | (mantissa ? 0x200 | (mantissa >> 42) : 0));
  if (exponent > 15) return static_cast<std::uint16_t>(sign | 0x7c00);
  if (exponent < -25) return static_cast<std::uint16_t>(sign);  // under half of the smallest half
  mantissa |= std::uint64_t{1} << 52;
  const int drop = exponent >= -14 ? 42 : 42 + (-14 - exponent);
  const std::uint64_t kept = mantissa >> drop, rest = mantissa & ((std::uint64_t{1} << drop) - 1), half = std::uint64_t{1} << (drop - 1);
  const std::uint64_t up = rest > half || (rest == half && (kept & 1)) ? 1 : 0;
  const std::uint64_t base = exponent >= -14 ? static_cast<std::uint64_t>(exponent + 14) << 10 : 0;  // `kept` brings the leading one
  return static_cast<std::uint16_t>(sign | std::min<std::uint64_t>(base + kept + up, 0x7c00));
}

}  // namespace me2::store
