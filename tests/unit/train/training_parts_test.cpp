// The parts of a training that its results alone would not show broken: loss scale, averages, clipping, low-rank updates, column slabs.
#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include "base/error.h"
#include "nn/scope.h"
#include "train/adamw.h"
#include "train/autocast.h"
#include "train/column_slabs.h"
#include "train/mindeye_step.h"
#include "train/parameters.h"

namespace me2::train {
namespace {

TEST(LossScale, HalvesOnOverflowAndDoublesAfterTwoThousandGoodSteps) {  // PyTorch's GradScaler: init 65536, factors 2 and .5, interval 2000
  LossScale scale;
  EXPECT_EQ(scale.scale, 65536);
  scale.update(false);
  EXPECT_EQ(scale.scale, 32768);
  for (int i = 0; i < 1999; ++i) scale.update(true);
  EXPECT_EQ(scale.scale, 32768);
  scale.update(true);
  EXPECT_EQ(scale.scale, 65536);
  for (int i = 0; i < 1999; ++i) scale.update(true);
  scale.update(false);  // the count starts again
  for (int i = 0; i < 1999; ++i) scale.update(true);
  EXPECT_EQ(scale.scale, 32768);
}

TEST(Contrast, IsMixedForAThirdOfTheEpochsAndThenAnnealed) {  // goldens/brain.md: int(.33 * 150) = 49 epochs, then cosine_anneal(.004, .0075, 101)
  for (int epoch = 0; epoch < 150; ++epoch) EXPECT_EQ(contrast_of(epoch, 150, .33).mixing, epoch < 49) << epoch;
  EXPECT_DOUBLE_EQ(contrast_of(49, 150, .33).temperature, .004);
  EXPECT_DOUBLE_EQ(contrast_of(99, 150, .33).temperature, (.004 + .0075) / 2);  // half of the way
  EXPECT_DOUBLE_EQ(contrast_of(149, 150, .33).temperature, .0075);
  EXPECT_FALSE(contrast_of(0, 3, .3).mixing);
  EXPECT_TRUE(contrast_of(2, 3, 1).mixing);
}

TEST(Autocast, CastsMatrixProductsWithinItsScopeOnly) {
  const at::Tensor a = at::ones({2, 2});
  {
    const Autocast mixed(at::kCPU, at::kBFloat16);
    EXPECT_EQ(a.mm(a).scalar_type(), at::kBFloat16);
  }
  EXPECT_EQ(a.mm(a).scalar_type(), at::kFloat);
  const Autocast plain(at::kCPU, at::kFloat);
  EXPECT_EQ(a.mm(a).scalar_type(), at::kFloat);
}

TEST(Average, FollowsTheFormulaWithItsDecayWarmedUp) {
  at::Tensor weight = at::full({2}, 1.0f);
  Average average({{"w", weight, 0}}, .9);
  weight.fill_(3);
  average.update({{"w", weight, 0}}, 0);  // decay (1 + 0) / (10 + 0): .1 * 1 + .9 * 3
  EXPECT_NEAR(average.tensors().at("w")[1].item<float>(), 2.8, 1e-6);
  average.update({{"w", weight, 0}}, 10);  // 11 / 20: .55 * 2.8 + .45 * 3
  EXPECT_NEAR(average.tensors().at("w")[1].item<float>(), 2.89, 1e-6);
  average.update({{"w", weight, 0}}, 1000);  // .9 from here on
  EXPECT_NEAR(average.tensors().at("w")[1].item<float>(), 2.901, 1e-6);
  EXPECT_FALSE(Average({{"w", weight, 0}}, 0).on());
}

TEST(AdamW, TheGradientsNormIsOverAllParametersAndScalesWithThem) {
  at::Tensor a = at::zeros({2}).set_requires_grad(true), b = at::zeros({1, 2}).set_requires_grad(true), none = at::zeros({3}).set_requires_grad(true);
  AdamW adamw({{"a", a, 0}, {"b", b, 0}, {"none", none, 0}});
  EXPECT_EQ(adamw.gradient_norm(), 0);
  (a * at::tensor({1.f, 2.f})).sum().backward();
  (b * at::tensor({2.f, 4.f})).sum().backward();
  EXPECT_NEAR(adamw.gradient_norm(), 5, 1e-6);  // sqrt(1 + 4 + 4 + 16)
  adamw.scale_gradients(.1);
  EXPECT_NEAR(adamw.gradient_norm(), .5, 1e-6);
  adamw.clip_gradients(.5, .75);
  adamw.clip_gradients(.5, 0);
  EXPECT_NEAR(adamw.gradient_norm(), .5, 1e-6);
  adamw.clip_gradients(.5, .2);
  EXPECT_NEAR(adamw.gradient_norm(), .2, 1e-5);
  EXPECT_TRUE(adamw.gradients_finite());
  a.mutable_grad().fill_(std::numeric_limits<float>::infinity());
  EXPECT_FALSE(adamw.gradients_finite());
  adamw.zero_grad();
  EXPECT_EQ(adamw.gradient_norm(), 0);
}

TEST(LowRank, AddsAlphaOverRankTimesBA) {
  const at::Tensor frozen = at::rand({5, 4}), table = at::rand({5, 4}), narrow = at::rand({2, 9}), ridge = at::rand({5, 4});
  const std::vector<nn::Named> made{{"backbone.x.weight", frozen, false}, {"diffusion_prior.net.rel_pos_bias.relative_attention_bias.weight", table, false},
                                    {"backbone.narrow.weight", narrow, false}, {"ridge.linears.0.weight", ridge, false}, {"backbone.x.bias", at::rand({5}), false}};
  const LowRank updates(made, 2, 6, 1);
  for (std::size_t i = 1; i < made.size(); ++i) EXPECT_FALSE(updates.adapts(made[i].name)) << made[i].name;
  ASSERT_TRUE(updates.adapts("backbone.x.weight"));
  EXPECT_TRUE(updates.merged("backbone.x.weight", frozen).equal(frozen));  // B starts at zero
  const auto parameters = updates.parameters(.25);
  ASSERT_EQ(parameters.size(), 2u);
  EXPECT_EQ(parameters[0].name, "backbone.x.weight.lora_a");
  EXPECT_EQ(parameters[0].tensor.sizes(), (std::vector<std::int64_t>{2, 4}));
  EXPECT_EQ(parameters[1].weight_decay, .25);
  const at::NoGradGuard no_grad;
  at::Tensor(parameters[1].tensor).fill_(.5);
  const at::Tensor want = frozen + 3 * at::full({5, 2}, .5).mm(parameters[0].tensor);
  EXPECT_TRUE(at::allclose(updates.merged("backbone.x.weight", frozen), want));
  EXPECT_TRUE(at::allclose(LowRank(made, 2, 0, 1).merged("backbone.x.weight", frozen), frozen));  // alpha 0: the rank
}

TEST(ColumnSlabs, GivesTheMatrixsColumnsFromFewWideReads) {
  const at::Tensor all = at::arange(30).view({3, 10});
  std::vector<std::pair<std::int64_t, std::int64_t>> reads;
  const auto load = [&](std::int64_t first, std::int64_t count) {
    reads.emplace_back(first, count);
    return all.narrow(1, first, count).clone();
  };
  ColumnSlabs slabs(3, 10, 8, 3 * 8 * 5, load);  // room for five columns
  const at::Tensor kept = slabs(0, 2);
  for (std::int64_t first = 0; first < 10; first += 2) EXPECT_TRUE(slabs(first, 2).equal(all.narrow(1, first, 2))) << first;
  EXPECT_EQ(reads, (std::vector<std::pair<std::int64_t, std::int64_t>>{{0, 4}, {4, 4}, {8, 2}}));  // whole blocks of two
  EXPECT_TRUE(kept.equal(all.narrow(1, 0, 2)));
  EXPECT_TRUE(slabs(0, 7).equal(all.narrow(1, 0, 7)));  // wider than a slab, and back at the start
  EXPECT_TRUE(slabs(1, 3).equal(all.narrow(1, 1, 3)));  // within the last one
  EXPECT_EQ(reads.size(), 4u);
}

}  // namespace
}  // namespace me2::train
