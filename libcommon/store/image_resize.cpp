#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "store/image_file.h"

namespace me2::store {
namespace {

constexpr int kBits = 32 - 8 - 2;

double kernel(Resample filter, double x) {
  x = std::abs(x);
  switch (filter) {
    case Resample::bilinear: return x < 1 ? 1 - x : 0;
    case Resample::bicubic: {
      constexpr double a = -0.5;
      if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
      if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
      return 0;
    }
    case Resample::lanczos: {
      const auto sinc = [](double v) { return v == 0 ? 1 : std::sin(v * M_PI) / (v * M_PI); };
      return x < 3 ? sinc(x) * sinc(x / 3) : 0;
    }
  }
  return 0;
}

struct Taps {
  std::vector<std::int64_t> first;
  std::vector<std::vector<std::int32_t>> weight;
};

Taps make_taps(std::int64_t in, std::int64_t out, Resample filter) {
  const double support0 = filter == Resample::bilinear ? 1 : filter == Resample::bicubic ? 2 : 3;
  const double scale = static_cast<double>(in) / static_cast<double>(out), stretch = std::max(scale, 1.0), support = support0 * stretch;
  Taps taps;
  for (std::int64_t i = 0; i < out; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const auto from = std::max<std::int64_t>(0, static_cast<std::int64_t>(centre - support + 0.5));
    const auto to = std::min<std::int64_t>(in, static_cast<std::int64_t>(centre + support + 0.5));
    std::vector<double> w;
    double sum = 0;
    for (std::int64_t k = from; k < to; ++k) {
      w.push_back(kernel(filter, (static_cast<double>(k) - centre + 0.5) * (1.0 / stretch)));
      sum += w.back();
    }
    std::vector<std::int32_t> fixed;
    for (double v : w) {
      if (sum != 0) v /= sum;
      fixed.push_back(static_cast<std::int32_t>((v < 0 ? -0.5 : 0.5) + v * (1 << kBits)));
    }
    taps.first.push_back(from);
    taps.weight.push_back(std::move(fixed));
  }
  return taps;
}

std::uint8_t clip(std::int32_t v) { return static_cast<std::uint8_t>(std::clamp(v >> kBits, 0, 255)); }

}  // namespace

Image resize_image(const Image& image, std::int64_t height, std::int64_t width, Resample filter) {
  if (height < 1 || width < 1 || height > kImagePixelLimit / width)
    throw Error(Exit::usage, fmt::format("an image cannot be resized to {} x {} pixels", width, height));
  Image wide{image.height, width, {}};
  if (width == image.width) {
    wide.rgb = image.rgb;
  } else {
    wide.rgb.resize(static_cast<std::size_t>(3 * image.height * width));
    const Taps taps = make_taps(image.width, width, filter);
    for (std::int64_t row = 0; row < 3 * image.height; ++row) {
      const std::uint8_t* in = image.rgb.data() + row * image.width;
      std::uint8_t* out = wide.rgb.data() + row * width;
      for (std::size_t x = 0; x < static_cast<std::size_t>(width); ++x) {
        std::int32_t sum = 1 << (kBits - 1);
        for (std::size_t k = 0; k < taps.weight[x].size(); ++k) sum += taps.weight[x][k] * in[taps.first[x] + static_cast<std::int64_t>(k)];
        out[x] = clip(sum);
      }
    }
  }
  if (height == image.height) return wide;
  Image out{height, width, std::vector<std::uint8_t>(static_cast<std::size_t>(3 * height * width))};
  const Taps taps = make_taps(image.height, height, filter);
  std::vector<std::int32_t> sum(static_cast<std::size_t>(width));
  for (std::int64_t c = 0; c < 3; ++c)
    for (std::size_t y = 0; y < static_cast<std::size_t>(height); ++y) {
      std::fill(sum.begin(), sum.end(), 1 << (kBits - 1));
      for (std::size_t k = 0; k < taps.weight[y].size(); ++k) {
        const std::uint8_t* in = wide.rgb.data() + (c * image.height + taps.first[y] + static_cast<std::int64_t>(k)) * width;
        for (std::size_t x = 0; x < sum.size(); ++x) sum[x] += taps.weight[y][k] * in[x];
      }
      std::uint8_t* to = out.rgb.data() + (c * height + static_cast<std::int64_t>(y)) * width;
      for (std::size_t x = 0; x < sum.size(); ++x) to[x] = clip(sum[x]);
    }
  return out;
}

Image fit_image(const Image& image, std::int64_t size, Fit fit, Resample filter) {
  const std::int64_t h = image.height, w = image.width;
  if (fit == Fit::stretch || h == w) return h == size && w == size ? image : resize_image(image, size, size, filter);
  const auto copy = [](const Image& from, std::int64_t fy, std::int64_t fx, Image& to, std::int64_t ty, std::int64_t tx, std::int64_t ch, std::int64_t cw) {
    for (std::int64_t c = 0; c < 3; ++c)
      for (std::int64_t y = 0; y < ch; ++y)
        std::copy_n(from.rgb.begin() + (c * from.height + fy + y) * from.width + fx, cw, to.rgb.begin() + (c * to.height + ty + y) * to.width + tx);
  };
  if (fit == Fit::crop) {
    const std::int64_t edge = std::min(h, w);
    Image square{edge, edge, std::vector<std::uint8_t>(static_cast<std::size_t>(3 * edge * edge))};
    copy(image, (h - edge) / 2, (w - edge) / 2, square, 0, 0, edge, edge);
    return edge == size ? square : resize_image(square, size, size, filter);
  }
  const std::int64_t edge = std::max(h, w);
  const std::int64_t nh = std::max<std::int64_t>(1, h * size / edge), nw = std::max<std::int64_t>(1, w * size / edge);
  const Image small = resize_image(image, nh, nw, filter);
  Image out{size, size, std::vector<std::uint8_t>(static_cast<std::size_t>(3 * size * size), 0)};
  copy(small, 0, 0, out, (size - nh) / 2, (size - nw) / 2, nh, nw);
  return out;
}

}  // namespace me2::store
