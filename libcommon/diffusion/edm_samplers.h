// From noise to latent, down a schedule of sigmas. All samplers share one interface; the published decoder uses Euler.
// Ref: Karras et al. 2022, algorithm 1 without churn (Euler, Heun); sgm sampling.py EulerAncestralSampler; Lu et al. 2022,
// DPM-Solver++(2M), as k-diffusion's sample_dpmpp_2m.
#pragma once
#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "base/describe.h"
#include "diffusion/denoiser.h"

namespace me2::diffusion {

enum class SamplerKind { euler, euler_ancestral, dpmpp_2m, heun };

struct SamplerHooks {
  std::function<at::Tensor(std::int64_t step)> noise;                       // euler_ancestral: standard normal, shaped like x
  std::function<void(std::int64_t step, const at::Tensor& x)> entering;     // before each step: progress, tests
};

// x: a latent already at the first sigma. sigmas: descending, ends with 0. -> the latent at 0.
at::Tensor sample(SamplerKind kind, const Denoise& denoise, at::Tensor x, const std::vector<float>& sigmas, const SamplerHooks& hooks = {});

// sgm's samplers take x scaled to unit variance; this is their first action.
at::Tensor scale_to_first_sigma(const at::Tensor& x, const std::vector<float>& sigmas);

}  // namespace me2::diffusion

namespace me2 {
template <>
inline const EnumNames<diffusion::SamplerKind>& enum_names() {
  using diffusion::SamplerKind;
  static const EnumNames<SamplerKind> names{{SamplerKind::euler, "euler"},
                                            {SamplerKind::euler_ancestral, "euler_ancestral"},
                                            {SamplerKind::dpmpp_2m, "dpmpp_2m"},
                                            {SamplerKind::heun, "heun"}};
  return names;
}
}  // namespace me2
