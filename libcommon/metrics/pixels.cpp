#include "metrics/pixels.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <array>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "store/parallel.h"
#include "vision/resize.h"

// The loops below are plain and written to be vectorised: one clone for AVX2 machines, one for any.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define ME2_VECTORISED __attribute__((target_clones("arch=x86-64-v3", "default"), optimize("O3")))
#else
#define ME2_VECTORISED
#endif

namespace me2::metrics {
namespace {

constexpr int kRadius = 5, kTaps = 2 * kRadius + 1, kLanes = 8;

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

bool constant(const float* x, std::int64_t n) {
  for (std::int64_t i = 1; i < n; ++i)
    if (x[i] != x[0]) return false;
  return true;
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

// Weighted sums over kTaps rows of x, y, x^2 + y^2 and x y: the vertical half of the Gaussian. Each out row has `w` values.
ME2_VECTORISED void blur_rows(const float* x, const float* y, std::int64_t w, const float* g, float* ox, float* oy, float* os, float* op) {
  for (std::int64_t c = 0; c < w; ++c) ox[c] = oy[c] = os[c] = op[c] = 0;
  for (int k = 0; k < kTaps; ++k) {
    const float* a = x + k * w;
    const float* b = y + k * w;
    const float weight = g[k];
    for (std::int64_t c = 0; c < w; ++c) {
      const float p = a[c] * weight, q = b[c] * weight;
      ox[c] += p, oy[c] += q;
      os[c] += a[c] * p + b[c] * q;
      op[c] += a[c] * q;
    }
  }
}

ME2_VECTORISED void blur_columns(const float* in, std::int64_t inner, const float* g, float* out) {  // out[c] = sum_k g[k] in[c + k]
  for (std::int64_t c = 0; c < inner; ++c) out[c] = 0;
  for (int k = 0; k < kTaps; ++k)
    for (std::int64_t c = 0; c < inner; ++c) out[c] += g[k] * in[c + k];
}

ME2_VECTORISED double similarity(const float* ux, const float* uy, const float* s, const float* p, std::int64_t n) {
  constexpr float c1 = 0.01f * 0.01f, c2 = 0.03f * 0.03f;
  double sum[kLanes] = {};
  std::int64_t i = 0;
  const auto one = [&](std::int64_t at) {
    const float xy = ux[at] * uy[at], xx = ux[at] * ux[at] + uy[at] * uy[at];
    return ((2 * xy + c1) * (2 * (p[at] - xy) + c2)) / ((xx + c1) * (s[at] - xx + c2));
  };
  for (; i + kLanes <= n; i += kLanes)
    for (int k = 0; k < kLanes; ++k) sum[k] += one(i + k);
  double total = 0;
  for (double v : sum) total += v;
  for (; i < n; ++i) total += one(i);
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
  std::vector<float> rows(8 * w);
  float* down[4] = {rows.data(), rows.data() + w, rows.data() + 2 * w, rows.data() + 3 * w};
  float* across[4] = {rows.data() + 4 * w, rows.data() + 5 * w, rows.data() + 6 * w, rows.data() + 7 * w};
  double sum = 0;
  for (std::int64_t r = 0; r < inner_h; ++r) {
    blur_rows(x + r * w, y + r * w, w, g, down[0], down[1], down[2], down[3]);
    for (int m = 0; m < 4; ++m) blur_columns(down[m], inner_w, g, across[m]);
    sum += similarity(across[0], across[1], across[2], across[3], inner_w);
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
  constexpr std::int64_t kBatch = 4;  // so that the enlarged images stay in cache
  for (std::int64_t first = 0; first < n; first += kBatch) {
    const std::int64_t count = std::min(kBatch, n - first);
    const auto enlarge = [&](const at::Tensor& x) {
      return vision::resize_shorter(x.narrow(0, first, count), options.size, vision::Interp::bilinear, options.antialias).to(at::kFloat).contiguous();
    };
    const at::Tensor a = enlarge(truth), b = enlarge(recon);
    const std::int64_t h = a.size(2), w = a.size(3), plane = h * w;
    const float* pa = a.const_data_ptr<float>();
    const float* pb = b.const_data_ptr<float>();
    store::parallel_for(count, at::get_num_threads(), [&](std::int64_t i) {
      const float* x = pa + i * 3 * plane;
      const float* y = pb + i * 3 * plane;
      if (options.pixcorr) out.pixcorr[first + i] = pearson(x, y, 3 * plane);
      if (!options.ssim) return;
      std::vector<float> grays(2 * plane);
      gray(x, plane, grays.data());
      gray(y, plane, grays.data() + plane);
      out.ssim[first + i] = ssim_gray(grays.data(), grays.data() + plane, h, w);
    });
  }
  return out;
}

double training_pixcorr(const at::Tensor& truth, const at::Tensor& recon) {
  const at::Tensor x = truth.flatten(1).to(at::kFloat), y = recon.flatten(1).to(at::kFloat);
  const at::Tensor xc = x - x.mean(1, true), yc = y - y.mean(1, true);
  const at::Tensor r = (xc * yc).sum(1) / (xc.pow(2).sum(1).sqrt() * yc.pow(2).sum(1).sqrt());
  return at::nanmean(r).item<double>();
}

}  // namespace me2::metrics
