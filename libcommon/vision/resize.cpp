#include "vision/resize.h"

#include <ATen/ATen.h>

#include <cmath>
#include <vector>

#include "base/error.h"
#include "weights/parallel.h"

namespace me2::vision {
namespace {

at::Tensor as_batch(const at::Tensor& x) {  // [..., H, W] -> [N, C, H, W]
  if (x.dim() < 2) throw data_error("an image needs two axes or more, {} found", x.dim());
  if (x.dim() == 4) return x;
  return x.reshape({1, -1, x.size(-2), x.size(-1)});
}

at::Tensor like(const at::Tensor& y, const at::Tensor& x) {  // leading axes of x, last two of y
  auto shape = x.sizes().vec();
  shape[shape.size() - 2] = y.size(-2);
  shape.back() = y.size(-1);
  return y.reshape(shape);
}

struct Taps {  // of one output sample: source [first, first + weight.size())
  std::int64_t first;
  std::vector<std::int32_t> weight;  // 22-bit fixed point
};

double pillow_kernel(PillowFilter filter, double x) {
  const double a = std::abs(x);
  if (filter == PillowFilter::bilinear) return a < 1 ? 1 - a : 0;
  if (filter == PillowFilter::bicubic) {
    if (a < 1) return (1.5 * a - 2.5) * a * a + 1;
    return a < 2 ? (((a - 5) * a + 8) * a - 4) * -0.5 : 0;
  }
  const auto sinc = [](double v) { return v == 0 ? 1.0 : std::sin(v * M_PI) / (v * M_PI); };
  return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
}

std::vector<Taps> pillow_taps(std::int64_t in, std::int64_t out, PillowFilter filter) {
  const double scale = static_cast<double>(in) / out, stretch = std::max(scale, 1.0);
  const double support = stretch * (filter == PillowFilter::lanczos ? 3 : filter == PillowFilter::bicubic ? 2 : 1);
  std::vector<Taps> all(out);
  for (std::int64_t i = 0; i < out; ++i) {
    const double centre = (i + 0.5) * scale;
    const auto first = std::max<std::int64_t>(0, static_cast<std::int64_t>(centre - support + 0.5));
    const auto last = std::min<std::int64_t>(in, static_cast<std::int64_t>(centre + support + 0.5));
    std::vector<double> w(last - first);
    double sum = 0;
    for (std::size_t k = 0; k < w.size(); ++k) sum += w[k] = pillow_kernel(filter, (k + first - centre + 0.5) * (1 / stretch));
    all[i].first = first;
    for (double v : w) {
      v = (sum != 0 ? v / sum : v) * (1 << 22);
      all[i].weight.push_back(static_cast<std::int32_t>(v < 0 ? v - 0.5 : v + 0.5));
    }
  }
  return all;
}

std::uint8_t clip8(std::int32_t v) { return static_cast<std::uint8_t>(std::min(255, std::max(0, v >> 22))); }

}  // namespace

at::Tensor resize(const at::Tensor& x, std::int64_t height, std::int64_t width, Interp interp, bool antialias) {
  if (height < 1 || width < 1) throw data_error("cannot resize an image to {}x{}", height, width);
  if (x.size(-2) == height && x.size(-1) == width) return x;
  const at::Tensor in = as_batch(x.is_floating_point() ? x : x.to(at::kFloat));
  const std::array<std::int64_t, 2> size{height, width};
  switch (interp) {
    case Interp::nearest: return like(at::upsample_nearest2d(in, size), x);
    case Interp::bilinear:
      return like(antialias ? at::_upsample_bilinear2d_aa(in, size, false) : at::upsample_bilinear2d(in, size, false), x);
    case Interp::bicubic:
      return like(antialias ? at::_upsample_bicubic2d_aa(in, size, false) : at::upsample_bicubic2d(in, size, false), x);
  }
  return x;
}

std::pair<std::int64_t, std::int64_t> shorter_edge_size(std::int64_t height, std::int64_t width, std::int64_t size) {
  const auto [small, large] = std::minmax(height, width);
  const auto longer = static_cast<std::int64_t>(static_cast<double>(size * large) / static_cast<double>(small));
  return height <= width ? std::pair{size, longer} : std::pair{longer, size};
}

at::Tensor resize_shorter(const at::Tensor& x, std::int64_t size, Interp interp, bool antialias) {
  const auto [h, w] = shorter_edge_size(x.size(-2), x.size(-1), size);
  return resize(x, h, w, interp, antialias);
}

at::Tensor gaussian_blur(const at::Tensor& x, std::array<std::int64_t, 2> taps, std::array<double, 2> sigma) {
  const auto kernel = [&](int axis) {
    const at::Tensor at = at::arange(taps[axis], x.options()) - taps[axis] / 2;
    const at::Tensor g = at::exp(-at.pow(2) / (2 * sigma[axis] * sigma[axis]));
    return g / g.sum();
  };
  const auto channels = x.size(1);
  const at::Tensor padded = at::reflection_pad2d(x, {taps[1] / 2, taps[1] / 2, taps[0] / 2, taps[0] / 2});
  const std::optional<at::Tensor> no_bias;
  const std::array<std::int64_t, 2> one{1, 1}, zero{0, 0};
  const at::Tensor across = at::conv2d(padded, kernel(1).reshape({1, 1, 1, -1}).expand({channels, 1, 1, taps[1]}), no_bias, one, zero, one, channels);
  return at::conv2d(across, kernel(0).reshape({1, 1, -1, 1}).expand({channels, 1, taps[0], 1}), no_bias, one, zero, one, channels);
}

at::Tensor kornia_resize_bicubic(const at::Tensor& x, std::int64_t height, std::int64_t width, bool antialias) {
  if (x.size(-2) == height && x.size(-1) == width) return x;
  at::Tensor in = x;
  const double fy = static_cast<double>(x.size(-2)) / height, fx = static_cast<double>(x.size(-1)) / width;
  if (antialias && std::max(fy, fx) > 1) {
    const auto sigma = [](double factor) { return std::max((factor - 1) / 2, 0.001); };
    const auto taps = [](double s) {
      const auto n = static_cast<std::int64_t>(std::max(4 * s, 3.0));
      return n % 2 ? n : n + 1;
    };
    in = gaussian_blur(x, {taps(sigma(fy)), taps(sigma(fx))}, {sigma(fy), sigma(fx)});
  }
  return at::upsample_bicubic2d(in, {height, width}, /*align_corners=*/true);
}

at::Tensor pillow_resize(const at::Tensor& x, std::int64_t height, std::int64_t width, PillowFilter filter) {
  if (x.scalar_type() != at::kByte) throw data_error("a Pillow resize takes 8-bit images");
  const std::int64_t h = x.size(-2), w = x.size(-1);
  at::Tensor in = x.contiguous().reshape({-1, h, w});
  const std::int64_t planes = in.size(0);
  if (w != width) {
    const auto taps = pillow_taps(w, width, filter);
    const at::Tensor out = at::empty({planes, h, width}, at::kByte);
    const auto* src = in.const_data_ptr<std::uint8_t>();
    auto* dst = out.mutable_data_ptr<std::uint8_t>();
    weights::parallel_for(0, planes * h, 64, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t row = first; row < last; ++row)
        for (std::int64_t i = 0; i < width; ++i) {
          std::int32_t sum = 1 << 21;
          const auto* p = src + row * w + taps[i].first;
          for (std::size_t k = 0; k < taps[i].weight.size(); ++k) sum += p[k] * taps[i].weight[k];
          dst[row * width + i] = clip8(sum);
        }
    });
    in = out;
  }
  if (h != height) {
    const auto taps = pillow_taps(h, height, filter);
    const at::Tensor out = at::empty({planes, height, width}, at::kByte);
    const auto* src = in.const_data_ptr<std::uint8_t>();
    auto* dst = out.mutable_data_ptr<std::uint8_t>();
    weights::parallel_for(0, planes * height, 16, [&](std::int64_t first, std::int64_t last) {
      std::vector<std::int32_t> sum(width);
      for (std::int64_t row = first; row < last; ++row) {
        const auto& tap = taps[row % height];
        std::fill(sum.begin(), sum.end(), 1 << 21);
        for (std::size_t k = 0; k < tap.weight.size(); ++k) {
          const auto* p = src + (row / height * h + tap.first + static_cast<std::int64_t>(k)) * width;
          for (std::int64_t i = 0; i < width; ++i) sum[i] += p[i] * tap.weight[k];
        }
        for (std::int64_t i = 0; i < width; ++i) dst[row * width + i] = clip8(sum[i]);
      }
    });
    in = out;
  }
  return like(in, x);
}

at::Tensor to_pil_u8(const at::Tensor& x) { return x.mul(255).to(at::kByte); }

at::Tensor normalize(const at::Tensor& x, const std::array<float, 3>& mean, const std::array<float, 3>& std) {
  if (x.size(-3) != 3) throw data_error("3 colour channels expected, {} found", x.size(-3));
  const auto column = [&](const std::array<float, 3>& v) { return at::tensor({v[0], v[1], v[2]}, at::kFloat).to(x.options()).reshape({3, 1, 1}); };
  return x.sub(column(mean)).div_(column(std));
}

}  // namespace me2::vision
