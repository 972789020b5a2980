// A network that predicts noise (or velocity), read as one that removes it: the preconditioning of sgm's DiscreteDenoiser, and
// guidance away from the unconditional prediction.
// Ref: sgm modules/diffusionmodules/denoiser.py, denoiser_scaling.py (EpsScaling, VScaling), guiders.py VanillaCFG.
#pragma once
#include <functional>
#include <string>

#include <ATen/core/Tensor.h>

#include "diffusion/edm_schedule.h"
#include "models/unclip_unet.h"

namespace me2::diffusion {

enum class Scaling { eps, v };  // what the network's output means
Scaling parse_scaling(const std::string& target);  // "...EpsScaling" or "...VScaling", as the official configs name them; also "eps", "v"

struct Preconditioning {  // denoised = c_skip x + c_out net(c_in x), each [B]
  at::Tensor c_skip, c_out, c_in;
};
Preconditioning precondition(Scaling scaling, const at::Tensor& sigma);

// The U-Net's call: x [B, C, H, W], timesteps [B] int64, context, vector [B, A] -> [B, C, H, W].
using Network = std::function<at::Tensor(const at::Tensor& x, const at::Tensor& timesteps, const models::UnetContext& context, const at::Tensor& vector)>;

// The same network, each call of which is one replay of a CUDA graph where there is a CUDA part (nn/step_runner.h).
Network replayed(Network network);

struct Condition {
  models::UnetContext context;  // the tokens, projected once
  at::Tensor vector;            // [B, adm_in_channels]
};

class Denoiser {
 public:
  Denoiser(Network network, EdmSchedule schedule, Scaling scaling) : network_(std::move(network)), schedule_(std::move(schedule)), scaling_(scaling) {}
  // sigma [B] is snapped to the nearest level of the table first.
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& sigma, const Condition& condition) const;
  // Every row at one sigma: the same numbers, with the level found on the host, so that a GPU is not waited for.
  at::Tensor operator()(const at::Tensor& x, float sigma, const Condition& condition) const;
  // The network's own output at a level of the table (training compares this): index [B].
  at::Tensor raw(const at::Tensor& x, const at::Tensor& index, const Condition& condition) const;
  // What `raw` should have been for clean z and x = z + sigma noise.
  at::Tensor target(const at::Tensor& z, const at::Tensor& noise, const at::Tensor& sigma) const;
  const EdmSchedule& schedule() const { return schedule_; }
  Scaling scaling() const { return scaling_; }

 private:
  at::Tensor level(const at::Tensor& index) const;
  Network network_;
  EdmSchedule schedule_;
  Scaling scaling_;
};

// One denoising call of a sampler: every row of x is at `sigma`.
using Denoise = std::function<at::Tensor(const at::Tensor& x, float sigma)>;

// uncond + scale (cond - uncond). The batch is doubled, unconditional half first: `both` holds the conditions of 2 B rows.
Denoise guided(const Denoiser& denoiser, Condition both, double scale);
// Without guidance (scale 1): half the work.
Denoise unguided(const Denoiser& denoiser, Condition condition);

}  // namespace me2::diffusion
