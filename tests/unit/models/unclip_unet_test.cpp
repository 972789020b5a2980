#include "models/unclip_unet.h"

#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "support/golden.h"

namespace me2::models {
namespace {

// tests/golden/unclip_unet*: sgm's own UNetModel with these weights (config.json `reference`).
void check(const std::string& name) {
  const test::Golden g(name);
  const at::NoGradGuard no_grad;
  nn::Loader loader(weights::StateDict::open(g.dir));
  const nn::Scope scope(loader);
  const UnclipUnet net(scope, UnetConfig::detect(scope, g.config["unet"]));
  loader.finish();
  const double tolerance = g.config["tolerance"].get<double>();
  for (int pass = 0; pass < 2; ++pass) {  // the second runs on packed weights throughout
    const at::Tensor y = net(g.in("x"), g.in("timesteps"), g.in("context"), g.in("y"), [&](const std::string& block, const at::Tensor& t) {
      if (g.io.has("out.dbg." + block)) g.expect("dbg." + block, t, 5 * tolerance);  // inner values are larger than the output's
    });
    g.expect("sample", y, tolerance);
  }
}

TEST(UnclipUnet, EqualsReferenceInsideAndOut) {
  ME2_NEEDS_GOLDEN("unclip_unet");  // six megabytes that the two below and the decoders' cases make up for
  check("unclip_unet");
}
TEST(UnclipUnet, EqualsReferenceOnTheFullPatternOfLevels) { check("unclip_unet_formula"); }

TEST(UnclipUnet, DetectsItsSizesFromShapesAlone) {
  const test::Golden g("unclip_unet_formula");
  nn::Loader loader(weights::StateDict::open(g.dir));
  const auto found = UnetConfig::detect(nn::Scope(loader), Json());
  const auto given = UnetConfig::parse(g.config["unet"]);
  EXPECT_EQ(found.channel_mult, given.channel_mult);
  EXPECT_EQ(found.num_res_blocks, given.num_res_blocks);
  EXPECT_EQ(found.model_channels, given.model_channels);
  EXPECT_EQ(found.context_dim, given.context_dim);
  EXPECT_EQ(found.adm_in_channels, given.adm_in_channels);
  for (std::size_t level = 0; level < found.channel_mult.size(); ++level) {
    EXPECT_EQ(found.attends(level), given.attends(level)) << level;
    if (found.attends(level)) {
      EXPECT_EQ(found.transformer_depth[level], given.transformer_depth[level]) << level;
    }
  }
}

TEST(UnclipUnet, ContextProjectedOnceServesEveryCall) {
  const test::Golden g("unclip_unet_formula");
  const at::NoGradGuard no_grad;
  nn::Loader loader(weights::StateDict::open(g.dir));
  const nn::Scope scope(loader);
  const UnclipUnet net(scope, UnetConfig::detect(scope, g.config["unet"]));
  const auto context = net.project(g.in("context"));
  g.expect("sample", net(g.in("x"), g.in("timesteps"), context, g.in("y")), g.config["tolerance"].get<double>());
}

}  // namespace
}  // namespace me2::models
