#include "diffusion/sdxl_refine.h"

#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "support/golden.h"

namespace me2::diffusion {
namespace {

TEST(SdxlRefine, PictureAndPromptToPictureEqualTheReference) {  // tests/golden/sdxl_img2img: the enhanced reconstruction's flow
  const test::Golden g("sdxl_img2img");
  const at::NoGradGuard no_grad;
  const auto refiner = SdxlRefiner::open(weights::StateDict::open(g.dir), {});
  const auto prompt = refiner.prompt({g.in("prompt_ids_clip_l"), g.in("prompt_ids_bigg")});
  const auto negative = refiner.negative({g.in("negative_ids_clip_l"), g.in("negative_ids_bigg")});
  g.expect("c_crossattn", prompt.crossattn, 1e-4);
  g.expect("uc_crossattn", negative.crossattn, 1e-4);
  g.expect("c_vector", refiner.vector(prompt), 3e-4);
  g.expect("uc_vector", refiner.vector(negative), 3e-4);
  SdxlRefiner::Settings settings;
  settings.steps = g.config["num_steps"].get<std::int64_t>();
  settings.timepoint = g.config["img2img_timepoint"].get<std::int64_t>();
  settings.guidance = g.config["guider_scale"].get<double>();
  EXPECT_EQ(g.config["negative_prompt"].get<std::string>(), kNegativePrompt);
  const at::Tensor latent = refiner.latent(g.in("image"), prompt, negative, g.in("posterior_noise"), g.in("noise"), settings);
  g.expect("latent", latent, g.config["tolerance_latent"].get<double>());
  g.expect("samples", refiner.picture(latent), g.config["tolerance"].get<double>());
}

}  // namespace
}  // namespace me2::diffusion
