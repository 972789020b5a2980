// What a training's result alone would not show broken: what is drawn when, which trials an epoch has, what the test and the held-out loss measure,
// and the defaults.
#include <map>
#include <set>

#include <ATen/ATen.h>

#include "base/json.h"
#include "support/made_training.h"
#include "train/losses.h"
#include "train/mindeye_step.h"
#include "train/training_data.h"

namespace me2::train {
namespace {

using Training = test::MadeTraining;

// A world of few images for what a training does without learning: the rate is next to nothing, so that a loss changes with what was drawn only.
// Latents of image i are all 1000 i.
struct Still : Training {
  void few(std::int64_t images) {
    for (const char* old : {"few-targets.zarr", "few.zarr"}) std::filesystem::remove_all(at(old));
    auto targets = store::Group::create(at("few-targets.zarr"));
    test::put<std::int32_t>(targets, "stimulus", at::arange(images, at::kInt), {"sample"});
    test::put<float>(targets, "clip_tokens", at::randn({images, 2, 12}, test::made_generator(1)), {"sample", "token", "feature"});
    const at::Tensor level = at::arange(images, at::kFloat).mul(1000).view({-1, 1, 1, 1});
    test::put<float>(targets, "vae_latent", level.expand({images, 4, 8, 8}).contiguous(), {"sample", "channel", "y", "x"});
    auto subject = store::Group::create(at("few.zarr"));
    test::put<float>(subject, "betas", at::randn({images, 6}, test::made_generator(2)), {"trial", "voxel"});
    test::put<std::int32_t>(subject, "stimulus", at::arange(images, at::kInt), {"trial"});
    test::put<std::int16_t>(subject, "session", at::ones({images}, at::kShort), {"trial"});
    test::put<std::int8_t>(subject, "split", at::zeros({images}, at::kChar), {"trial"});
  }
  TrainOptions still(const std::string& model) const {
    auto o = tiny(model, {"few"});
    o.targets.path = at("few-targets.zarr");
    o.epochs = 12;
    o.max_lr = 1e-30;
    o.mixup_pct = 0;
    o.no_clip = true;
    o.dropout = o.lowlevel_dropout = 0;
    return o;
  }
  std::set<double> losses(const TrainOptions& o, std::int64_t batch) const {
    auto c = context();
    c.batch_size = batch;
    Trainer(o, c).run();
    const auto all = loss_column(o.model.path);
    return {all.begin(), all.end()};
  }
};

TEST_F(Still, EveryStepDrawsAnew) {
  few(1);
  auto o = still("prior");
  EXPECT_EQ(losses(o, 1).size(), 12u);  // times and noise
  o = still("dropout");
  o.no_prior = true;
  o.no_lowlevel = false;
  EXPECT_EQ(losses(o, 1).size(), 1u);  // nothing is drawn
  o.dropout = .15;
  o.model.path = at("dropped");
  EXPECT_EQ(losses(o, 1).size(), 12u);
  o.dropout = 0;
  o.lowlevel_dropout = .3;
  o.model.path = at("blurred");
  EXPECT_EQ(losses(o, 1).size(), 12u);
  few(8);
  o = still("mix");
  o.no_prior = true;
  o.no_lowlevel = false;
  o.mixup_pct = 1;
  EXPECT_GT(losses(o, 8).size(), 6u);  // who is mixed with whom, how much, and whether
}

// Of B equal predictions and targets every logit is the same, and BiMixCo's loss is log(B) times the mean weight of a row: a function of what was
// drawn alone, since a row that is its own partner loses weight.
double loss_of_equals(const Mix& mix) {
  const auto rows = mix.perm.size(0);
  double weight = 0;
  for (std::int64_t i = 0; i < rows; ++i) {
    const bool own = mix.perm[i].item<std::int64_t>() == i, selected = mix.select[i].item<bool>();
    weight += !own ? 1 : selected ? 1 - mix.betas[i].item<double>() : 0;
  }
  return std::log(static_cast<double>(rows)) * weight / static_cast<double>(rows);
}

TEST_F(Still, MixcoDrawsAnewInEveryStepAndEpochAsAFunctionOfSeedSubjectAndStep) {
  few(6);
  store::Group::open(at("few.zarr")).array("betas").write(at::ones({6, 6}).const_data_ptr<float>());
  store::Group::open(at("few-targets.zarr")).array("clip_tokens").write(at::ones({6, 2, 12}).const_data_ptr<float>());
  auto o = still("mixed");
  o.no_clip = false;
  o.no_prior = true;
  o.mixup_pct = 1;
  auto c = context();
  c.batch_size = 3;  // two steps an epoch
  for (const auto& [seed, name] : {std::pair{42, "few"}, std::pair{42, "other"}, std::pair{7, "few"}}) {
    c.seed = static_cast<std::uint64_t>(seed);
    o.names = {name};
    o.model.path = at(fmt::format("mixed-{}-{}", seed, name));
    Trainer(o, c).run();
    const auto found = loss_column(o.model.path);
    ASSERT_EQ(found.size(), 12u);
    for (std::int64_t epoch = 0; epoch < 12; ++epoch) {
      const double first = loss_of_equals(draw_mix_at(c.seed, name, 2 * epoch, 3)), second = loss_of_equals(draw_mix_at(c.seed, name, 2 * epoch + 1, 3));
      EXPECT_NEAR(found[static_cast<std::size_t>(epoch)], (first + second) / 2, 1e-4) << name << " " << seed << ", epoch " << epoch;
    }
  }
}

TEST(MixcoDraws, PartnersWeightsAndSelectionAreOthersInEachStepAndTheSameWhenAskedAgain) {
  std::vector<Mix> all;
  for (int step = 0; step < 40; ++step) all.push_back(draw_mix_at(1, "a", step, 24));
  all.push_back(draw_mix_at(2, "a", 0, 24));
  all.push_back(draw_mix_at(1, "b", 0, 24));
  for (std::size_t i = 0; i < all.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) {
      EXPECT_FALSE(all[i].perm.equal(all[j].perm)) << i << " " << j;
      EXPECT_FALSE(all[i].betas.equal(all[j].betas)) << i << " " << j;
      EXPECT_FALSE(all[i].select.equal(all[j].select)) << i << " " << j;
    }
  const Mix again = draw_mix_at(1, "a", 7, 24);
  EXPECT_TRUE(again.perm.equal(all[7].perm) && again.betas.equal(all[7].betas) && again.select.equal(all[7].select));
}

TEST_F(Still, OnePictureIsBehindAllTargetsOfAnAugmentedSample) {
  // One image, its latents 0, those of variants 1 and 2 are 1000 and 2000: the loss says which was drawn, and the ConvNeXt term must go with it.
  for (const char* changed : {"cnx_feature", "cnx_feature_aug"}) {
    few(1);
    auto group = store::Group::open(at("few-targets.zarr"));
    const at::Tensor features = at::randn({3, 4, 16}, test::made_generator(3));
    for (const std::string name : {"cnx_feature", "cnx_feature_aug"}) {
      const at::Tensor of = name == changed ? features : features.narrow(0, 0, 1).expand({3, 4, 16});
      test::put<float>(group, name, of.narrow(0, 0, 1).contiguous(), {"sample", "patch", "feature"});
      test::put<float>(group, name + "_augmented", of.narrow(0, 1, 2).unsqueeze(0).contiguous(), {"sample", "variant", "patch", "feature"});
    }
    test::put<float>(group, "clip_tokens_augmented", at::zeros({1, 2, 2, 12}), {"sample", "variant", "token", "feature"});
    const at::Tensor levels = at::tensor({1000.f, 2000.f}).view({1, 2, 1, 1, 1}).expand({1, 2, 4, 8, 8});
    test::put<float>(group, "vae_latent_augmented", levels.contiguous(), {"sample", "variant", "channel", "y", "x"});
    auto o = still(changed);
    o.no_prior = true;
    o.no_lowlevel = false;
    o.image_aug = true;
    o.epochs = 60;
    losses(o, 1);
    const auto drawn = loss_column(o.model.path, "loss_blurry"), terms = loss_column(o.model.path, "loss_cont");
    std::map<long, std::set<double>> of;
    for (std::size_t i = 0; i < drawn.size(); ++i) of[std::lround(drawn[i] / 1000)].insert(terms[i]);
    ASSERT_EQ(of.size(), 3u);
    std::set<double> all;
    for (const auto& [variant, values] : of) {
      EXPECT_EQ(values.size(), 1u) << changed << " of variant " << variant;
      all.insert(values.begin(), values.end());
    }
    EXPECT_EQ(all.size(), 3u) << changed;
  }
}

TEST_F(Still, EachEpochHasAnOrderAndALossOfItsOwn) {
  few(3);
  auto o = still("m");
  o.no_prior = true;
  o.no_lowlevel = false;
  o.samples_per_epoch = 1;
  o.epochs = 30;
  std::set<long> images;  // of which each epoch saw one: its loss is within a few units of 1000 times its number
  for (const double loss : losses(o, 1)) {
    const double level = loss / .5 / 1000;
    EXPECT_NEAR(level, std::round(level), .02) << loss;
    images.insert(std::lround(level));
  }
  EXPECT_EQ(images.size(), 3u);
}

std::map<std::string, at::Tensor> at_the_start(TrainOptions o) {
  o.model.path += "-start";
  return Trainer(o, Training::context()).weights();
}

TEST_F(Training, AccumulatedBatchesGiveTheGradientOfTheJoinedOne) {
  // Of a loss that is a mean over rows, with nothing drawn. Every training image is shown once, so that both walk the same stream of trials.
  auto whole = tiny("whole"), parts = tiny("parts");
  for (auto* o : {&whole, &parts}) {
    o->no_prior = o->no_clip = true;
    o->no_lowlevel = false;
    o->mixup_pct = o->dropout = o->lowlevel_dropout = o->cont_scale = 0;  // the ConvNeXt term compares the patches of a batch
    o->epochs = 3;
    o->samples_per_epoch = 100;
  }
  auto c = context();
  Trainer one(whole, c);
  one.run();
  c.batch_size = 10;
  parts.accumulate = 2;
  Trainer two(parts, c);
  two.run();
  const auto a = one.weights(), b = two.weights(), start = at_the_start(whole);
  for (const char* name : {"ridge.linears.0.weight", "backbone.blin1.weight", "backbone.bupsampler.conv_out.weight"}) {
    const double moved = (a.at(name) - start.at(name)).abs().mean().item<double>(), apart = (a.at(name) - b.at(name)).abs().mean().item<double>();
    EXPECT_GT(moved, 1e-3) << name;
    EXPECT_LE(apart, .02 * moved) << name;  // rounding, and what AdamW makes of it where a gradient is next to nothing
  }
}

TEST_F(Training, TheTestIsTheReferencesOnTheWeightsThatAreSaved) {
  // Images 0..4: 0 shown once, 1 twice, the others three times; only the first four are asked for. One: a, a, a; two: a, b, a.
  auto group = store::Group::open(at("a.zarr"));
  auto split = group.array("split").read<std::int8_t>();  // trial t < 60 shows image t % 20
  for (int t = 0; t < 60; ++t)
    if (t % 20 >= 5 || (t % 20 == 0 && t > 0) || (t % 20 == 1 && t > 40)) split[static_cast<std::size_t>(t)] = -1;
  group.array("split").write(split.data());
  auto o = tiny("m");
  o.ema = .9;
  o.test_images = 4;
  const Json last = parse_json(Trainer(o, context()).run(), "row");
  nn::Loader loader(weights::StateDict::open(at("m")));
  const models::MindEye model(loader, models::MindEyeConfig::detect(loader));
  const SubjectTrials trials(at("a.zarr"), "", {});
  const Targets images(at("targets.zarr"), false, false);
  std::map<std::int32_t, std::vector<std::int64_t>> shown;
  for (const auto row : trials.test()) shown[trials.stimulus()[static_cast<std::size_t>(row)]].push_back(row);
  ASSERT_EQ(shown.size(), 5u);
  std::vector<at::Tensor> brain;
  for (std::int32_t i = 0; i < 4; ++i) {
    const auto& rows = shown.at(i);
    ASSERT_EQ(rows.size(), i == 0 ? 1u : i == 1 ? 2u : 3u);
    const std::vector<std::int64_t> three{rows[0], rows[1 % rows.size()], rows[2 % rows.size()]};
    brain.push_back((*model.backbone)((*model.ridge)(trials.betas(three), 0).unsqueeze(1)).clip.mean({0}));
  }
  const at::Tensor voxels = normalised_rows(at::stack(brain)), targets = normalised_rows(images.get("clip_tokens", {0, 1, 2, 3}));
  EXPECT_NEAR(last.at("test_loss_clip").get<double>(), soft_clip(voxels, targets, .006).item<double>(), 1e-3);
  const auto found = retrieval(voxels, targets);
  EXPECT_DOUBLE_EQ(last.at("test_image_retrieval").get<double>(), found.forward);
  EXPECT_DOUBLE_EQ(last.at("test_brain_retrieval").get<double>(), found.backward);
}

TEST_F(Training, DefaultsAreTheReferences) {  // hidden 1024, 4 blocks, prior of depth 6; batches of 24, of several subjects 42 (paper)
  auto c = context();
  c.batch_size = 0;
  c.dry_run = true;
  TrainOptions o;
  o.targets.path = at("targets.zarr");
  o.model.path = at("m");
  o.subjects = {{at("a.zarr")}};
  o.no_lowlevel = true;
  const Json one = parse_json(Trainer(o, c).plan(), "plan");
  models::MindEyeConfig config;
  config.voxels = {30};
  config.backbone.hidden = 1024;
  config.backbone.blocks = 4;
  config.backbone.tokens = world.tokens;
  config.backbone.width = world.width;
  config.backbone.lowlevel = false;
  config.match_prior(6, 1, 12);  // heads of up to 52: one of 12
  nn::ShapeLister lister;
  const models::MindEye model(lister, config);
  std::int64_t parameters = 0;
  for (const auto& made : lister.made()) parameters += made.buffer ? 0 : made.tensor.numel();
  EXPECT_EQ(one.at("parameters"), parameters);
  EXPECT_EQ(one.at("batch"), 24);
  EXPECT_EQ(one.at("steps_per_epoch"), 160 / 24);
  EXPECT_EQ(one.at("steps"), 150 * (160 / 24));
  o.subjects.push_back({at("b.zarr")});
  const Json two = parse_json(Trainer(o, c).plan(), "plan");
  EXPECT_EQ(two.at("batch"), 42);
  EXPECT_EQ(two.at("steps_per_epoch"), 160 / 42);  // as many samples as the larger has trials, of both together
}

TEST_F(Training, SessionsChooseTrainingTrialsAndLeaveTheTestWhole) {
  for (const std::int64_t sessions : {0, 1, 2}) {
    const SubjectTrials trials(at("a.zarr"), "", {.sessions = sessions});
    EXPECT_EQ(trials.train().size(), sessions == 1 ? 50u : 100u) << sessions;
    EXPECT_EQ(trials.test().size(), 60u);
  }
  auto group = store::Group::open(at("a.zarr"));  // test trials of a later session are test trials all the same
  auto session = group.array("session").read<std::int16_t>();
  std::fill(session.begin(), session.begin() + 60, std::int16_t{2});
  group.array("session").write(session.data());
  const SubjectTrials trials(at("a.zarr"), "", {.sessions = 1});
  EXPECT_EQ(trials.test().size(), 60u);
  EXPECT_EQ(trials.session_trials(), 50);
}

TEST_F(Training, HeldOutImagesAreAShareAndNoneIsTrainedOn) {
  SubjectTrials trials(at("a.zarr"), "", {});
  const auto held = trials.hold_out(.1, 3);
  EXPECT_EQ(held.size(), 10u);
  EXPECT_EQ(trials.train().size(), 90u);
  for (const auto row : held) EXPECT_EQ(std::count(trials.train().begin(), trials.train().end(), row), 0);
}

TEST_F(Training, TheHeldOutLossIsOfTheSameNoiseInEveryEpoch) {
  auto o = tiny("m");
  o.early_stop = 100;
  o.max_lr = 1e-30;
  const auto held = loss_column((Trainer(o, context()).run(), o.model.path), "holdout_loss");
  ASSERT_EQ(held.size(), 4u);
  for (const double loss : held) EXPECT_NEAR(loss, held[0], 1e-6 * held[0]);
}

TEST_F(Training, DeferredTrialsAreNotLost) {
  // Image 20 is shown 30 times, 70 others once: in batches of 40 its trials have to wait.
  auto group = store::Group::create(at("often.zarr"));
  const at::Tensor stimulus = at::cat({at::full({30}, 20), at::arange(21, 91)}).to(at::kInt);
  test::put<float>(group, "betas", at::randn({100, 5}, test::made_generator(4)), {"trial", "voxel"});
  test::put<std::int32_t>(group, "stimulus", stimulus, {"trial"});
  test::put<std::int16_t>(group, "session", at::ones({100}, at::kShort), {"trial"});
  test::put<std::int8_t>(group, "split", at::zeros({100}, at::kChar), {"trial"});
  const SubjectTrials trials(at("often.zarr"), "", {});
  std::set<std::int64_t> seen;
  int of_twenty = 0;
  for (const auto row : epoch_order(trials, 40, 40, Repeated::defer, 1, 0)) {
    of_twenty += trials.stimulus()[static_cast<std::size_t>(row)] == 20;
    seen.insert(row);
  }
  EXPECT_EQ(of_twenty, 40);        // in every batch, once
  EXPECT_EQ(seen.size(), 100u);    // each trial has had its turn
}

TEST_F(Training, TheScaleOfLowRankUpdatesAndTheAugmentedFeaturesAreUsed) {
  trained(tiny("pre"));
  auto o = tiny("lora");
  o.pretrained = ModelPath{at("pre")};
  o.lora = 2;
  const std::string plain = trained(o);
  o.lora_alpha = 8;
  o.model.path = at("alpha");
  EXPECT_NE(trained(o), plain);
  o = tiny("low");
  o.no_lowlevel = false;
  const std::string before = trained(o);
  auto group = store::Group::open(at("targets.zarr"));
  test::put<float>(group, "cnx_feature_aug", at::randn({world.images, 4, 16}, test::made_generator(6)), {"sample", "patch", "feature"});
  o.model.path = at("aug");
  EXPECT_NE(trained(o), before);
}

}  // namespace
}  // namespace me2::train
