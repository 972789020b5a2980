#include "models/diffusion_prior.h"

#include <cmath>

#include <ATen/ATen.h>

namespace me2::models {
namespace {

void fill_cosine(NoiseScheduler& s) {
  const std::int64_t steps = s.timesteps();
  const at::Tensor t = at::arange(steps + 1, at::kDouble) / static_cast<double>(steps);
  at::Tensor a = at::cos((t + .008) / 1.008 * M_PI * .5).square();
  a = a / a[0];
  const at::Tensor betas = at::clamp(1 - a.narrow(0, 1, steps) / a.narrow(0, 0, steps), 0, .999);
  const at::Tensor alphas = 1 - betas, cumulated = alphas.cumprod(0);
  const at::Tensor previous = at::cat({at::ones({1}, at::kDouble), cumulated.narrow(0, 0, steps - 1)});
  const at::Tensor variance = betas * (1 - previous) / (1 - cumulated);
  s.betas.copy_(betas);
  s.alphas_cumprod.copy_(cumulated);
  s.alphas_cumprod_prev.copy_(previous);
  s.sqrt_alphas_cumprod.copy_(cumulated.sqrt());
  s.sqrt_one_minus_alphas_cumprod.copy_((1 - cumulated).sqrt());
  s.log_one_minus_alphas_cumprod.copy_((1 - cumulated).log());
  s.sqrt_recip_alphas_cumprod.copy_((1 / cumulated).sqrt());
  s.sqrt_recipm1_alphas_cumprod.copy_((1 / cumulated - 1).sqrt());
  s.posterior_variance.copy_(variance);
  s.posterior_log_variance_clipped.copy_(variance.clamp_min(1e-20).log());
  s.posterior_mean_coef1.copy_(betas * previous.sqrt() / (1 - cumulated));
  s.posterior_mean_coef2.copy_((1 - previous) * alphas.sqrt() / (1 - cumulated));
  s.p2_loss_weight.fill_(1);
}

at::Tensor keep(const at::Tensor& uniform, double drop, std::int64_t batch, at::Device device) {
  if (drop == 0) return {};
  if (drop == 1) return at::zeros({batch}, at::TensorOptions().dtype(at::kBool).device(device));
  return uniform < 1 - drop;
}

}  // namespace

NoiseScheduler::NoiseScheduler(const nn::Scope& s, std::int64_t steps)
    : betas(s.buffer("betas", {steps})), alphas_cumprod(s.buffer("alphas_cumprod", {steps})), alphas_cumprod_prev(s.buffer("alphas_cumprod_prev", {steps})),
      sqrt_alphas_cumprod(s.buffer("sqrt_alphas_cumprod", {steps})), sqrt_one_minus_alphas_cumprod(s.buffer("sqrt_one_minus_alphas_cumprod", {steps})),
      log_one_minus_alphas_cumprod(s.buffer("log_one_minus_alphas_cumprod", {steps})), sqrt_recip_alphas_cumprod(s.buffer("sqrt_recip_alphas_cumprod", {steps})),
      sqrt_recipm1_alphas_cumprod(s.buffer("sqrt_recipm1_alphas_cumprod", {steps})), posterior_variance(s.buffer("posterior_variance", {steps})),
      posterior_log_variance_clipped(s.buffer("posterior_log_variance_clipped", {steps})), posterior_mean_coef1(s.buffer("posterior_mean_coef1", {steps})),
      posterior_mean_coef2(s.buffer("posterior_mean_coef2", {steps})), p2_loss_weight(s.buffer("p2_loss_weight", {steps})) {
  if (!s.source().knows_shapes() && !betas.is_meta()) fill_cosine(*this);
}

at::Tensor NoiseScheduler::q_sample(const at::Tensor& clean, const at::Tensor& times, const at::Tensor& noise) const {
  return sqrt_alphas_cumprod.index({times}).view({-1, 1, 1}) * clean + sqrt_one_minus_alphas_cumprod.index({times}).view({-1, 1, 1}) * noise;
}

DiffusionPriorConfig DiffusionPriorConfig::detect(const nn::Scope& s) {
  return {PriorNetworkConfig::detect(s.sub("net")), s.shape("noise_scheduler.betas").at(0)};
}

PriorDraws DiffusionPrior::draw(const at::Tensor& target, double brain_drop, double image_drop, at::Generator generator) const {
  const std::int64_t batch = target.size(0);
  const auto floats = target.options().requires_grad(false);
  PriorDraws draws;
  draws.times = at::randint(0, noise_scheduler.timesteps(), {batch}, generator, floats.dtype(at::kLong));
  draws.noise = at::randn(target.sizes(), generator, floats);
  if (brain_drop > 0 && brain_drop < 1) draws.brain_uniform = at::rand({batch}, generator, floats);
  if (image_drop > 0 && image_drop < 1) draws.image_uniform = at::rand({batch}, generator, floats);
  return draws;
}

PriorLoss DiffusionPrior::loss(const at::Tensor& target, const at::Tensor& brain, const PriorDraws& draws, double brain_drop, double image_drop) const {
  const at::Tensor noisy = noise_scheduler.q_sample(target, draws.times, draws.noise);
  const PriorKeep kept{keep(draws.brain_uniform, brain_drop, target.size(0), target.device()),
                       keep(draws.image_uniform, image_drop, target.size(0), target.device())};
  const at::Tensor prediction = net(noisy, draws.times, brain, kept);
  return {at::mse_loss(prediction, target), prediction, noisy};
}

}  // namespace me2::models
