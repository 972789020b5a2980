#include "vision/colour.h"

#include <ATen/ATen.h>

#include "base/error.h"

namespace me2::vision {
namespace {

constexpr double kTau = 6.283185307179586;

at::Tensor per_sample(const at::Tensor& factor, const at::Tensor& x) { return factor.to(x.options()).reshape({-1, 1, 1, 1}); }

at::Tensor rgb_to_hsv(const at::Tensor& x) {
  const at::Tensor r = x.select(-3, 0), g = x.select(-3, 1), b = x.select(-3, 2);
  const at::Tensor high = x.amax(-3), delta = high - x.amin(-3);
  const at::Tensor safe = at::where(delta == 0, at::ones_like(delta), delta);
  const at::Tensor rc = high - r, gc = high - g, bc = high - b;
  at::Tensor h = at::where(r == high, bc - gc, at::where(g == high, (rc - bc) + 2 * safe, (gc - rc) + 4 * safe)) / safe;
  h = at::remainder(h / 6, 1) * kTau;
  return at::stack({h, delta / (high + 1e-8), high}, -3);
}

at::Tensor hsv_to_rgb(const at::Tensor& x) {
  const at::Tensor h = x.select(-3, 0) / kTau, s = x.select(-3, 1), v = x.select(-3, 2);
  const at::Tensor sector = at::remainder(at::floor(h * 6), 6);  // h may be negative (see adjust_hue)
  const at::Tensor f = at::remainder(h * 6, 6) - sector;
  const at::Tensor p = v * (1 - s), q = v * (1 - f * s), t = v * (1 - (1 - f) * s);
  const auto pick = [&](const std::array<at::Tensor, 6>& by_sector) {
    at::Tensor out = by_sector[5];
    for (int k = 4; k >= 0; --k) out = at::where(sector == k, by_sector[k], out);
    return out;
  };
  return at::stack({pick({v, q, p, p, t, v}), pick({t, v, v, q, p, p}), pick({p, p, t, v, v, q})}, -3);
}

at::Tensor weighted(const at::Tensor& x, double r, double g, double b) {
  if (x.size(-3) != 3) throw data_error("3 colour channels expected, {} found", x.size(-3));
  return r * x.select(-3, 0) + g * x.select(-3, 1) + b * x.select(-3, 2);
}

}  // namespace

at::Tensor gray_bt709(const at::Tensor& x) { return weighted(x, 0.2125, 0.7154, 0.0721); }
at::Tensor gray_bt601(const at::Tensor& x) { return weighted(x, 0.299, 0.587, 0.114).unsqueeze(-3); }

at::Tensor adjust_brightness(const at::Tensor& x, const at::Tensor& factor) { return (x * per_sample(factor, x)).clamp(0, 1); }

at::Tensor adjust_contrast(const at::Tensor& x, const at::Tensor& factor) {
  const at::Tensor f = per_sample(factor, x);
  return (x * f + (1 - f) * gray_bt601(x).mean({-2, -1}, true)).clamp(0, 1);
}

at::Tensor adjust_saturation(const at::Tensor& x, const at::Tensor& factor) {
  const at::Tensor f = per_sample(factor, x);
  return ((1 - f) * gray_bt601(x) + f * x).clamp(0, 1);
}

at::Tensor adjust_hue(const at::Tensor& x, const at::Tensor& turns) {
  const at::Tensor hsv = rgb_to_hsv(x);
  // Fidelity: fmod keeps a negative angle negative.
  const at::Tensor h = at::fmod(hsv.select(-3, 0) + turns.to(x.options()).reshape({-1, 1, 1}) * kTau, kTau);
  return hsv_to_rgb(at::stack({h, hsv.select(-3, 1), hsv.select(-3, 2)}, -3));
}

at::Tensor colour_jitter(const at::Tensor& x, const Jitter& jitter) {
  at::Tensor y = x;
  for (const int step : jitter.order) switch (step) {
      case 0: y = adjust_brightness(y, jitter.brightness); break;
      case 1: y = adjust_contrast(y, jitter.contrast); break;
      case 2: y = adjust_saturation(y, jitter.saturation); break;
      default: y = adjust_hue(y, jitter.hue);
    }
  return jitter.apply.defined() ? at::where(jitter.apply.to(at::kBool).to(x.device()).reshape({-1, 1, 1, 1}), y, x) : y;
}

at::Tensor solarize(const at::Tensor& x, const at::Tensor& threshold, const at::Tensor& addition) {
  const at::Tensor t = (x + per_sample(addition, x)).clamp(0, 1);
  return at::where(t >= per_sample(threshold, x), 1 - t, t);
}

at::Tensor to_grayscale(const at::Tensor& x) { return gray_bt601(x).expand_as(x).contiguous(); }

at::Tensor resized_crop(const at::Tensor& x, const Crop& crop, std::int64_t size) {
  const at::Tensor cut = x.slice(-2, crop.top, crop.bottom + 1).slice(-1, crop.left, crop.right + 1);
  return at::upsample_bilinear2d(cut, {size, size}, /*align_corners=*/true);
}

}  // namespace me2::vision
