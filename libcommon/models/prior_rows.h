// The prior's row-wise parts, on arrays in memory: bodies for the kernels of prior_inference.cpp and prior_small.cpp (see nn/lanes.h).
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "nn/lanes.h"

namespace me2::models {

using nn::Lanes;
using nn::kLanes;

constexpr double kCosineScale = 16;
constexpr std::int64_t kWidestHead = 512;

// The rows of an [rows, width] array, `width` a multiple of kLanes or with a scalar tail: f over lanes, then over the tail.
struct Moments {
  float mean, scale;
};

template <class T>
ME2_INLINE float at_index(const T* x, std::int64_t i) { return static_cast<float>(x[i]); }

// Mean and 1 / sqrt(variance + eps) of x * factor.
template <class T>
ME2_INLINE Moments moments(const T* x, std::int64_t width, float eps, float factor) {
  Lanes sum = {};
  std::int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) {
    Lanes v;
    nn::load(v, x + i);
    sum += v;
  }
  float total = nn::add_up(sum);
  for (std::int64_t j = i; j < width; ++j) total += at_index(x, j);
  const float mean = total * factor / static_cast<float>(width);
  Lanes squares = {};
  for (i = 0; i + kLanes <= width; i += kLanes) {
    Lanes v;
    nn::load(v, x + i);
    v = v * factor - mean;
    squares += v * v;
  }
  float square = nn::add_up(squares);
  for (; i < width; ++i) square += (at_index(x, i) * factor - mean) * (at_index(x, i) * factor - mean);
  return {mean, 1.f / std::sqrt(square / static_cast<float>(width) + eps)};
}

// x += norm(y) (with `out_g`) or x += y (without), then h = norm(x) * g. y may be null (nothing added).
template <class T>
ME2_INLINE void residual_norm_rows(float* x, const T* y, const float* out_g, float out_eps, const float* g, float eps, T* h, std::int64_t width,
                                   std::int64_t rows) {
  for (std::int64_t r = 0; r < rows; ++r, x += width, h += width) {
    if (y) {
      const Moments m = out_g ? moments(y, width, out_eps, 1) : Moments{0, 1};
      std::int64_t i = 0;
      for (; i + kLanes <= width; i += kLanes) {
        Lanes a, b;
        nn::load(a, x + i);
        nn::load(b, y + i);
        if (out_g) {
          Lanes gain;
          nn::load(gain, out_g + i);
          b = (b - m.mean) * m.scale * gain;
        }
        a += b;
        nn::store(x + i, a);
      }
      for (; i < width; ++i) x[i] += out_g ? (at_index(y, i) - m.mean) * m.scale * out_g[i] : at_index(y, i);
      y += width;
    }
    const Moments m = moments(x, width, eps, 1);
    std::int64_t i = 0;
    for (; i + kLanes <= width; i += kLanes) {
      Lanes a, gain;
      nn::load(a, x + i);
      nn::load(gain, g + i);
      nn::store(h + i, (a - m.mean) * m.scale * gain);
    }
    for (; i < width; ++i) h[i] = static_cast<T>((x[i] - m.mean) * m.scale * g[i]);
  }
}

// x += y, then the "stable" norm: x is first divided by its signed maximum.
template <class T>
ME2_INLINE void final_norm_rows(float* x, const T* y, const float* g, float eps, T* h, std::int64_t width, std::int64_t rows) {
  for (std::int64_t r = 0; r < rows; ++r, x += width, y += width, h += width) {
    float largest = -INFINITY;
    for (std::int64_t i = 0; i < width; ++i) {
      x[i] += at_index(y, i);
      largest = std::max(largest, x[i]);
    }
    const float factor = 1.f / largest;
    const Moments m = moments(x, width, eps, factor);
    for (std::int64_t i = 0; i < width; ++i) h[i] = static_cast<T>((x[i] * factor - m.mean) * m.scale * g[i]);
  }
}

// value * silu(gate) of rows [value, gate].
template <class T>
ME2_INLINE void gate_rows(const T* u, T* out, std::int64_t inner, std::int64_t rows) {
  for (std::int64_t r = 0; r < rows; ++r, u += 2 * inner, out += inner) {
    std::int64_t i = 0;
    for (; i + kLanes <= inner; i += kLanes) {
      Lanes value, gate;
      nn::load(value, u + i);
      nn::load(gate, u + inner + i);
      Lanes e = -gate;
      nn::exp_in_place(e);
      nn::store(out + i, value * gate / (1.f + e));
    }
    for (; i < inner; ++i) {
      const float gate = at_index(u, inner + i);
      out[i] = static_cast<T>(at_index(u, i) * gate / (1.f + std::exp(-gate)));
    }
  }
}

// Heads of one row, each turned by the row's position and l2-normalised: in [heads * d] -> out[head * stride + 0..d).
template <class T>
ME2_INLINE void rotate_row(const T* in, T* out, std::int64_t heads, std::int64_t stride, std::int64_t d, const float* cos, const float* sin,
                           std::int64_t pairs) {
  float v[kWidestHead];
  for (std::int64_t head = 0; head < heads; ++head, in += d, out += stride) {
    for (std::int64_t p = 0; p < pairs; ++p) {
      const float a = at_index(in, 2 * p), b = at_index(in, 2 * p + 1);
      v[2 * p] = a * cos[p] - b * sin[p];
      v[2 * p + 1] = b * cos[p] + a * sin[p];
    }
    for (std::int64_t i = 2 * pairs; i < d; ++i) v[i] = at_index(in, i);
    float partial[4] = {};
    std::int64_t i = 0;
    for (; i + 4 <= d; i += 4)
      for (int l = 0; l < 4; ++l) partial[l] += v[i + l] * v[i + l];
    for (; i < d; ++i) partial[0] += v[i] * v[i];
    const float norm = std::sqrt((partial[0] + partial[1]) + (partial[2] + partial[3]));
    const float scale = 1.f / std::max(norm, 1e-12f);
    for (i = 0; i < d; ++i) out[i] = static_cast<T>(v[i] * scale);
  }
}

template <class T>
ME2_INLINE void rotate_rows(const T* qkv, std::int64_t row_width, T* out, std::int64_t heads, std::int64_t stride, std::int64_t d, const float* cos,
                            const float* sin, std::int64_t pairs, std::int64_t rows) {
  for (std::int64_t r = 0; r < rows; ++r) rotate_row(qkv + r * row_width, out + r * d, heads, stride, d, cos + r * pairs, sin + r * pairs, pairs);
}

}  // namespace me2::models
