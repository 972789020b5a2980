#include "diffusion/edm_samplers.h"

#include <cmath>

#include <ATen/ATen.h>

#include "base/error.h"
#include "base/signals.h"

namespace me2::diffusion {
namespace {

at::Tensor slope(const at::Tensor& x, const at::Tensor& denoised, float sigma) { return (x - denoised) / sigma; }

at::Tensor euler(const Denoise& denoise, const at::Tensor& x, float sigma, float next) {
  return x + (next - sigma) * slope(x, denoise(x, sigma), sigma);
}

at::Tensor heun(const Denoise& denoise, const at::Tensor& x, float sigma, float next) {
  const at::Tensor first = slope(x, denoise(x, sigma), sigma);
  const at::Tensor guess = x + (next - sigma) * first;
  if (next == 0) return guess;
  return x + (next - sigma) * 0.5 * (first + slope(guess, denoise(guess, next), next));
}

at::Tensor euler_ancestral(const Denoise& denoise, const at::Tensor& x, float sigma, float next, std::int64_t step, const SamplerHooks& hooks) {
  const double s = sigma, n = next;
  const double up = std::min(n, std::sqrt(n * n * (s * s - n * n) / (s * s)));
  const double down = std::sqrt(n * n - up * up);
  const at::Tensor out = x + (down - s) * slope(x, denoise(x, sigma), sigma);
  if (next == 0) return out;
  if (!hooks.noise) throw Error(Exit::internal, "the ancestral sampler needs noise for every step");
  return out + up * hooks.noise(step);
}

}  // namespace

at::Tensor scale_to_first_sigma(const at::Tensor& x, const std::vector<float>& sigmas) {
  const float first = sigmas.front();
  return x * std::sqrt(1.0f + first * first);
}

at::Tensor sample(SamplerKind kind, const Denoise& denoise, at::Tensor x, const std::vector<float>& sigmas, const SamplerHooks& hooks) {
  at::Tensor previous;  // dpmpp_2m: the last denoised
  const auto steps = static_cast<std::int64_t>(sigmas.size()) - 1;
  for (std::int64_t i = 0; i < steps; ++i) {
    check_stop_overdue();
    const float sigma = sigmas[i], next = sigmas[i + 1];
    if (hooks.entering) hooks.entering(i, x);
    switch (kind) {
      case SamplerKind::euler: x = euler(denoise, x, sigma, next); break;
      case SamplerKind::heun: x = heun(denoise, x, sigma, next); break;
      case SamplerKind::euler_ancestral: x = euler_ancestral(denoise, x, sigma, next, i, hooks); break;
      case SamplerKind::dpmpp_2m: {
        const at::Tensor denoised = denoise(x, sigma);
        if (next == 0) {
          x = denoised;
        } else {
          const double h = std::log(static_cast<double>(sigma) / next);
          at::Tensor estimate = denoised;
          if (previous.defined()) {
            const double r = std::log(static_cast<double>(sigmas[i - 1]) / sigma) / h;
            estimate = (1 + 1 / (2 * r)) * denoised - 1 / (2 * r) * previous;
          }
          x = static_cast<double>(next) / sigma * x - std::expm1(-h) * estimate;
        }
        previous = denoised;
        break;
      }
    }
  }
  return x;
}

}  // namespace me2::diffusion
