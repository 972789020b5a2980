// Sixteen floats at a time, compiled for the processor's widest registers and chosen at run time. The arithmetic and its order
// are written out, so a result does not depend on how the loop around it is cut. A kernel is an ME2_INLINE body called from two
// or three functions that differ in their ME2_TARGET_... alone; lanes_level() says which one this processor takes.
#pragma once
#include <cstdint>
#include <cstring>

#include <c10/util/BFloat16.h>

namespace me2::nn {

constexpr int kLanes = 16;
typedef float Lanes __attribute__((vector_size(4 * kLanes)));
typedef std::uint32_t LaneWords __attribute__((vector_size(4 * kLanes)));
typedef std::uint16_t LaneHalves __attribute__((vector_size(2 * kLanes)));

#define ME2_INLINE inline __attribute__((always_inline))

ME2_INLINE void load(Lanes& to, const float* from) { std::memcpy(&to, from, sizeof to); }
ME2_INLINE void load(Lanes& to, const c10::BFloat16* from) {
  LaneHalves bits;
  std::memcpy(&bits, from, sizeof bits);
  const LaneWords words = __builtin_convertvector(bits, LaneWords) << 16;  // bfloat16 is the upper half of a float
  std::memcpy(&to, &words, sizeof to);
}
ME2_INLINE void store(float* to, const Lanes& from) { std::memcpy(to, &from, sizeof from); }
ME2_INLINE void store(c10::BFloat16* to, const Lanes& from) {  // to nearest, ties to even; not for NaN
  LaneWords words;
  std::memcpy(&words, &from, sizeof words);
  words += 0x7fff + ((words >> 16) & 1);
  const LaneHalves bits = __builtin_convertvector(words >> 16, LaneHalves);
  std::memcpy(to, &bits, sizeof bits);
}
// e^x to about one unit in the last place, x clamped to the range of normal floats.
ME2_INLINE void exp_in_place(Lanes& x) {
  const Lanes low = Lanes{} - 87.3f, high = Lanes{} + 88.3f;
  x = x < low ? low : x;
  x = x > high ? high : x;
  const Lanes magic = Lanes{} + 12582912.f;            // 1.5 * 2^23: adding it rounds to an integer
  const Lanes shifted = x * 1.44269504f + magic;
  const Lanes n = shifted - magic;
  Lanes r = x - n * 0.693359375f;                       // ln 2 in two parts
  r = r - n * -2.12194440e-4f;
  Lanes p = Lanes{} + 1.9875691500e-4f;                 // Cephes' polynomial on [-ln 2 / 2, ln 2 / 2]
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.f;
  LaneWords bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  LaneWords scaled;
  std::memcpy(&scaled, &p, sizeof scaled);
  scaled += bits << 23;                                 // times 2^n: n is in the low bits of `shifted`
  std::memcpy(&x, &scaled, sizeof x);
}
ME2_INLINE float add_up(const Lanes& sum) {  // in a fixed order
  float lanes[kLanes];
  std::memcpy(lanes, &sum, sizeof lanes);
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  return lanes[0];
}

#if defined(__x86_64__)
#define ME2_TARGET_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx2,fma,prefer-vector-width=512")))
#define ME2_TARGET_AVX2 __attribute__((target("avx2,fma")))
inline int lanes_level() {
  static const int level = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") ? 2
                           : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")                                             ? 1
                                                                                                                                         : 0;
  return level;
}
#else
#define ME2_TARGET_AVX512
#define ME2_TARGET_AVX2
inline int lanes_level() { return 0; }
#endif

}  // namespace me2::nn
