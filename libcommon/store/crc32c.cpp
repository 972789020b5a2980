#include "store/crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace me2::store {
namespace {

using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr Tables make_tables() {
  Tables t{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t c = i;
    for (int bit = 0; bit < 8; ++bit) c = (c & 1) ? (c >> 1) ^ 0x82F63B78u : c >> 1;
    t[0][i] = c;
  }
  for (std::uint32_t i = 0; i < 256; ++i)
    for (int k = 1; k < 8; ++k) t[k][i] = (t[k - 1][i] >> 8) ^ t[0][t[k - 1][i] & 0xFF];
  return t;
}
constexpr Tables kTables = make_tables();

#if defined(__x86_64__)
// crc(A) advanced over `zeros` zero bytes, needed to join three independent streams (the instruction has latency 3).
struct Shift {
  std::uint32_t table[4][256];
  explicit Shift(std::size_t zeros) {
    std::uint32_t column[32];
    for (int bit = 0; bit < 32; ++bit) {
      std::uint32_t c = 1u << bit;
      for (std::size_t i = 0; i < zeros; ++i) c = (c >> 8) ^ kTables[0][c & 0xFF];
      column[bit] = c;
    }
    for (int byte = 0; byte < 4; ++byte)
      for (std::uint32_t v = 0; v < 256; ++v) {
        std::uint32_t c = 0;
        for (int bit = 0; bit < 8; ++bit)
          if (v >> bit & 1) c ^= column[byte * 8 + bit];
        table[byte][v] = c;
      }
  }
  std::uint32_t operator()(std::uint32_t c) const {
    return table[0][c & 0xFF] ^ table[1][c >> 8 & 0xFF] ^ table[2][c >> 16 & 0xFF] ^ table[3][c >> 24];
  }
};
constexpr std::size_t kStream = 4096;

__attribute__((target("sse4.2"))) std::uint32_t by_instruction(const unsigned char* p, std::size_t n) {
  static const Shift shift(kStream);
  std::uint64_t c = 0xFFFFFFFFu;
  const auto word = [](const unsigned char* at) {
    std::uint64_t v;
    std::memcpy(&v, at, 8);
    return v;
  };
  for (; n >= 3 * kStream; n -= 3 * kStream, p += 3 * kStream) {
    std::uint64_t a = c, b = 0, d = 0;
    for (std::size_t i = 0; i < kStream; i += 8) {
      a = _mm_crc32_u64(a, word(p + i));
      b = _mm_crc32_u64(b, word(p + kStream + i));
      d = _mm_crc32_u64(d, word(p + 2 * kStream + i));
    }
    c = shift(shift(static_cast<std::uint32_t>(a)) ^ static_cast<std::uint32_t>(b)) ^ d;
  }
  for (; n >= 8; n -= 8, p += 8) c = _mm_crc32_u64(c, word(p));
  std::uint32_t rest = static_cast<std::uint32_t>(c);
  for (; n > 0; --n) rest = _mm_crc32_u8(rest, *p++);
  return ~rest;
}
#endif

}  // namespace

std::uint32_t crc32c_by_table(const void* data, std::size_t n) {
  const auto* p = static_cast<const unsigned char*>(data);
  std::uint32_t c = 0xFFFFFFFFu;
  for (; n >= 8; n -= 8, p += 8) {
    std::uint32_t low, high;
    std::memcpy(&low, p, 4);
    std::memcpy(&high, p + 4, 4);
    low ^= c;
    c = kTables[7][low & 0xFF] ^ kTables[6][low >> 8 & 0xFF] ^ kTables[5][low >> 16 & 0xFF] ^ kTables[4][low >> 24] ^
        kTables[3][high & 0xFF] ^ kTables[2][high >> 8 & 0xFF] ^ kTables[1][high >> 16 & 0xFF] ^ kTables[0][high >> 24];
  }
  for (; n > 0; --n) c = (c >> 8) ^ kTables[0][(c ^ *p++) & 0xFF];
  return ~c;
}

std::uint32_t crc32c(const void* data, std::size_t n) {
#if defined(__x86_64__)
  static const bool instruction = __builtin_cpu_supports("sse4.2");
  if (instruction) return by_instruction(static_cast<const unsigned char*>(data), n);
#endif
  return crc32c_by_table(data, n);
}

}  // namespace me2::store
