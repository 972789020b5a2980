// Noise schedule and training objective against golden prior_sample.
#include "models/diffusion_prior.h"

#include <ATen/CPUGeneratorImpl.h>

#include "support/golden.h"

namespace me2::models {
namespace {

struct Case {
  test::Golden golden{"prior_sample"};
  nn::Loader loader{weights::StateDict::open(golden.model())};
  DiffusionPrior prior{nn::Scope(loader), DiffusionPriorConfig::detect(nn::Scope(loader))};
  double tolerance(const std::string& name) const { return golden.config["tolerances"][name]; }
};

TEST(NoiseScheduler, AFreshCosineScheduleEqualsTheCheckpointsBuffers) {
  ME2_NEEDS_GOLDEN("prior_sample");
  Case c;
  c.loader.finish();
  nn::Initialiser fresh(1);
  const NoiseScheduler made(nn::Scope(fresh).sub("noise_scheduler"), c.prior.noise_scheduler.timesteps());
  for (const auto& buffer : fresh.made()) {
    const at::Tensor want = c.loader.dict().get(buffer.name);
    EXPECT_TRUE(at::allclose(buffer.tensor, want, 1e-6, 1e-9)) << buffer.name;  // both rounded from double once
  }
}

TEST(DiffusionPrior, GoldenLossesWithAndWithoutDroppedConditions) {
  ME2_NEEDS_GOLDEN("prior_sample");
  Case c;
  const at::Tensor target = c.golden.in("loss_image_embed"), brain = c.golden.in("loss_text_embed");
  PriorDraws draws{c.golden.in("loss_times"), c.golden.in("loss_noise"), c.golden.in("loss_brain_uniform"), c.golden.in("loss_image_uniform")};
  const double drop = c.golden.config["cond_drop_prob"];
  const auto dropped = c.prior.loss(target, brain, draws, drop, drop);
  c.golden.expect("loss_drop", dropped.loss, c.tolerance("loss_drop"));
  c.golden.expect("pred_drop", dropped.prediction, c.tolerance("pred_drop"));
  c.golden.expect("noisy", dropped.noisy, c.tolerance("noisy"));
  const auto kept = c.prior.loss(target, brain, draws, 0, 0);
  c.golden.expect("loss_no_drop", kept.loss, c.tolerance("loss_no_drop"));
  c.golden.expect("pred_no_drop", kept.prediction, c.tolerance("pred_no_drop"));
}

TEST(DiffusionPrior, DrawsComeInTheReferencesOrder) {  // PyTorch: randint, randn, rand, rand from one generator
  ME2_NEEDS_GOLDEN("prior_sample");
  Case c;
  const at::Tensor target = c.golden.in("loss_image_embed");
  auto a = at::detail::createCPUGenerator(5), b = at::detail::createCPUGenerator(5);
  const auto draws = c.prior.draw(target, .2, .2, a);
  const std::int64_t batch = target.size(0);
  EXPECT_TRUE(at::equal(draws.times, at::randint(0, 100, {batch}, b, at::kLong)));
  EXPECT_TRUE(at::equal(draws.noise, at::randn(target.sizes(), b, at::kFloat)));
  EXPECT_TRUE(at::equal(draws.brain_uniform, at::rand({batch}, b, at::kFloat)));
  EXPECT_TRUE(at::equal(draws.image_uniform, at::rand({batch}, b, at::kFloat)));
  EXPECT_FALSE(c.prior.draw(target, 0, 1, a).image_uniform.defined());
}

}  // namespace
}  // namespace me2::models
