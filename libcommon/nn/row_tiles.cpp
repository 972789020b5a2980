#include "nn/row_tiles.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <vector>

#include <ATen/Parallel.h>

#include "base/error.h"
#include "weights/parallel.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace me2::nn {

#if defined(__x86_64__) && defined(__linux__)

namespace {

constexpr std::int64_t kSide = 16;              // outputs or rows of a tile
constexpr std::int64_t kInputs = 32;            // inputs of a tile: sixteen pairs
constexpr std::int64_t kParts = 3;              // bfloat16 numbers of an input
constexpr std::int64_t kTile = kSide * kInputs; // bfloat16 numbers of a tile of inputs
constexpr std::int64_t kGroup = 2 * kSide;      // outputs, and rows, whose sums are in tiles at once
constexpr std::int64_t kCarried = 16;           // tiles of inputs summed in the registers before they are added to the rest: keeps sums short
constexpr std::int64_t kAhead = 8;              // tiles of inputs between a weight's prefetch and its use
constexpr std::int64_t kPiece = 512;            // outputs that a thread takes at once

#define ME2_TARGET_TILES __attribute__((target("amx-tile,amx-bf16,avx512f,avx512bw,avx512vl,prefer-vector-width=512")))

struct alignas(64) TileShapes {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};

// The upper half of a float, so that x minus it is exact and never infinite.
float upper(float x, std::uint16_t& half) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if (std::isnan(x)) bits = 0x7fc00000u;
  half = static_cast<std::uint16_t>(bits >> 16);
  bits &= 0xffff0000u;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// Rows of x as tiles: [rows / 16][inputs / 32][part][pair][row][2], zeros where there is none.
std::vector<std::uint16_t> packed(const float* x, std::int64_t rows, std::int64_t in, std::int64_t steps) {
  const std::int64_t blocks = (rows + kSide - 1) / kSide;
  std::vector<std::uint16_t> out(static_cast<std::size_t>(blocks * steps * kParts * kTile));
  weights::parallel_for(0, rows, 4, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r)
      for (std::int64_t k = 0; k < in; ++k) {
        const std::int64_t tile = (r / kSide * steps + k / kInputs) * kParts, pair = k % kInputs / 2;
        std::uint16_t* to = out.data() + tile * kTile + pair * kInputs + r % kSide * 2 + k % 2;
        float rest = x[r * in + k];
        for (std::int64_t part = 0; part < kParts; ++part, to += kTile) {
          rest -= upper(rest, *to);
          if (!std::isfinite(rest)) break;  // of an infinity or no number: all is said
        }
      }
  });
  return out;
}

using Sums = std::array<float, kGroup * kGroup>;  // [output][row]

// Of 32 outputs, whose weights lie `stride` bytes apart, and the 16 (Blocks 1) or 32 rows packed at `rows`. Never inlined: the loads of tiles do
// not tell g++ what memory they read, and a call does.
template <int Blocks>
ME2_TARGET_TILES __attribute__((noinline)) void group(const char* w, std::int64_t stride, const char* tail, std::int64_t steps, std::int64_t next,
                                                      const std::uint16_t* rows, std::int64_t block, Sums& sums) {
  alignas(64) Sums made;
  sums.fill(0);
  for (std::int64_t first = 0; first < steps; first += kCarried) {
    _tile_zero(0);
    _tile_zero(2);
    if constexpr (Blocks == 2) {
      _tile_zero(1);
      _tile_zero(3);
    }
    for (std::int64_t s = first, last = std::min(steps, first + kCarried); s < last; ++s) {
      const bool in_tail = tail && s + 1 == steps;
      const char* a = in_tail ? tail : w + s * 2 * kInputs;
      const std::int64_t apart = in_tail ? 2 * kInputs : stride;
      if (const char* later = s + kAhead < steps ? w + (s + kAhead) * 2 * kInputs : w + next + (s + kAhead - steps) * 2 * kInputs; next)
        for (std::int64_t o = 0; o < kGroup; ++o) _mm_prefetch(later + o * stride, _MM_HINT_T0);
      _tile_loadd(4, a, apart);
      _tile_loadd(5, a + kSide * apart, apart);
      const std::uint16_t* b = rows + s * kParts * kTile;
#pragma GCC unroll 3
      for (std::int64_t part = 0; part < kParts; ++part, b += kTile) {
        _tile_loadd(6, b, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(2, 5, 6);
        if constexpr (Blocks == 2) {
          _tile_loadd(7, b + block, 64);
          _tile_dpbf16ps(1, 4, 7);
          _tile_dpbf16ps(3, 5, 7);
        }
      }
    }
    constexpr std::int64_t row_bytes = kGroup * sizeof(float);
    _tile_stored(0, made.data(), row_bytes);
    _tile_stored(2, made.data() + kSide * kGroup, row_bytes);
    if constexpr (Blocks == 2) {
      _tile_stored(1, made.data() + kSide, row_bytes);
      _tile_stored(3, made.data() + kSide * kGroup + kSide, row_bytes);
    }
    for (std::int64_t o = 0; o < kGroup; ++o)
      for (std::int64_t r = 0; r < Blocks * kSide; ++r) sums[static_cast<std::size_t>(o * kGroup + r)] += made[static_cast<std::size_t>(o * kGroup + r)];
  }
}

ME2_TARGET_TILES void begin_tiles() {
  TileShapes shapes;
  for (int t = 0; t < 8; ++t) shapes.row_bytes[t] = 64, shapes.rows[t] = 16;
  // g++ is told that the instruction reads eight bytes of it; the rest must be in memory too.
  __asm__ volatile("" : : "r"(&shapes) : "memory");
  _tile_loadconfig(&shapes);
}
ME2_TARGET_TILES void end_tiles() { _tile_release(); }

bool ask_for_tiles() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kAmx = 1u << 22 | 1u << 24, kAvx512 = 1u << 16 | 1u << 30 | 1u << 31;  // bf16, tile; f, bw, vl
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kAmx) != kAmx || (b & kAvx512) != kAvx512) return false;
  constexpr long kAskForState = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return ::syscall(SYS_arch_prctl, kAskForState, kTileData) == 0;
}

}  // namespace

bool tiles_usable() {
  static const bool usable = ask_for_tiles();
  return usable;
}

void tile_linear(const float* x, std::int64_t rows, std::int64_t in, const c10::BFloat16* w, const float* bias, float* y, std::int64_t out) {
  const std::int64_t steps = (in + kInputs - 1) / kInputs, whole = in / kInputs, block = steps * kParts * kTile;
  const std::vector<std::uint16_t> xs = packed(x, rows, in, steps);
  std::atomic<std::int64_t> taken{0};
  weights::parallel_for(0, std::min<std::int64_t>(at::get_num_threads(), (out + kPiece - 1) / kPiece), 1, [&](std::int64_t, std::int64_t) {
    alignas(64) Sums sums;
    std::vector<c10::BFloat16> few, tail;  // weights of a group that is not full; last inputs of 32 outputs that fill no tile
    begin_tiles();
    for (std::int64_t piece; (piece = taken.fetch_add(kPiece)) < out;)
      for (std::int64_t o = piece; o < std::min(out, piece + kPiece); o += kGroup) {
        const std::int64_t count = std::min(kGroup, out - o);
        const c10::BFloat16* from = w + o * in;
        if (count < kGroup) {
          few.assign(static_cast<std::size_t>(kGroup * in), c10::BFloat16(0.f));
          std::copy_n(from, count * in, few.data());
          from = few.data();
        }
        if (whole < steps) {
          tail.assign(static_cast<std::size_t>(kGroup * kInputs), c10::BFloat16(0.f));
          for (std::int64_t i = 0; i < kGroup; ++i) std::copy_n(from + i * in + whole * kInputs, in - whole * kInputs, tail.data() + i * kInputs);
        }
        const std::int64_t next = o + 2 * kGroup <= out ? kGroup * in * 2 : 0;  // bytes to the weights that come next, where they may be fetched ahead
        for (std::int64_t r = 0; r < rows; r += kGroup) {
          const std::uint16_t* b = xs.data() + r / kSide * block;
          const auto* weights = reinterpret_cast<const char*>(from);
          const char* last = tail.empty() ? nullptr : reinterpret_cast<const char*>(tail.data());
          if (rows - r > kSide) group<2>(weights, in * 2, last, steps, next, b, block, sums);
          else group<1>(weights, in * 2, last, steps, next, b, block, sums);
          for (std::int64_t i = r; i < std::min(rows, r + kGroup); ++i)
            for (std::int64_t g = 0; g < count; ++g) y[i * out + o + g] = sums[static_cast<std::size_t>(g * kGroup + i - r)] + (bias ? bias[o + g] : 0);
        }
      }
    end_tiles();
  });
}

#else

bool tiles_usable() { return false; }
void tile_linear(const float*, std::int64_t, std::int64_t, const c10::BFloat16*, const float*, float*, std::int64_t) {
  throw Error(Exit::internal, "tile registers asked for where there are none");
}

#endif

}  // namespace me2::nn
