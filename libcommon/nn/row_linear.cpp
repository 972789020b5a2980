#include "nn/row_linear.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include "nn/lanes.h"
#include "nn/row_tiles.h"
#include "weights/parallel.h"

namespace me2::nn {
namespace {

constexpr int kOutputs = 4;  // weight rows in flight
constexpr int kRows = 6;     // input rows in flight: 24 accumulators fit 32 vector registers
// More rows than that: sums of kGroup outputs are carried over blocks of kBlock inputs, so that these weights stay in the nearest caches
// while all rows pass by.
constexpr std::int64_t kGroup = 8, kBlock = 1024, kRowsAtOnce = 96;

ME2_INLINE float value(float v) { return v; }
ME2_INLINE float value(c10::BFloat16 v) { return static_cast<float>(v); }

// sum[r][o] += the products of one run of lanes, inputs k and on: every sum of this file is made by it, in the order of k.
template <int R, int O, class W>
ME2_INLINE void add_products(Lanes (&sum)[R][O], const float* x, std::int64_t in, const W* w, std::int64_t k) {
  Lanes weights[O];
#pragma GCC unroll 8
  for (int o = 0; o < O; ++o) load(weights[o], w + o * in + k);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    Lanes values;
    load(values, x + r * in + k);
#pragma GCC unroll 8
    for (int o = 0; o < O; ++o) sum[r][o] += values * weights[o];
  }
}

// y[r, o] for R rows of x and O rows of w. Each of the R * O sums is made in the same order whatever R and O are.
template <int R, int O, class W>
ME2_INLINE void tile(const float* x, std::int64_t in, const W* w, const float* bias, float* y, std::int64_t out) {
  Lanes sum[R][O] = {};
  std::int64_t k = 0;
  for (; k + kLanes <= in; k += kLanes) add_products(sum, x, in, w, k);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int o = 0; o < O; ++o) {
      float tail = 0;
      for (std::int64_t j = k; j < in; ++j) tail += x[r * in + j] * value(w[o * in + j]);
      y[r * out + o] = add_up(sum[r][o]) + tail + (bias ? bias[o] : 0);
    }
}

template <int O, class W>
ME2_INLINE void tile_rows(const float* x, std::int64_t rows, std::int64_t in, const W* w, const float* bias, float* y, std::int64_t out) {
  std::int64_t r = 0;
  for (; r + kRows <= rows; r += kRows) tile<kRows, O>(x + r * in, in, w, bias, y + r * out, out);
  for (; r + 2 <= rows; r += 2) tile<2, O>(x + r * in, in, w, bias, y + r * out, out);
  for (; r < rows; ++r) tile<1, O>(x + r * in, in, w, bias, y + r * out, out);
}

// Outputs first..last of all rows.
template <class W>
ME2_INLINE void outputs(const float* x, std::int64_t rows, std::int64_t in, const W* w, const float* bias, float* y, std::int64_t out,
                        std::int64_t first, std::int64_t last) {
  std::int64_t o = first;
  for (; o + kOutputs <= last; o += kOutputs) tile_rows<kOutputs>(x, rows, in, w + o * in, bias ? bias + o : nullptr, y + o, out);
  for (; o < last; ++o) tile_rows<1>(x, rows, in, w + o * in, bias ? bias + o : nullptr, y + o, out);
}

// sums[R][kGroup] of O outputs += inputs first..last, a multiple of kLanes: the additions of tile(), in its order.
template <int R, int O, class W>
ME2_INLINE void carry(const float* x, std::int64_t in, const W* w, std::int64_t first, std::int64_t last, float* sums) {
  Lanes sum[R][O];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int o = 0; o < O; ++o) load(sum[r][o], sums + (r * kGroup + o) * kLanes);
  for (std::int64_t k = first; k < last; k += kLanes) add_products(sum, x, in, w, k);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int o = 0; o < O; ++o) store(sums + (r * kGroup + o) * kLanes, sum[r][o]);
}

template <int R, class W>
ME2_INLINE void carry_group(const float* x, std::int64_t in, const W* w, std::int64_t count, std::int64_t first, std::int64_t last, float* sums) {
  std::int64_t o = 0;
  for (; o + kOutputs <= count; o += kOutputs) carry<R, kOutputs>(x, in, w + o * in, first, last, sums + o * kLanes);
  for (; o < count; ++o) carry<R, 1>(x, in, w + o * in, first, last, sums + o * kLanes);
}

template <class W>
ME2_INLINE void outputs_of_many(const float* x, std::int64_t rows, std::int64_t in, const W* w, const float* bias, float* y, std::int64_t out,
                                std::int64_t first, std::int64_t last, float* sums) {
  const std::int64_t whole = in / kLanes * kLanes;
  for (std::int64_t o = first; o < last; o += kGroup) {
    const std::int64_t count = std::min(kGroup, last - o);
    std::fill_n(sums, rows * kGroup * kLanes, 0.f);
    for (std::int64_t k = 0; k < whole; k += kBlock) {
      const std::int64_t end = std::min(whole, k + kBlock);
      std::int64_t r = 0;
      for (; r + kRows <= rows; r += kRows) carry_group<kRows>(x + r * in, in, w + o * in, count, k, end, sums + r * kGroup * kLanes);
      for (; r + 2 <= rows; r += 2) carry_group<2>(x + r * in, in, w + o * in, count, k, end, sums + r * kGroup * kLanes);
      for (; r < rows; ++r) carry_group<1>(x + r * in, in, w + o * in, count, k, end, sums + r * kGroup * kLanes);
    }
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t g = 0; g < count; ++g) {
        Lanes sum;
        load(sum, sums + (r * kGroup + g) * kLanes);
        float tail = 0;
        for (std::int64_t j = whole; j < in; ++j) tail += x[r * in + j] * value(w[(o + g) * in + j]);
        y[r * out + o + g] = add_up(sum) + tail + (bias ? bias[o + g] : 0);
      }
  }
}

template <class W>
using Kernel = void (*)(const float*, std::int64_t, std::int64_t, const W*, const float*, float*, std::int64_t, std::int64_t, std::int64_t, float*);

#define ME2_KERNEL(name, target_attribute)                                                                                       \
  template <class W>                                                                                                             \
  target_attribute void name(const float* x, std::int64_t rows, std::int64_t in, const W* w, const float* bias, float* y,        \
                             std::int64_t out, std::int64_t first, std::int64_t last, float* sums) {                             \
    if (sums) outputs_of_many(x, rows, in, w, bias, y, out, first, last, sums);                                                  \
    else outputs(x, rows, in, w, bias, y, out, first, last);                                                                     \
  }
ME2_KERNEL(kernel_portable, )
ME2_KERNEL(kernel_avx2, ME2_TARGET_AVX2)
ME2_KERNEL(kernel_avx512, ME2_TARGET_AVX512)

template <class W>
Kernel<W> choose() {
  return lanes_level() == 2 ? kernel_avx512<W> : lanes_level() == 1 ? kernel_avx2<W> : kernel_portable<W>;
}

template <class W>
void run(const at::Tensor& x, const at::Tensor& weight, const float* bias, at::Tensor y) {
  static const Kernel<W> kernel = choose<W>();
  const float* xs = x.const_data_ptr<float>();
  const W* ws = weight.const_data_ptr<W>();
  float* ys = y.mutable_data_ptr<float>();
  const std::int64_t rows = x.size(0), in = x.size(1), out = weight.size(0);
  // Threads take pieces as they come: one that the machine gives less time does not hold up the others. A piece is a whole number of
  // tiles, and a sum does not depend on the tile it is made in.
  constexpr std::int64_t kPiece = 512;
  std::atomic<std::int64_t> next{0};
  weights::parallel_for(0, std::min<std::int64_t>(at::get_num_threads(), (out + kPiece - 1) / kPiece), 1, [&](std::int64_t, std::int64_t) {
    std::vector<float> sums(rows > kRows ? static_cast<std::size_t>(std::min(rows, kRowsAtOnce) * kGroup * kLanes) : 0);
    for (std::int64_t first; (first = next.fetch_add(kPiece)) < out;)
      for (std::int64_t row = 0, step = rows > kRows ? kRowsAtOnce : kRows; row < rows; row += step)
        kernel(xs + row * in, std::min(step, rows - row), in, ws, bias, ys + row * out, out, first, std::min(out, first + kPiece), sums.empty() ? nullptr : sums.data());
  });
}

}  // namespace

at::Tensor row_linear(const at::Tensor& input, const Linear& linear, bool tiles) {
  const c10::NoGradGuard no_graph;
  const at::Tensor& weight = linear.weight;
  if (!weight.is_cpu()) return linear(input.to(weight.scalar_type())).to(at::kFloat);
  const at::Tensor x = input.to(at::kFloat).contiguous();
  const at::Tensor bias = linear.bias.defined() ? linear.bias.to(at::kFloat).contiguous() : at::Tensor();
  const float* b = bias.defined() ? bias.const_data_ptr<float>() : nullptr;
  at::Tensor y = at::empty({x.size(0), weight.size(0)}, x.options());
  if (weight.scalar_type() == at::kBFloat16) {
    const at::Tensor w = weight.contiguous();
    if (tiles && tiles_usable())
      tile_linear(x.const_data_ptr<float>(), x.size(0), x.size(1), w.const_data_ptr<c10::BFloat16>(), b, y.mutable_data_ptr<float>(), y.size(1));
    else
      run<c10::BFloat16>(x, w, b, y);
  } else {
    run<float>(x, weight.to(at::kFloat).contiguous(), b, y);
  }
  return y;
}

}  // namespace me2::nn
