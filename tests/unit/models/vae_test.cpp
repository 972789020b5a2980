#include "models/vae.h"

#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "models/vector_suffix.h"
#include "support/golden.h"

namespace me2::models {
namespace {

struct Opened {
  nn::Loader loader;
  Vae vae;
  explicit Opened(const test::Golden& g)
      : loader(weights::StateDict::open(g.dir)), vae(nn::Scope(loader), VaeConfig::detect(nn::Scope(loader), g.config)) {
    loader.finish();
  }
};

// tests/golden/vae*: sgm's AutoencoderKL with these weights (config.json `reference`).
void check_sgm(const std::string& name) {
  const test::Golden g(name);
  const at::NoGradGuard no_grad;
  const Opened o(g);
  const double tolerance = g.config["tolerance"].get<double>();
  EXPECT_FALSE(o.vae.config().diffusers_names);
  const at::Tensor moments = o.vae.moments(g.in("x"));
  g.expect("moments", moments, tolerance);
  const VaePosterior posterior(moments);
  g.expect("mode", posterior.mode(), tolerance);
  g.expect("sample", posterior.sample(g.in("posterior_noise")), tolerance);
  g.expect("kl", posterior.kl().mean(), g.config["tolerance_kl"].get<double>());
  g.expect("encode_first_stage", o.vae.encode_first_stage(g.in("x"), g.in("posterior_noise")), tolerance);
  g.expect("decoded", o.vae.decode(g.in("z")), tolerance);
  g.expect("decode_first_stage", o.vae.decode_first_stage(g.in("z")), tolerance);
  for (const int rows : {3, 8, 17}) g.expect("decoded", o.vae.decode(g.in("z"), rows), tolerance);  // strips change memory, not the picture
}

TEST(Vae, EqualsSgm) { check_sgm("vae"); }
TEST(Vae, EqualsSgmWithFourLevels) { check_sgm("vae_formula"); }

TEST(Vae, EqualsDiffusersUnderItsNames) {  // tests/golden/sd_vae: diffusers 0.23 AutoencoderKL
  const test::Golden g("sd_vae");
  const at::NoGradGuard no_grad;
  const Opened o(g);
  const double tolerance = g.config["tolerance"].get<double>(), scale = o.vae.config().scale_factor;
  EXPECT_TRUE(o.vae.config().diffusers_names);
  EXPECT_EQ(scale, g.config["scaling_factor"].get<double>());
  const at::Tensor moments = o.vae.moments(2 * g.in("image") - 1);
  g.expect("moments", moments, tolerance);
  g.expect("image_enc", VaePosterior(moments).mode() * scale, tolerance);
  const at::Tensor decoded = o.vae.decode_first_stage(g.in("z_scaled"));
  g.expect("decoded", decoded, tolerance);
  g.expect("blurry_image", (decoded / 2 + 0.5).clamp(0, 1), tolerance);
}

TEST(Vae, GradientsReachEveryParameter) {
  const VaeConfig config = VaeConfig::parse(Json{{"ddconfig", {{"ch", 16}, {"ch_mult", {1, 2}}, {"num_res_blocks", 1}, {"norm_groups", 8}}}});
  nn::Initialiser init(1);
  const Vae vae(nn::Scope(init), config);
  const auto posterior = vae.encode(at::rand({2, 3, 16, 16}) * 2 - 1);
  vae.decode(posterior.sample(at::randn_like(posterior.mean))).square().mean().backward();
  for (const auto& named : init.made()) {
    ASSERT_TRUE(named.tensor.grad().defined()) << named.name;
    EXPECT_TRUE(at::isfinite(named.tensor.grad()).all().item<bool>()) << named.name;
  }
}

TEST(VectorSuffix, EqualsReference) {  // tests/golden/vector_suffix: sgm ConcatTimestepEmbedderND(256)
  const test::Golden g("vector_suffix");
  const double tolerance = g.config["tolerance"].get<double>();
  g.expect("embedding", embed_numbers(g.in("sizes"), g.config["outdim"].get<std::int64_t>()), tolerance);
  g.expect("unclip_vector_suffix", unclip_vector_suffix(), tolerance);
  g.expect("sdxl_vector_suffix", sdxl_vector_suffix(), tolerance);
}

}  // namespace
}  // namespace me2::models
