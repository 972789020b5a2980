// Sampling from the diffusion prior as the reference does it (models.py BrainDiffusionPrior.p_sample_loop over dalle2_pytorch):
// fewer steps than the schedule has: DDIM with eta 1 (Song et al. 2021) and the reference's indexing; as many: DDPM (Ho et al. 2020).
// The network predicts clean tokens. Nothing is clamped or normalised.
#pragma once
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "models/diffusion_prior.h"

namespace me2::diffusion {

struct PriorPlan {
  std::vector<std::pair<std::int64_t, std::int64_t>> steps;  // (time, next time); next -1: done. DDIM with 20 steps makes 19 calls
  bool ddim = true;
  std::int64_t draws = 0;  // how many noises a sample takes, the starting latent among them: 19 for DDIM 20, 101 for DDPM 100
};

// Exit::usage when steps is not 2..timesteps.
PriorPlan prior_plan(std::int64_t timesteps, std::int64_t steps);

using PriorDenoiser = std::function<at::Tensor(const at::Tensor& x, std::int64_t time)>;  // [B, n, width] -> clean, same shape
using PriorNoise = std::function<at::Tensor(std::int64_t draw)>;                         // draw 0: the starting latent [B, n, width]
// Called with (number of the network call from 0, x before it, the predicted clean tokens).
using PriorObserver = std::function<void(std::int64_t call, const at::Tensor& x, const at::Tensor& clean)>;

at::Tensor sample_prior(const models::NoiseScheduler& schedule, const PriorPlan& plan, const PriorDenoiser& denoise, const PriorNoise& noise,
                        const PriorObserver& observe = {});

}  // namespace me2::diffusion
