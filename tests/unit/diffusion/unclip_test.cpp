#include "diffusion/unclip.h"


#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "support/golden.h"

namespace me2::diffusion {
namespace {

TEST(Unclip, TokensToPictureEqualsTheReference) {  // tests/golden/unclip_end2end: utils.unclip_recon
  const test::Golden g("unclip_end2end");
  const at::NoGradGuard no_grad;
  const auto decoder = UnclipDecoder::open(weights::StateDict::open(g.dir), {});
  const auto n = g.config["num_samples"].get<std::int64_t>();
  g.expect("vector_suffix", decoder.vector(1), 3e-4);
  const at::Tensor tokens = g.in("tokens").expand({n, -1, -1});
  const UnclipDraws draws{g.in("z"), g.in("noise"), g.in("offset"), g.in("uc_crossattn").expand({n, -1, -1})};
  const auto& c = decoder.config();
  const at::Tensor latent = decoder.latent(tokens, draws, SamplerKind::euler, c.steps, c.guidance);
  g.expect("latent", latent, g.config["tolerance_latent"].get<double>());
  const at::Tensor picture = decoder.picture(latent);
  g.expect("samples", picture, g.config["tolerance"].get<double>());
  g.expect("image_u8", to_bytes(picture).permute({0, 2, 3, 1}), g.config["tolerance_u8"].get<double>());
}

TEST(Unclip, SaysWhichModelAFileLooksLike) {
  const test::Golden g("sd_vae");
  try {
    UnclipDecoder::open(weights::StateDict::open(g.dir), {});
    FAIL() << "an autoencoder was accepted as a decoder";
  } catch (const Error& e) {
    EXPECT_EQ(e.exit(), Exit::data);
    EXPECT_NE(std::string(e.what()).find("diffusers"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace me2::diffusion
