#include "diffusion/prior_sampler.h"

#include <cmath>

#include <ATen/ATen.h>

#include "base/error.h"
#include "base/signals.h"

namespace me2::diffusion {
namespace {
constexpr double kEta = 1;

std::vector<double> values(const at::Tensor& buffer) {
  const at::Tensor wide = buffer.detach().to(at::kCPU, at::kDouble).contiguous();
  return {wide.const_data_ptr<double>(), wide.const_data_ptr<double>() + wide.numel()};
}
}  // namespace

PriorPlan prior_plan(std::int64_t timesteps, std::int64_t steps) {
  if (steps < 2 || steps > timesteps) throw usage_error("--steps: 2 to {} expected (the steps of the model's schedule), {} given", timesteps, steps);
  PriorPlan plan;
  plan.ddim = steps < timesteps;
  if (!plan.ddim) {
    for (std::int64_t t = timesteps - 1; t >= 0; --t) plan.steps.emplace_back(t, t - 1);
    plan.draws = 1 + timesteps;  // Fidelity: noise is drawn at time 0 too, and not used
    return plan;
  }
  // Fidelity: truncated toward zero, not rounded; from -1 to T in steps + 1 points, the last left out.
  const at::Tensor times = at::linspace(-1., static_cast<double>(timesteps), steps + 1, at::kFloat).narrow(0, 0, steps).to(at::kInt).to(at::kLong).flip({0}).contiguous();
  const std::int64_t* t = times.const_data_ptr<std::int64_t>();
  plan.draws = 1;
  for (std::int64_t i = 0; i + 1 < steps; ++i) {
    plan.steps.emplace_back(t[i], t[i + 1]);
    plan.draws += t[i + 1] > 0;
  }
  return plan;
}

at::Tensor sample_prior(const models::NoiseScheduler& s, const PriorPlan& plan, const PriorDenoiser& denoise, const PriorNoise& noise,
                        const PriorObserver& observe) {
  const auto previous = values(s.alphas_cumprod_prev), recip = values(s.sqrt_recip_alphas_cumprod), recipm1 = values(s.sqrt_recipm1_alphas_cumprod),
             coef1 = values(s.posterior_mean_coef1), coef2 = values(s.posterior_mean_coef2), log_variance = values(s.posterior_log_variance_clipped);
  at::Tensor x = noise(0);
  std::int64_t draw = 0;
  for (std::size_t call = 0; call < plan.steps.size(); ++call) {
    check_stop_overdue();
    const auto [t, next] = plan.steps[call];
    const auto i = static_cast<std::size_t>(t);
    const at::Tensor clean = denoise(x, t);
    if (observe) observe(static_cast<std::int64_t>(call), x, clean);
    if (!plan.ddim) {
      x = clean * coef1[i] + x * coef2[i];
      if (t > 0) x = x + noise(++draw) * std::exp(.5 * log_variance[i]);
    } else if (next < 0) {
      x = clean;
    } else {
      // Fidelity: alphas_cumprod_prev in c1, c2 and the mean, the unshifted tables in eps.
      const double now = previous[i], after = previous[static_cast<std::size_t>(next)];
      const at::Tensor eps = (x * recip[i] - clean) / recipm1[i];
      const double c1 = kEta * std::sqrt((1 - now / after) * (1 - after) / (1 - now));
      const double c2 = std::sqrt(1 - after - c1 * c1);
      x = clean * std::sqrt(after) + eps * c2;
      if (next > 0) x = x + noise(++draw) * c1;
    }
  }
  return x;
}

}  // namespace me2::diffusion
