#include "train/one_cycle.h"

#include <ATen/ATen.h>

#include "support/golden.h"
#include "train/adamw.h"

namespace me2::train {
namespace {

TEST(OneCycle, EqualsPyTorch) {  // torch 2.11 OneCycleLR(max_lr 3e-4, total_steps 30, pct_start .2, final_div_factor 1000), AdamW
  const OneCycle cycle{3e-4, 30, 0.2};
  const std::pair<int, Rate> expected[] = {{0, {1.2e-05, 0.95}},
                                           {2, {0.00011150155281000758, 0.9154508497187474}},
                                           {5, {3e-4, 0.85}},
                                           {6, {0.0002987167805369033, 0.8504277569313095}},
                                           {29, {1.2e-08, 0.95}}};
  for (const auto& [step, rate] : expected) {
    EXPECT_NEAR(cycle.at(step).lr, rate.lr, 1e-15) << step;
    EXPECT_NEAR(cycle.at(step).beta1, rate.beta1, 1e-12) << step;
  }
}

TEST(OneCycle, TheWayUpTakesTwoEpochsOfThoseThereAre) {  // the reference: pct_start = 2/num_epochs
  EXPECT_DOUBLE_EQ(OneCycle::official_pct_start(150), 2. / 150);
  EXPECT_DOUBLE_EQ(OneCycle::official_pct_start(3), 2. / 3);
}

TEST(OneCycle, IsFiniteForEveryLength) {
  for (int total = 1; total < 12; ++total)
    for (const double start : {0.1, 0.3, 0.5, 1.0})
      for (int step = 0; step < total; ++step) {
        const Rate rate = OneCycle{1, total, start}.at(step);
        EXPECT_TRUE(rate.lr > 0 && rate.lr <= 1 && rate.beta1 >= 0.85 && rate.beta1 <= 0.95) << total << " " << start << " " << step;
      }
}

TEST(LinearRamp, GoesFromAThirdToTheWhole) {
  EXPECT_DOUBLE_EQ((LinearRamp{3e-4, 10}.at(0).lr), 1e-4);
  EXPECT_DOUBLE_EQ((LinearRamp{3e-4, 10}.at(10).lr), 3e-4);
}

TEST(AdamW, DecayFollowsTheOfficialNames) {  // the reference's optimizer groups, goldens/brain.md "Training step"
  EXPECT_EQ(official_decay("ridge.linears.0.bias"), 1e-2);
  EXPECT_EQ(official_decay("backbone.blin1.bias"), 0);
  EXPECT_EQ(official_decay("backbone.bnorm.weight"), 1e-2);
  EXPECT_EQ(official_decay("diffusion_prior.net.learned_query"), 1e-2);
  EXPECT_EQ(official_decay("diffusion_prior.net.causal_transformer.rel_pos_bias.relative_attention_bias.weight"), 0);
}

TEST(AdamW, StepsAsTheFormulaInFloat64) {  // written out: decay, moments, bias correction with the current beta1^step
  at::Tensor p = at::tensor({0.5, -2.0, 3.0}, at::kDouble).set_requires_grad(true);
  AdamW optimizer({{"p", p, 0.1}});
  double x[3] = {0.5, -2.0, 3.0}, m[3] = {}, v[3] = {};
  const double beta1[] = {0.95, 0.9, 0.87};
  for (int t = 1; t <= 3; ++t) {
    p.mutable_grad() = at::tensor({0.1 * t, -1.0, 0.0}, at::kDouble);
    optimizer.step(1e-2, beta1[t - 1]);
    const double g[3] = {0.1 * t, -1.0, 0.0};
    for (int i = 0; i < 3; ++i) {
      x[i] *= 1 - 1e-2 * 0.1;
      m[i] = beta1[t - 1] * m[i] + (1 - beta1[t - 1]) * g[i];
      v[i] = 0.999 * v[i] + 0.001 * g[i] * g[i];
      x[i] -= 1e-2 / (1 - std::pow(beta1[t - 1], t)) * m[i] / (std::sqrt(v[i]) / std::sqrt(1 - std::pow(0.999, t)) + 1e-8);
    }
  }
  for (int i = 0; i < 3; ++i) EXPECT_NEAR(p[i].item<double>(), x[i], 1e-9);
}

TEST(AdamW, ResumesFromItsState) {
  const auto grad = [](int t) { return at::full({4}, 0.3 * t, at::kFloat); };
  at::Tensor a = at::ones({4}).set_requires_grad(true), b = at::ones({4}).set_requires_grad(true);
  AdamW whole({{"w", a, 0.01}}), first({{"w", b, 0.01}});
  for (int t = 1; t <= 4; ++t) {
    a.mutable_grad() = grad(t);
    whole.step(1e-3, 0.9);
    b.mutable_grad() = grad(t);
    if (t <= 2) first.step(1e-3, 0.9);
    if (t == 2) {
      auto state = first.state();
      for (auto& [name, tensor] : state) tensor = tensor.clone();
      AdamW second({{"w", b, 0.01}});
      second.load_state(weights::StateDict::from_tensors(state));
      first = second;
    }
    if (t > 2) first.step(1e-3, 0.9);
  }
  EXPECT_TRUE(a.equal(b));
}

}  // namespace
}  // namespace me2::train
