#include "metrics/pixels.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <array>
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "store/parallel.h"
#include "vision/resize.h"

// The loops below are plain and written to be vectorised: one clone for AVX2 machines, one for any.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3")
#define ME2_VECTORISED __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define ME2_VECTORISED
#endif

namespace me2::metrics {
namespace {

constexpr int kRadius = 5, kTaps = 2 * kRadius + 1, kLanes = 8;

struct Tap {  // out = (1 - part) in[low] + part in[high]
  std::int64_t low, high;
  float part;
};

std::vector<Tap> taps_of(std::int64_t in, std::int64_t out) {  // half-pixel centres, as at::upsample_bilinear2d
  std::vector<Tap> taps(out);
  const float scale = static_cast<float>(in) / static_cast<float>(out);
  for (std::int64_t i = 0; i < out; ++i) {
    const float at = std::max(0.0f, (static_cast<float>(i) + 0.5f) * scale - 0.5f);
    const auto low = std::min(static_cast<std::int64_t>(at), in - 1);
    taps[i] = {low, std::min(low + 1, in - 1), at - static_cast<float>(low)};
  }
  return taps;
}

ME2_VECTORISED void mix(const float* a, const float* b, float part, std::int64_t n, float* out) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = (1 - part) * a[i] + part * b[i];
}

// One channel. scratch: two rows of the output's width, the last two source rows stretched.
void enlarge(const float* in, std::int64_t in_w, const std::vector<Tap>& rows, const std::vector<Tap>& columns, float* scratch, float* out) {
  const auto w = static_cast<std::int64_t>(columns.size());
  std::int64_t held[2] = {-1, -1};
  const auto stretched = [&](std::int64_t row, std::int64_t other) {
    for (int k : {0, 1})
      if (held[k] == row) return scratch + k * w;
    const int k = held[0] == other ? 1 : 0;
    const float* source = in + row * in_w;
    for (std::int64_t c = 0; c < w; ++c) scratch[k * w + c] = (1 - columns[c].part) * source[columns[c].low] + columns[c].part * source[columns[c].high];
    held[k] = row;
    return scratch + k * w;
  };
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const float* low = stretched(rows[r].low, rows[r].high);
    const float* high = stretched(rows[r].high, rows[r].low);
    mix(low, high, rows[r].part, w, out + static_cast<std::int64_t>(r) * w);
  }
}

struct Moments {
  double x, y, xx, yy, xy;
};

ME2_VECTORISED Moments moments(const float* x, const float* y, std::int64_t n) {
  double sx[kLanes] = {}, sy[kLanes] = {}, sxx[kLanes] = {}, syy[kLanes] = {}, sxy[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int k = 0; k < kLanes; ++k) {
      const double a = x[i + k], b = y[i + k];
      sx[k] += a, sy[k] += b, sxx[k] += a * a, syy[k] += b * b, sxy[k] += a * b;
    }
  Moments m{};
  for (int k = 0; k < kLanes; ++k) m.x += sx[k], m.y += sy[k], m.xx += sxx[k], m.yy += syy[k], m.xy += sxy[k];
  for (; i < n; ++i) m.x += x[i], m.y += y[i], m.xx += static_cast<double>(x[i]) * x[i], m.yy += static_cast<double>(y[i]) * y[i], m.xy += static_cast<double>(x[i]) * y[i];
  return m;
}

// Within rounding: enlarging a flat picture moves its values by a last bit.
ME2_VECTORISED bool constant(const float* x, std::int64_t n) {
  constexpr int kWide = 4 * kLanes;
  if (n == 0) return true;
  float low[kWide], high[kWide];
  for (int k = 0; k < kWide; ++k) low[k] = high[k] = x[0];
  std::int64_t i = 0;
  for (; i + kWide <= n; i += kWide)
    for (int k = 0; k < kWide; ++k) {
      low[k] = x[i + k] < low[k] ? x[i + k] : low[k];
      high[k] = x[i + k] > high[k] ? x[i + k] : high[k];
    }
  for (; i < n; ++i) low[0] = std::min(low[0], x[i]), high[0] = std::max(high[0], x[i]);
  return *std::max_element(high, high + kWide) - *std::min_element(low, low + kWide) <= 1e-6f;
}

double pearson(const float* x, const float* y, std::int64_t n) {
  if (constant(x, n) || constant(y, n)) return std::numeric_limits<double>::quiet_NaN();
  const Moments m = moments(x, y, n);
  const double count = static_cast<double>(n);
  return (m.xy - m.x * m.y / count) / std::sqrt((m.xx - m.x * m.x / count) * (m.yy - m.y * m.y / count));
}

ME2_VECTORISED void gray(const float* rgb, std::int64_t plane, float* out) {
  for (std::int64_t i = 0; i < plane; ++i) out[i] = 0.2125f * rgb[i] + 0.7154f * rgb[plane + i] + 0.0721f * rgb[2 * plane + i];
}

// x^2 + y^2 and x y.
ME2_VECTORISED void squares(const float* __restrict__ x, const float* __restrict__ y, std::int64_t w, float* __restrict__ s, float* __restrict__ p) {
  for (std::int64_t c = 0; c < w; ++c) s[c] = x[c] * x[c] + y[c] * y[c], p[c] = x[c] * y[c];
}

// out[c] = sum_k g[k] in[k][c], c < n: across a row (in[k] = row + k) and down a column (in[k]: row k). Blocks stay in registers.
typedef float Lanes __attribute__((vector_size(4 * kLanes)));
typedef Lanes LooseLanes __attribute__((aligned(4), may_alias));  // anywhere in an array; auto would forget it

ME2_VECTORISED void weigh(const float* const* in, std::int64_t n, const float* __restrict__ g, float* __restrict__ out) {
  constexpr int kWide = 4 * kLanes;
  std::int64_t c = 0;
  for (; c + kWide <= n; c += kWide) {
    Lanes sum0{}, sum1{}, sum2{}, sum3{};  // by name: as an array they would go through memory
    for (int k = 0; k < kTaps; ++k) {
      const LooseLanes* row = reinterpret_cast<const LooseLanes*>(in[k] + c);
      sum0 += g[k] * row[0], sum1 += g[k] * row[1], sum2 += g[k] * row[2], sum3 += g[k] * row[3];
    }
    LooseLanes* to = reinterpret_cast<LooseLanes*>(out + c);
    to[0] = sum0, to[1] = sum1, to[2] = sum2, to[3] = sum3;
  }
  for (; c < n; ++c) {
    float sum = 0;
    for (int k = 0; k < kTaps; ++k) sum += g[k] * in[k][c];
    out[c] = sum;
  }
}

ME2_VECTORISED double similarity(const float* ux, const float* uy, const float* s, const float* p, std::int64_t n) {
  constexpr float c1 = 0.01f * 0.01f, c2 = 0.03f * 0.03f;
  double sum[kLanes] = {};
  std::int64_t i = 0;
  // Written out in both loops: a lambda would not be compiled for the clone's machine.
  for (; i + kLanes <= n; i += kLanes)
    for (int k = 0; k < kLanes; ++k) {
      const float xy = ux[i + k] * uy[i + k], xx = ux[i + k] * ux[i + k] + uy[i + k] * uy[i + k];
      sum[k] += ((2 * xy + c1) * (2 * (p[i + k] - xy) + c2)) / ((xx + c1) * (s[i + k] - xx + c2));
    }
  double total = 0;
  for (double v : sum) total += v;
  for (; i < n; ++i) {
    const float xy = ux[i] * uy[i], xx = ux[i] * ux[i] + uy[i] * uy[i];
    total += ((2 * xy + c1) * (2 * (p[i] - xy) + c2)) / ((xx + c1) * (s[i] - xx + c2));
  }
  return total;
}

// The mean leaves out kRadius pixels at each border, so no value beyond the border is ever needed.
double ssim_gray(const float* x, const float* y, std::int64_t h, std::int64_t w) {
  const std::int64_t inner_h = h - 2 * kRadius, inner_w = w - 2 * kRadius;
  if (inner_h < 1 || inner_w < 1) throw data_error("SSIM needs images of {0}x{0} pixels or more, {1}x{2} found", kTaps, h, w);
  float g[kTaps];
  double total = 0;
  for (int k = 0; k < kTaps; ++k) total += std::exp(-0.5 * (k - kRadius) * (k - kRadius) / (1.5 * 1.5));
  for (int k = 0; k < kTaps; ++k) g[k] = static_cast<float>(std::exp(-0.5 * (k - kRadius) * (k - kRadius) / (1.5 * 1.5)) / total);
  // The last kTaps rows of x, y, x^2 + y^2 and x y, filtered across; what is filtered down is used at once.
  std::vector<float> held(4 * kTaps * inner_w), down(4 * inner_w), products(2 * w);
  const auto ring = [&](int map, std::int64_t row) { return held.data() + (map * kTaps + row % kTaps) * inner_w; };
  double sum = 0;
  for (std::int64_t r = 0; r < h; ++r) {
    squares(x + r * w, y + r * w, w, products.data(), products.data() + w);
    const float* maps[4] = {x + r * w, y + r * w, products.data(), products.data() + w};
    const float* in[kTaps];
    for (int m = 0; m < 4; ++m) {
      for (int k = 0; k < kTaps; ++k) in[k] = maps[m] + k;
      weigh(in, inner_w, g, ring(m, r));
    }
    if (r < kTaps - 1) continue;
    for (int m = 0; m < 4; ++m) {
      for (int k = 0; k < kTaps; ++k) in[k] = ring(m, r - (kTaps - 1) + k);
      weigh(in, inner_w, g, down.data() + m * inner_w);
    }
    sum += similarity(down.data(), down.data() + inner_w, down.data() + 2 * inner_w, down.data() + 3 * inner_w, inner_w);
  }
  return sum / static_cast<double>(inner_h * inner_w);
}

}  // namespace

at::Tensor to_scoring_size(const at::Tensor& images, bool antialias, std::int64_t size) {
  at::Tensor x = images.scalar_type() == at::kByte ? images.to(at::kFloat).div_(255) : images.to(at::kFloat);
  // Fidelity: the reference looks at the width alone; an image of that width and another height stays as it is.
  return x.size(-1) == size && x.size(-2) == size ? x : vision::resize(x, size, size, vision::Interp::bilinear, antialias);
}

PixelScores pixel_scores(const at::Tensor& truth, const at::Tensor& recon, const PixelOptions& options) {
  if (truth.sizes() != recon.sizes() || truth.dim() != 4 || truth.size(1) != 3)
    throw data_error("pairs of images [n, 3, H, W] of one size expected, {} and {} found", truth.sizes().vec(), recon.sizes().vec());
  const std::int64_t n = truth.size(0);
  PixelScores out;
  if (options.pixcorr) out.pixcorr.resize(n);
  if (options.ssim) out.ssim.resize(n);
  const auto [h, w] = vision::shorter_edge_size(truth.size(2), truth.size(3), options.size);
  const std::int64_t in_h = truth.size(2), in_w = truth.size(3), plane = h * w;
  // Growing, a triangle filter is bilinear interpolation; only shrinking with antialiasing needs the general resize.
  const bool general = options.antialias && (h < in_h || w < in_w);
  const auto prepare = [&](const at::Tensor& x) {
    return (general ? vision::resize(x, h, w, vision::Interp::bilinear, true) : x).to(at::kFloat).contiguous();
  };
  const at::Tensor a = prepare(truth), b = prepare(recon);
  const float* pa = a.const_data_ptr<float>();
  const float* pb = b.const_data_ptr<float>();
  const auto rows = taps_of(in_h, h), columns = taps_of(in_w, w);
  // One thread takes a whole pair: what it enlarges stays in its cache.
  store::parallel_for(n, at::get_num_threads(), [&, h = h, w = w](std::int64_t i) {
    std::vector<float> big(general ? 0 : 6 * plane), scratch(2 * w), grays(options.ssim ? 2 * plane : 0);
    const float* x = pa + i * 3 * in_h * in_w;
    const float* y = pb + i * 3 * in_h * in_w;
    if (general) {
      x = pa + i * 3 * plane, y = pb + i * 3 * plane;
    } else {
      for (int c = 0; c < 3; ++c) {
        enlarge(x + c * in_h * in_w, in_w, rows, columns, scratch.data(), big.data() + c * plane);
        enlarge(y + c * in_h * in_w, in_w, rows, columns, scratch.data(), big.data() + (3 + c) * plane);
      }
      x = big.data(), y = big.data() + 3 * plane;
    }
    if (options.pixcorr) out.pixcorr[i] = pearson(x, y, 3 * plane);
    if (!options.ssim) return;
    gray(x, plane, grays.data());
    gray(y, plane, grays.data() + plane);
    out.ssim[i] = ssim_gray(grays.data(), grays.data() + plane, h, w);
  });
  return out;
}

double training_pixcorr(const at::Tensor& truth, const at::Tensor& recon) {
  const at::Tensor x = truth.flatten(1).to(at::kFloat), y = recon.flatten(1).to(at::kFloat);
  const at::Tensor xc = x - x.mean(1, true), yc = y - y.mean(1, true);
  const at::Tensor r = (xc * yc).sum(1) / (xc.pow(2).sum(1).sqrt() * yc.pow(2).sum(1).sqrt());
  return at::nanmean(r).item<double>();
}

}  // namespace me2::metrics
