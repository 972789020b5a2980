// Every option of `me2-embed train` reaches what it is for. (Options whose effect a training's result shows are in trainer_test.cpp.)
#include <ATen/ATen.h>

#include "support/made_training.h"
#include "train/mindeye_step.h"
#include "train/one_cycle.h"

namespace me2::train {
namespace {

using Training = test::MadeTraining;

std::map<std::string, at::Tensor> weights_of(TrainOptions o, bool trained) {
  o.model.path += trained ? "" : "-start";
  Trainer trainer(o, Training::context());
  if (trained) trainer.run();
  return trainer.weights();
}

TEST_F(Training, TheLossIsTheSumOfItsPartsWithTheWeightsAskedFor) {
  auto usual = tiny("usual");  // 30, 1, .5 and .1: the reference's
  usual.no_lowlevel = false;
  auto other = usual;
  other.model.path = at("other");
  other.prior_scale = 3, other.clip_scale = .25, other.blur_scale = 8, other.cont_scale = 2;
  auto few = usual;
  few.model.path = at("few");
  few.clip_scale = 0;  // not computed at all
  for (const auto& [o, prior, clip, blur, cont] : {std::tuple{usual, 30., 1., .5, .1}, std::tuple{other, 3., .25, 8., 2.}, std::tuple{few, 30., 0., .5, .1}}) {
    trained(o);
    const auto of = [&, &path = o.model.path](const char* column) { return loss_column(path, column); };
    const auto loss = of("loss"), p = of("loss_prior"), c = clip > 0 ? of("loss_clip") : p, b = of("loss_blurry"), k = of("loss_cont");
    ASSERT_EQ(loss.size(), 4u);
    for (std::size_t i = 0; i < loss.size(); ++i)
      EXPECT_NEAR(loss[i], prior * p[i] + clip * c[i] + blur * (b[i] + cont * k[i]), 1e-5 * loss[i]) << o.model.path << ", epoch " << i;
  }
}

TEST_F(Training, TheConditionIsDroppedAsOftenAsAskedAndWeightsDecayAsMuch) {
  auto o = tiny("kept");
  o.no_clip = true;  // the brain then learns through the prior alone
  o.condition_drop = 0;
  o.weight_decay = 0;
  const auto start = weights_of(o, false), kept = weights_of(o, true);
  const char* null = "diffusion_prior.net.null_brain_embeds";
  const char* ridge = "ridge.linears.0.weight";
  EXPECT_TRUE(kept.at(null).equal(start.at(null)));  // never in the place of a brain
  EXPECT_FALSE(kept.at(ridge).equal(start.at(ridge)));
  o.condition_drop = 1;
  o.model.path = at("dropped");
  const auto dropped = weights_of(o, true);
  EXPECT_FALSE(dropped.at(null).equal(start.at(null)));
  EXPECT_TRUE(dropped.at(ridge).equal(start.at(ridge)));  // no brain is ever seen
  o.condition_drop = .2;
  o.model.path = at("some");
  const auto some = weights_of(o, true);
  for (const char* name : {null, ridge}) EXPECT_FALSE(some.at(name).equal(start.at(name))) << name;
  // A weight whose gradient is zero shrinks by 1 - rate * decay in each step.
  o.condition_drop = 1;
  o.weight_decay = 2;
  o.model.path = at("decayed");
  double factor = 1;
  const std::int64_t steps = 4 * (160 / 20);
  const OneCycle schedule{o.max_lr, steps, OneCycle::official_pct_start(o.epochs)};
  for (std::int64_t i = 0; i < steps; ++i) factor *= 1 - schedule.at(i).lr * 2;
  EXPECT_LT(factor, .95);
  EXPECT_TRUE(at::allclose(weights_of(o, true).at(ridge), start.at(ridge) * factor, 1e-4, 1e-7));
}

TEST_F(Training, HeadsOfThePriorAreAsManyAndAsWideAsAsked) {
  auto o = tiny("m");
  o.prior_heads = 5;
  o.prior_dim_head = 6;
  o.prior_depth = 2;
  const auto w = weights_of(o, false);
  EXPECT_EQ(w.at("diffusion_prior.net.causal_transformer.layers.1.0.to_q.weight").sizes().vec(), (std::vector<std::int64_t>{30, world.width}));
  EXPECT_EQ(w.at("diffusion_prior.net.causal_transformer.layers.1.0.null_kv").sizes().vec(), (std::vector<std::int64_t>{2, 6}));
  EXPECT_FALSE(w.contains("diffusion_prior.net.causal_transformer.layers.2.0.null_kv"));
}

TEST_F(Training, HalfBetasAreTheBetasRoundedToHalfPrecision) {
  std::filesystem::copy(at("a.zarr"), at("rounded.zarr"), std::filesystem::copy_options::recursive);
  auto array = store::Group::open(at("rounded.zarr")).array("betas");
  auto betas = array.read<float>();
  const at::Tensor rounded = at::from_blob(betas.data(), {static_cast<std::int64_t>(betas.size())}).to(at::kHalf).to(at::kFloat);
  array.write(rounded.const_data_ptr<float>());
  auto plain = tiny("plain"), half = tiny("half"), from = tiny("from", {"rounded"});
  from.names = {"a"};
  half.half_betas = true;
  const std::string want = trained(from);
  EXPECT_TRUE(trained(half) == want);
  EXPECT_FALSE(trained(plain) == want);
}

TEST_F(Training, CorrectedMixcoLosesNoWeight) {
  // Of equal betas and equal targets every logit is the same: the loss is log(batch) times the mean weight of a row, which is 1.
  auto subject = store::Group::open(at("a.zarr")), targets = store::Group::open(at("targets.zarr"));
  const auto ones = [](const store::Array& array) { return at::ones({array.size()}); };
  auto betas = subject.array("betas"), tokens = targets.array("clip_tokens");
  betas.write(ones(betas).const_data_ptr<float>());
  tokens.write(ones(tokens).const_data_ptr<float>());
  auto o = tiny("corrected");
  o.no_prior = true;
  o.mixup_pct = 1;
  o.dropout = 0;
  o.max_lr = 1e-30;
  auto reference = o;
  reference.model.path = at("reference");
  o.corrected_mixco = true;
  auto c = context();
  c.batch_size = 3;
  trained(o, c), trained(reference, c);
  for (const double loss : loss_column(o.model.path)) EXPECT_NEAR(loss, std::log(3.), 1e-4);
  for (const double loss : loss_column(reference.model.path)) EXPECT_LT(loss, std::log(3.) - .05);  // a third of all rows is its own partner, half of these lose all
}

}  // namespace
}  // namespace me2::train
