// The decoder's networks at full size, weights by formula: tests/golden/full_size_unclip_unet and full_size_vae (sgm on the CPU).
// The U-Net takes 10 GB in f32 and 5 GB in bf16.
#include <memory>

#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "models/unclip_unet.h"
#include "models/vae.h"
#include "support/golden.h"

namespace me2::models {
namespace {

std::unique_ptr<UnclipUnet> unet(const test::Golden& g, at::ScalarType dtype) {
  nn::Loader loader(weights::StateDict::open(g.dir), dtype);  // goes before the first call, so that packing frees what it packs
  const nn::Scope scope(loader);
  auto net = std::make_unique<UnclipUnet>(scope, UnetConfig::detect(scope, g.config["unet"]));
  loader.finish();
  return net;
}

// Relative to the reference's own spread: bf16 keeps eight bits.
void check_unet(at::ScalarType dtype, double share) {
  for (const auto* name : {"full_size_unclip_unet", "full_size_sdxl_unet"}) {
    if (test::golden_dir(name).empty()) continue;
    const test::Golden g(name);
    const at::NoGradGuard no_grad;
    const auto net = unet(g, dtype);
    const auto tolerance = [&](const std::string& output) { return share > 0 ? share * g.out(output).std().item<double>() : g.config["tolerance"].get<double>(); };
    const at::Tensor y = (*net)(g.in("x"), g.in("timesteps"), g.in("context"), g.in("y"), [&](const std::string& block, const at::Tensor& t) {
      if (const auto output = "dbg." + block; g.io.has("out." + output))
        g.expect(output, t.dim() == 4 ? t.slice(1, 0, c10::nullopt, 16).to(at::kFloat) : t.to(at::kFloat), share > 0 ? 10 * tolerance(output) : 5 * tolerance(output));
    });
    g.expect("sample", y, tolerance("sample"));
  }
}

TEST(FullSizeUnet, EqualsReferenceInF32) { check_unet(at::kFloat, 0); }
TEST(FullSizeUnet, StaysNearTheReferenceInBf16) { check_unet(at::kBFloat16, 0.25); }

TEST(FullSizeVae, EqualsReference) {
  const test::Golden g("full_size_vae");
  const at::NoGradGuard no_grad;
  const auto vae = Vae::open(weights::StateDict::open(g.dir));
  const double tolerance = g.config["tolerance"].get<double>();
  const auto posterior = VaePosterior(vae.moments(g.in("x")));
  g.expect("sample", posterior.sample(g.in("posterior_noise")), tolerance);
  g.expect("kl", posterior.kl().mean(), g.config["tolerance_kl"].get<double>());
  g.expect("decoded", vae.decode(g.in("z")), tolerance);
  g.expect("decode_first_stage", vae.decode_first_stage(g.in("z"), 32), tolerance);
}

}  // namespace
}  // namespace me2::models
