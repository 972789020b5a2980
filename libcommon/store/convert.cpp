#include "store/convert.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

#include "base/error.h"

namespace me2::store {

float half_to_float(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1F;
  std::uint32_t mantissa = bits & 0x3FFu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | (mantissa << 13));  // infinity, NaN with its payload
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float subnormal = static_cast<float>(mantissa) * 0x1p-24f;
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(subnormal));
}

std::uint16_t float_to_half(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint16_t sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return static_cast<std::uint16_t>(sign | 0x7E00u | ((magnitude >> 13) & 0x3FFu));
  if (magnitude >= 0x477FF000u) return sign | 0x7C00u;  // from 65520 on, halfway past the largest
  if (magnitude < 0x38800000u) {                        // subnormal or zero: let the addition round
    const float rounded = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(rounded) - 0x3F000000u));
  }
  const std::uint32_t odd = (magnitude >> 13) & 1;
  return static_cast<std::uint16_t>(sign | ((magnitude - 0x38000000u + 0xFFFu + odd) >> 13));
}

namespace {

struct Half {
  std::uint16_t bits;
};

#if defined(__x86_64__)
bool has_f16c() {
  static const bool has = [] {
    unsigned a = 0, b = 0, c = 0, d = 0;  // clang 14's __builtin_cpu_supports does not know f16c
    return __builtin_cpu_supports("avx") && __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
  }();
  return has;
}
__attribute__((target("avx,f16c"))) std::size_t halves_to_floats(const std::uint16_t* in, float* out, std::size_t n) {
  std::size_t i = 0;
  for (; i + 8 <= n; i += 8)
    _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i))));
  return i;
}
__attribute__((target("avx,f16c"))) std::size_t floats_to_halves(const float* in, std::uint16_t* out, std::size_t n) {
  std::size_t i = 0;
  for (; i + 8 <= n; i += 8)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), _mm256_cvtps_ph(_mm256_loadu_ps(in + i), _MM_FROUND_TO_NEAREST_INT));
  return i;
}
#else
bool has_f16c() { return false; }
std::size_t halves_to_floats(const std::uint16_t*, float*, std::size_t) { return 0; }
std::size_t floats_to_halves(const float*, std::uint16_t*, std::size_t) { return 0; }
#endif

template <class V>
[[noreturn]] void refuse(V value, DType to) {
  throw data_error("value {} does not fit {}", value, dtype_name(to));
}

template <class From, class To>
To convert_one(From value, DType to) {
  if constexpr (std::is_same_v<From, Half>) {
    return convert_one<float, To>(half_to_float(value.bits), to);
  } else if constexpr (std::is_same_v<To, Half>) {
    // Through float: an integer or double first rounded to float may differ from direct rounding in the last bit of a tie;
    // numpy's astype does the same for float32 sources, which are the ones stages write.
    return Half{float_to_half(static_cast<float>(value))};
  } else if constexpr (std::is_same_v<To, bool>) {
    if (value == From(0)) return false;
    if (value == From(1)) return true;
    if constexpr (std::is_same_v<From, bool>) return true;
    else refuse(value, to);
  } else if constexpr (std::is_floating_point_v<To>) {
    return static_cast<To>(value);
  } else if constexpr (std::is_floating_point_v<From>) {
    // The bounds are powers of two, exact in any floating type.
    const From low = static_cast<From>(std::numeric_limits<To>::min());
    const From high = std::ldexp(From(1), std::numeric_limits<To>::digits);
    if (!(value >= low && value < high) || value != std::trunc(value)) refuse(value, to);
    return static_cast<To>(value);
  } else if constexpr (std::is_same_v<From, bool>) {
    return static_cast<To>(value);
  } else {
    if (!std::in_range<To>(value)) refuse(value, to);
    return static_cast<To>(value);
  }
}

template <class From, class To>
void convert_run(const void* in, DType to, void* out, std::size_t n) {
  const char* source = static_cast<const char*>(in);
  char* target = static_cast<char*>(out);
  for (std::size_t i = 0; i < n; ++i) {  // memcpy: the buffers may be unaligned
    std::conditional_t<std::is_same_v<From, bool>, std::uint8_t, From> raw;
    std::memcpy(&raw, source + i * sizeof raw, sizeof raw);
    To value;
    if constexpr (std::is_same_v<From, bool>) value = convert_one<bool, To>(raw != 0, to);
    else value = convert_one<From, To>(raw, to);
    std::memcpy(target + i * sizeof value, &value, sizeof value);
  }
}

template <class F>
void with_type(DType type, F&& f) {
  switch (type) {
    case DType::b1: return f(bool{});
    case DType::i1: return f(std::int8_t{});
    case DType::i2: return f(std::int16_t{});
    case DType::i4: return f(std::int32_t{});
    case DType::i8: return f(std::int64_t{});
    case DType::u1: return f(std::uint8_t{});
    case DType::u2: return f(std::uint16_t{});
    case DType::u4: return f(std::uint32_t{});
    case DType::u8: return f(std::uint64_t{});
    case DType::f2: return f(Half{});
    case DType::f4: return f(float{});
    case DType::f8: return f(double{});
    case DType::str: throw data_error("a string where a number was expected");
  }
}

}  // namespace

void convert_elements(DType from, const void* in, DType to, void* out, std::size_t n) {
  if (n == 0) return;
  if (from == to && from != DType::str) {
    std::memcpy(out, in, n * item_size(from));
    return;
  }
  std::size_t done = 0;
  if (from == DType::f2 && to == DType::f4 && has_f16c())
    done = halves_to_floats(static_cast<const std::uint16_t*>(in), static_cast<float*>(out), n);
  else if (from == DType::f4 && to == DType::f2 && has_f16c())
    done = floats_to_halves(static_cast<const float*>(in), static_cast<std::uint16_t*>(out), n);
  if (done == n) return;
  const char* source = static_cast<const char*>(in) + done * item_size(from);
  char* target = static_cast<char*>(out) + done * item_size(to);
  with_type(from, [&](auto a) {
    with_type(to, [&](auto b) { convert_run<decltype(a), decltype(b)>(source, to, target, n - done); });
  });
}

namespace {
template <class U>
U reversed(U v) {
  if constexpr (sizeof v == 2) return __builtin_bswap16(v);
  else if constexpr (sizeof v == 4) return __builtin_bswap32(v);
  else return __builtin_bswap64(v);
}
template <class U>
void swap_run(char* data, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    U v;
    std::memcpy(&v, data + i * sizeof v, sizeof v);
    v = reversed(v);
    std::memcpy(data + i * sizeof v, &v, sizeof v);
  }
}
}  // namespace

void swap_bytes(void* data, std::size_t item, std::size_t n) {
  char* bytes = static_cast<char*>(data);
  if (item == 2) swap_run<std::uint16_t>(bytes, n);
  if (item == 4) swap_run<std::uint32_t>(bytes, n);
  if (item == 8) swap_run<std::uint64_t>(bytes, n);
}

}  // namespace me2::store
