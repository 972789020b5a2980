// The diffusion prior: network, noise schedule and training objective (reference: models.py BrainDiffusionPrior over
// dalle2_pytorch's DiffusionPrior and NoiseScheduler). Sampling is in diffusion/prior_sampler.h.
#pragma once
#include "models/prior_network.h"

namespace me2::models {

// Cosine schedule (Nichol and Dhariwal 2021, s = 0.008), made in double precision and kept as float buffers [T].
// A checkpoint's buffers are used as they are.
struct NoiseScheduler {
  at::Tensor betas, alphas_cumprod, alphas_cumprod_prev, sqrt_alphas_cumprod, sqrt_one_minus_alphas_cumprod,
      log_one_minus_alphas_cumprod, sqrt_recip_alphas_cumprod, sqrt_recipm1_alphas_cumprod, posterior_variance,
      posterior_log_variance_clipped, posterior_mean_coef1, posterior_mean_coef2, p2_loss_weight;
  explicit NoiseScheduler(const nn::Scope& s, std::int64_t timesteps = 100);
  std::int64_t timesteps() const { return betas.size(0); }
  at::Tensor q_sample(const at::Tensor& clean, const at::Tensor& times, const at::Tensor& noise) const;  // x_t
};

struct DiffusionPriorConfig {
  PriorNetworkConfig net;
  std::int64_t timesteps = 100;
  static DiffusionPriorConfig detect(const nn::Scope& s);
};

// The random draws of one training step, in the reference's order: times, noise, brain mask, image mask.
struct PriorDraws {
  at::Tensor times;                         // [B] int64 in 0..T-1
  at::Tensor noise;                         // as the target
  at::Tensor brain_uniform, image_uniform;  // [B] in [0, 1); undefined where the drop probability is 0 or 1 (nothing is drawn)
};

struct PriorLoss {
  at::Tensor loss, prediction, noisy;
};

struct DiffusionPrior {
  PriorNetwork net;
  NoiseScheduler noise_scheduler;

  DiffusionPrior(const nn::Scope& s, const DiffusionPriorConfig& config)
      : net(s.sub("net"), config.net), noise_scheduler(s.sub("noise_scheduler"), config.timesteps) {}

  PriorDraws draw(const at::Tensor& target, double brain_drop, double image_drop, at::Generator generator) const;
  // target [B, n, width] clean CLIP tokens, brain [B, n, width] -> mean squared error of the predicted clean tokens.
  PriorLoss loss(const at::Tensor& target, const at::Tensor& brain, const PriorDraws& draws, double brain_drop = .2, double image_drop = .2) const;
};

}  // namespace me2::models
