#include "metrics/pixels.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "store/parallel.h"
#include "vision/resize.h"

// The loops below are written to be vectorised: a clone for AVX-512 machines, one for AVX2, one for any.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3")
#define ME2_VECTORISED __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define ME2_VECTORISED
#endif

namespace me2::metrics {
namespace {

constexpr int kRadius = 5, kTaps = 2 * kRadius + 1, kLanes = 16;
constexpr std::int64_t kWide = 2 * kLanes;
typedef float Lanes __attribute__((vector_size(4 * kLanes)));
typedef Lanes LooseLanes __attribute__((aligned(4), may_alias));  // anywhere in an array; auto would forget it

const LooseLanes& lanes(const float* p) { return *reinterpret_cast<const LooseLanes*>(p); }
LooseLanes& lanes(float* p) { return *reinterpret_cast<LooseLanes*>(p); }
double total(const Lanes& v) {
  double sum = 0;
  for (int k = 0; k < kLanes; ++k) sum += v[k];
  return sum;
}

// Bilinear interpolation along one axis: out[i] = (1 - part[i]) in[low[i]] + part[i] in[high[i]], high <= low + 1.
struct Taps {
  std::vector<std::int32_t> low, high;
  std::vector<float> part;
};

Taps taps_of(std::int64_t in, std::int64_t out) {  // half-pixel centres, as at::upsample_bilinear2d
  Taps taps;
  const float scale = static_cast<float>(in) / static_cast<float>(out);
  for (std::int64_t i = 0; i < out; ++i) {
    const float at = std::max(0.0f, (static_cast<float>(i) + 0.5f) * scale - 0.5f);
    const auto low = std::min(static_cast<std::int64_t>(at), in - 1);
    taps.low.push_back(static_cast<std::int32_t>(low)), taps.high.push_back(static_cast<std::int32_t>(std::min(low + 1, in - 1)));
    taps.part.push_back(at - static_cast<float>(low));
  }
  return taps;
}

// With A that interpolation: A'A, which has three diagonals, and A'1. Sums over enlarged pictures are thereby sums over the pictures
// as they are: <A x, A y> = <A'A x, y>.
struct Gram {
  std::vector<float> diagonal, next;  // next[i]: of rows i and i + 1; the last is 0
  std::vector<float> weight;
};

Gram gram_of(const Taps& taps, std::int64_t in) {
  std::vector<double> diagonal(in), next(in), weight(in);
  for (std::size_t i = 0; i < taps.low.size(); ++i) {
    const double p = taps.part[i], q = 1 - p;
    const auto low = taps.low[i], high = taps.high[i];
    weight[low] += q, weight[high] += p;
    diagonal[low] += q * q, diagonal[high] += p * p;
    if (low == high) diagonal[low] += 2 * p * q;
    else next[low] += p * q;
  }
  return {{diagonal.begin(), diagonal.end()}, {next.begin(), next.end()}, {weight.begin(), weight.end()}};
}

struct Spread {
  float low, high;
  double sum;
};

ME2_VECTORISED Spread spread(const float* x, std::int64_t n) {
  Spread out{x[0], x[0], 0};
  std::int64_t i = 0;
  if (n >= kLanes) {
    Lanes low = lanes(x), high = low;
    while (i + kLanes <= n) {  // sums of a few thousand in float, then in double
      Lanes sum{};
      for (const auto end = std::min(n, i + 64 * kLanes); i + kLanes <= end; i += kLanes) {
        const Lanes v = lanes(x + i);
        low = v < low ? v : low, high = v > high ? v : high, sum += v;
      }
      out.sum += total(sum);
    }
    for (int k = 0; k < kLanes; ++k) out.low = std::min(out.low, low[k]), out.high = std::max(out.high, high[k]);
  }
  for (; i < n; ++i) out.low = std::min(out.low, x[i]), out.high = std::max(out.high, x[i]), out.sum += x[i];
  return out;
}

// out = a up + b mid + c down - shift, up and down null beyond the border.
ME2_VECTORISED void three_rows(const float* up, const float* mid, const float* down, float a, float b, float c, float shift, std::int64_t n, float* __restrict__ out) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = a * up[i] + b * mid[i] + c * down[i] - shift;
}

struct Sums {
  double x = 0, y = 0, xx = 0, yy = 0, xy = 0;
};

// Adds one row to the sums over the enlarged pair. gx, gy: the rows' A'A down the columns, a zero at either end; x, y: the rows;
// cx, cy: what is subtracted from every pixel.
ME2_VECTORISED void add_row(const float* gx, const float* gy, const float* x, const float* y, float cx, float cy, const float* diagonal, const float* next,
                            const float* weight, float row_weight, std::int64_t n, Sums& sums) {
  Lanes sx{}, sy{}, sxx{}, syy{}, sxy{};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Lanes d = lanes(diagonal + i), before = lanes(next + i - 1), after = lanes(next + i), w = lanes(weight + i);
    const Lanes a = lanes(x + i) - cx, b = lanes(y + i) - cy;
    const Lanes ga = d * lanes(gx + i) + before * lanes(gx + i - 1) + after * lanes(gx + i + 1);
    const Lanes gb = d * lanes(gy + i) + before * lanes(gy + i - 1) + after * lanes(gy + i + 1);
    sx += w * a, sy += w * b, sxx += ga * a, sxy += ga * b, syy += gb * b;
  }
  sums.x += row_weight * total(sx), sums.y += row_weight * total(sy), sums.xx += total(sxx), sums.yy += total(syy), sums.xy += total(sxy);
  for (; i < n; ++i) {
    const float a = x[i] - cx, b = y[i] - cy;
    const float ga = diagonal[i] * gx[i] + next[i - 1] * gx[i - 1] + next[i] * gx[i + 1], gb = diagonal[i] * gy[i] + next[i - 1] * gy[i - 1] + next[i] * gy[i + 1];
    sums.x += row_weight * weight[i] * a, sums.y += row_weight * weight[i] * b;
    sums.xx += ga * a, sums.xy += ga * b, sums.yy += gb * b;
  }
}

// Pearson r of a pair of pictures [3, h, w] once enlarged, without enlarging them. columns.next has a zero in front here.
double pearson(const float* x, const float* y, std::int64_t h, std::int64_t w, const Gram& rows, const Gram& columns, double count) {
  const auto nan = std::numeric_limits<double>::quiet_NaN();
  const std::int64_t plane = h * w;
  const Spread of_x = spread(x, 3 * plane), of_y = spread(y, 3 * plane);
  if (of_x.high - of_x.low <= 1e-6f || of_y.high - of_y.low <= 1e-6f) return nan;
  const float cx = static_cast<float>(of_x.sum / static_cast<double>(3 * plane)), cy = static_cast<float>(of_y.sum / static_cast<double>(3 * plane));
  std::vector<float> gx(w + 2), gy(w + 2);
  Sums sums;
  for (std::int64_t channel = 0; channel < 3; ++channel)
    for (std::int64_t r = 0; r < h; ++r) {
      const float* px = x + channel * plane + r * w;
      const float* py = y + channel * plane + r * w;
      const float a = r > 0 ? rows.next[r - 1] : 0, b = rows.diagonal[r], c = rows.next[r];  // 0 for the last row
      const std::int64_t up = r > 0 ? -w : 0, down = r + 1 < h ? w : 0;
      three_rows(px + up, px, px + down, a, b, c, (a + b + c) * cx, w, gx.data() + 1);
      three_rows(py + up, py, py + down, a, b, c, (a + b + c) * cy, w, gy.data() + 1);
      add_row(gx.data() + 1, gy.data() + 1, px, py, cx, cy, columns.diagonal.data(), columns.next.data() + 1, columns.weight.data(), rows.weight[r], w, sums);
    }
  const double xx = sums.xx - sums.x * sums.x / count, yy = sums.yy - sums.y * sums.y / count;
  if (xx <= 1e-13 * count || yy <= 1e-13 * count) return nan;  // flat within rounding once resized
  return (sums.xy - sums.x * sums.y / count) / std::sqrt(xx * yy);
}

ME2_VECTORISED void gray(const float* red, const float* green, const float* blue, std::int64_t n, float* out) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = 0.2125f * red[i] + 0.7154f * green[i] + 0.0721f * blue[i];
}

ME2_VECTORISED void stretch(const float* in, const std::int32_t* low, const std::int32_t* high, const float* part, std::int64_t n, float* __restrict__ out) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = (1 - part[i]) * in[low[i]] + part[i] * in[high[i]];
}

// The row of x and y between two stretched ones, its x^2 + y^2 and x y.
ME2_VECTORISED void maps_of(const float* x0, const float* x1, const float* y0, const float* y1, float part, std::int64_t n, float* __restrict__ x, float* __restrict__ y,
                            float* __restrict__ s, float* __restrict__ p) {
  const float rest = 1 - part;
  for (std::int64_t i = 0; i < n; ++i) {
    const float a = rest * x0[i] + part * x1[i], b = rest * y0[i] + part * y1[i];
    x[i] = a, y[i] = b, s[i] = a * a + b * b, p[i] = a * b;
  }
}

// out[c] = sum_k g[k] in[c + k], c < n, n >= kWide: the last block goes back over what is done.
ME2_VECTORISED void across(const float* in, std::int64_t n, const float* g, float* __restrict__ out) {
  for (std::int64_t block = 0; block < n; block += kWide) {
    const std::int64_t c = std::min(block, n - kWide);
    Lanes sum0{}, sum1{};
    for (int k = 0; k < kTaps; ++k) sum0 += g[k] * lanes(in + c + k), sum1 += g[k] * lanes(in + c + k + kLanes);
    lanes(out + c) = sum0, lanes(out + c + kLanes) = sum1;
  }
}

// The sum of the similarity over a row. ring: kTaps rows of each of the four maps, filtered across; first: the oldest of them.
// n is a multiple of kLanes in memory, of which `valid` count.
ME2_VECTORISED double similarity(const float* ring, std::int64_t first, std::int64_t n, std::int64_t valid, const float* g) {
  constexpr float c1 = 0.01f * 0.01f, c2 = 0.03f * 0.03f;
  const float* rows[kTaps];
  for (int k = 0; k < kTaps; ++k) rows[k] = ring + (first + k) % kTaps * n;
  const std::int64_t map = kTaps * n;
  Lanes sum{};
  double tail = 0;
  for (std::int64_t c = 0; c < n; c += kLanes) {
    Lanes ux{}, uy{}, s{}, p{};
    for (int k = 0; k < kTaps; ++k) {
      const float* at = rows[k] + c;
      ux += g[k] * lanes(at), uy += g[k] * lanes(at + map), s += g[k] * lanes(at + 2 * map), p += g[k] * lanes(at + 3 * map);
    }
    const Lanes xy = ux * uy, xx = ux * ux + uy * uy;
    const Lanes value = ((2 * xy + c1) * (2 * (p - xy) + c2)) / ((xx + c1) * (s - xx + c2));
    if (c + kLanes <= valid) {
      sum += value;
    } else {
      for (std::int64_t k = 0; c + k < valid; ++k) tail += value[k];
    }
  }
  return total(sum) + tail;
}

// SSIM of the gray of a pair [3, h, w] enlarged by the taps, row by row: nothing of the enlarged size is kept but the window's rows.
// The mean leaves out kRadius pixels at each border, so no value beyond the border is ever needed.
double ssim(const float* x, const float* y, std::int64_t in_h, std::int64_t in_w, const Taps& rows, const Taps& columns) {
  const auto h = static_cast<std::int64_t>(rows.low.size()), w = static_cast<std::int64_t>(columns.low.size());
  const std::int64_t inner_h = h - 2 * kRadius, inner_w = w - 2 * kRadius;
  if (inner_h < 1 || inner_w < 1) throw data_error("SSIM needs images of {0}x{0} pixels or more, {1}x{2} found", kTaps, h, w);
  float g[kTaps];
  double sum_g = 0;
  for (int k = 0; k < kTaps; ++k) sum_g += std::exp(-0.5 * (k - kRadius) * (k - kRadius) / (1.5 * 1.5));
  for (int k = 0; k < kTaps; ++k) g[k] = static_cast<float>(std::exp(-0.5 * (k - kRadius) * (k - kRadius) / (1.5 * 1.5)) / sum_g);
  // Rows are padded with zeros to whole vectors; similarity() leaves the padding out.
  const std::int64_t padded = std::max((inner_w + kLanes - 1) / kLanes * kLanes, kWide), wide = padded + 2 * kRadius, plane = in_h * in_w;
  std::vector<float> ring(4 * kTaps * padded), maps(4 * wide), stretched(4 * w), grays(in_w);
  std::int64_t held[2] = {-1, -1};  // source rows in `stretched`: x and y of one, x and y of the other
  const auto hold = [&](std::int64_t row, std::int64_t other) {
    for (int k : {0, 1})
      if (held[k] == row) return stretched.data() + 2 * k * w;
    const int k = held[0] == other ? 1 : 0;
    float* out = stretched.data() + 2 * k * w;
    for (const int which : {0, 1}) {
      const float* at = (which == 0 ? x : y) + row * in_w;
      gray(at, at + plane, at + 2 * plane, in_w, grays.data());
      stretch(grays.data(), columns.low.data(), columns.high.data(), columns.part.data(), w, out + which * w);
    }
    held[k] = row;
    return out;
  };
  double sum = 0;
  for (std::int64_t r = 0; r < h; ++r) {
    const float* low = hold(rows.low[r], rows.high[r]);
    const float* high = hold(rows.high[r], rows.low[r]);
    maps_of(low, high, low + w, high + w, rows.part[r], w, maps.data(), maps.data() + wide, maps.data() + 2 * wide, maps.data() + 3 * wide);
    for (int m = 0; m < 4; ++m) across(maps.data() + m * wide, padded, g, ring.data() + (m * kTaps + r % kTaps) * padded);
    if (r >= kTaps - 1) sum += similarity(ring.data(), (r + 1) % kTaps, padded, inner_w, g);
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
  const std::int64_t in_h = truth.size(2), in_w = truth.size(3);
  // Growing, a triangle filter is bilinear interpolation; only shrinking with antialiasing needs the general resize.
  const bool general = options.antialias && (h < in_h || w < in_w);
  const auto prepare = [&](const at::Tensor& x) {
    return (general ? vision::resize(x, h, w, vision::Interp::bilinear, true) : x).to(at::kFloat).contiguous();
  };
  const at::Tensor a = prepare(truth), b = prepare(recon);
  const float* pa = a.const_data_ptr<float>();
  const float* pb = b.const_data_ptr<float>();
  const std::int64_t from_h = a.size(2), from_w = a.size(3);
  const auto rows = taps_of(from_h, h), columns = taps_of(from_w, w);
  const Gram of_rows = gram_of(rows, from_h);
  Gram of_columns = gram_of(columns, from_w);
  of_columns.next.insert(of_columns.next.begin(), 0.0f);
  store::parallel_for(n, at::get_num_threads(), [&, h = h, w = w](std::int64_t i) {
    const float* x = pa + i * 3 * from_h * from_w;
    const float* y = pb + i * 3 * from_h * from_w;
    if (options.pixcorr) out.pixcorr[i] = pearson(x, y, from_h, from_w, of_rows, of_columns, static_cast<double>(3 * h * w));
    if (options.ssim) out.ssim[i] = ssim(x, y, from_h, from_w, rows, columns);
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
