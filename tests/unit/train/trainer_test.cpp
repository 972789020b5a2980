#include "train/trainer.h"

#include <fstream>

#include "models/align_stage.h"
#include "support/golden.h"
#include "support/made_training.h"

namespace me2::train {
namespace {

using Training = test::MadeTraining;

TEST_F(Training, FindsTheImagesFarAboveChance) {  // chance is 1 of 20
  auto o = tiny("m");
  o.epochs = 40;
  o.prior_scale = 1;
  const Json last = parse_json(Trainer(o, context()).run(), "row");
  EXPECT_GT(last.at("test_image_retrieval").get<double>(), 0.5);
  EXPECT_GT(last.at("test_brain_retrieval").get<double>(), 0.5);
  const auto csv = read_file(at("m/curves.csv"));
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 41);
  EXPECT_TRUE(std::filesystem::exists(at("m/curves.svg")));
  const Json config = read_json_file(at("m/config.json"));
  EXPECT_EQ(config.at("subjects"), Json::array({"a"}));
  EXPECT_EQ(config.at("hidden_dim"), 16);
}

TEST_F(Training, StoppedAndResumedGivesTheSameBytes) {
  for (const bool extras : {false, true}) {
    auto whole = tiny("whole" + std::to_string(extras), {"a", "b"}), parts = tiny("parts" + std::to_string(extras), {"a", "b"});
    for (auto* o : {&whole, &parts}) {
      o->no_lowlevel = !extras;
      if (extras) o->ema = .9, o->accumulate = 2, o->clip_gradient = 1, o->early_stop = 3;
    }
    const std::string want = trained(whole);
    auto c = context();
    int stops = 0;
    for (bool done = false; !done; c.resume = true) {
      clear_stop();
      if (stops < 3) request_stop(15);  // after one step each time, also in the middle of an epoch
      try {
        Trainer(parts, c).run();
        done = true;
      } catch (const Error& e) {
        ASSERT_EQ(e.exit(), Exit::temp_fail) << e.what();
        EXPECT_TRUE(std::filesystem::exists(parts.model.path + ".partial/last/model.safetensors"));
        ++stops;
      }
    }
    clear_stop();
    EXPECT_EQ(stops, 3);
    EXPECT_TRUE(read_file(parts.model.path + "/model.safetensors") == want);
    EXPECT_EQ(read_file(parts.model.path + "/curves.csv"), read_file(whole.model.path + "/curves.csv"));
    EXPECT_FALSE(std::filesystem::exists(parts.model.path + ".partial"));
  }
}

TEST_F(Training, ResumeRefusesOtherOptions) {
  auto o = tiny("m");
  request_stop(15);
  EXPECT_THROW(Trainer(o, context()).run(), Error);
  clear_stop();
  auto c = context();
  c.resume = true;
  c.config_digest = "another";
  expect_error(o, "other options", c);
}

TEST_F(Training, TheFolderIsHeldByOneProcessAndNotTakenOverUnasked) {
  auto o = tiny("m");
  {
    const Trainer first(o, context());
    auto c = context();
    c.resume = true;
    expect_error(o, "another process is training", c);
  }
  expect_error(o, "--resume goes on, --overwrite starts again");
  auto c = context();
  c.overwrite = true;
  trained(o, c);
}

TEST_F(Training, FineTuningTakesTheBackboneAndTheFirstSubjectsBias) {
  trained(tiny("pre", {"a", "b"}));
  const auto pre = weights::StateDict::open(at("pre"));
  auto o = tiny("fine", {"b"});
  o.hidden.reset();
  o.blocks.reset();
  o.prior_depth.reset();
  o.pretrained = ModelPath{at("pre")};
  const auto start = Trainer(o, context()).weights();
  EXPECT_TRUE(start.at("backbone.backbone_linear.weight").equal(pre.get("backbone.backbone_linear.weight")));
  EXPECT_TRUE(start.at("ridge.linears.0.bias").equal(pre.get("ridge.linears.0.bias")));  // the reference's quirk
  EXPECT_EQ(start.at("ridge.linears.0.weight").size(1), 25);
  o.ridge = RidgeStart::keep;
  auto again = context();
  again.overwrite = true;
  EXPECT_TRUE(Trainer(o, again).weights().at("ridge.linears.0.weight").equal(pre.get("ridge.linears.1.weight")));
  o.hidden = 32;
  expect_error(o, "--hidden 32: the pretrained model");
}

TEST_F(Training, RidgeOnlyFreezeAndLoRAChangeOnlyWhatTheyMay) {
  trained(tiny("pre"));
  const auto pre = weights::StateDict::open(at("pre"));
  auto o = tiny("ridge");
  o.pretrained = ModelPath{at("pre")};
  o.ridge = RidgeStart::keep;
  o.ridge_only = true;
  const auto changed = [&](const std::string& model) {
    std::set<std::string> out;
    const auto now = weights::StateDict::open(at(model));
    EXPECT_EQ(now.names(), pre.names());
    for (const auto& name : pre.names())
      if (!now.get(name).equal(pre.get(name))) out.insert(name);
    return out;
  };
  trained(o);
  EXPECT_EQ(changed("ridge"), (std::set<std::string>{"ridge.linears.0.bias", "ridge.linears.0.weight"}));
  auto lora = tiny("lora");
  lora.pretrained = o.pretrained;
  lora.ridge = RidgeStart::keep;
  lora.lora = 2;
  trained(lora);
  const auto by_lora = changed("lora");
  EXPECT_TRUE(by_lora.contains("backbone.backbone_linear.weight"));
  EXPECT_FALSE(by_lora.contains("backbone.backbone_linear.bias"));
  const at::Tensor update = weights::StateDict::open(at("lora")).get("backbone.backbone_linear.weight") - pre.get("backbone.backbone_linear.weight");
  EXPECT_LE(at::linalg_matrix_rank(update.to(at::kDouble), 1e-4).item<std::int64_t>(), 2);
  auto frozen = tiny("frozen");
  frozen.pretrained = o.pretrained;
  frozen.ridge = RidgeStart::keep;
  frozen.freeze = {"backbone.", "diffusion_prior."};
  trained(frozen);
  EXPECT_EQ(changed("frozen"), changed("ridge"));
}

TEST_F(Training, MixedPrecisionLearnsToo) {
  for (const auto dtype : {at::kBFloat16, at::kHalf}) {
    auto o = tiny(fmt::format("m{}", static_cast<int>(dtype)));
    o.epochs = 12;
    auto c = context();
    c.dtype = dtype;
    const Json last = parse_json(Trainer(o, c).run(), "row");
    const auto rows = loss_column(o.model.path);
    ASSERT_EQ(rows.size(), 12u);
    EXPECT_LT(rows[11], 0.8 * rows[3]) << dtype;  // epochs 3 and 11 are both SoftCLIP: the same function but for its temperature
    EXPECT_GT(last.at("test_image_retrieval").get<double>(), 0.25) << dtype;  // chance is 0.05
    EXPECT_EQ(weights::StateDict::open(o.model.path).dtype("backbone.backbone_linear.weight"), at::kFloat);
  }
}

TEST_F(Training, AnMlpMapIsTrainedSavedRecognisedAndApplied) {
  auto o = tiny("mlp", {"a", "b"});
  o.mlp = true;
  o.epochs = 40;
  o.prior_scale = 1;
  const Json last = parse_json(Trainer(o, context()).run(), "row");
  EXPECT_GT(last.at("test_image_retrieval").get<double>(), 0.25);  // chance is 0.05
  const auto model = weights::StateDict::open(at("mlp"));
  EXPECT_FALSE(model.has_prefix("ridge.linears."));
  EXPECT_EQ(model.shape("ridge.mlps.1.0.weight"), (std::vector<std::int64_t>{16, 25}));
  EXPECT_FALSE(model.has_prefix("ridge.mlps.1.4."));
  const models::AlignStage stage(at("b.zarr"), model, {});  // finds b by config.json's subjects, the map by its names
  EXPECT_EQ(stage.spec().arrays[0].row_shape, (store::Shape{16}));
  nn::Loader loader(model);
  const auto config = models::MindEyeConfig::detect(loader);
  EXPECT_TRUE(config.mlp_map);
  EXPECT_EQ(config.voxels, (std::vector<std::int64_t>{30, 25}));
  const models::MindEye loaded(loader, config);
  loader.finish();
  // By hand, from the definition: linear, layer norm, GELU; no dropout at inference, half of the hidden numbers dropped in training.
  const at::Tensor x = at::randn({3, 25}, test::made_generator(9));
  const auto w = [&](const char* name) { return model.get(std::string("ridge.mlps.1.") + name); };
  const at::Tensor inner = x.mm(w("0.weight").t()) + w("0.bias");
  const at::Tensor normed = (inner - inner.mean(1, true)) / (inner.var(1, false, true) + 1e-5).sqrt() * w("1.weight") + w("1.bias");
  const at::Tensor want = 0.5 * normed * (1 + (normed / std::sqrt(2.0)).erf());
  EXPECT_TRUE(at::allclose((*loaded.ridge)(x, 1), want, 1e-4, 1e-5));
  EXPECT_TRUE(at::allclose(loaded.ridge->mlps[1].rows(x), want, 1e-4, 1e-5));
  const nn::Training training{test::made_generator(1)};
  EXPECT_FALSE(at::allclose((*loaded.ridge)(x, 1, &training), want, 1e-2, 1e-2));

  auto fine = tiny("fine", {"b"});
  fine.pretrained = ModelPath{at("mlp")};
  fine.ridge = RidgeStart::keep;
  expect_error(fine, "train with --mlp-map");
  fine.mlp = true;
  EXPECT_TRUE(Trainer(fine, context()).weights().at("ridge.mlps.0.0.weight").equal(w("0.weight")));
  fine.model.path = at("other");
  fine.export_official = OutputPath{at("last.pth")};
  expect_error(fine, "--export-official");
}

TEST_F(Training, AFreshLinearRidgeStartsFromAnMlpModelAndTheOtherWayRound) {
  auto pre = tiny("pre");
  pre.mlp = true;
  trained(pre);
  auto o = tiny("linear");
  o.pretrained = ModelPath{at("pre")};
  const auto start = Trainer(o, context()).weights();
  EXPECT_TRUE(start.contains("ridge.linears.0.weight"));
  EXPECT_FALSE(start.contains("ridge.mlps.0.0.weight"));
}

TEST_F(Training, TheLinearScheduleRisesFromAThirdToTheLargestRateAndLearns) {
  auto o = tiny("linear");
  o.schedule = Schedule::linear;
  o.epochs = 12;
  trained(o);
  const auto rates = loss_column(o.model.path, "lr"), losses = loss_column(o.model.path);
  for (std::size_t i = 0; i < rates.size(); ++i)  // of the next step: PyTorch's LinearLR with its defaults, as the reference calls it
    EXPECT_NEAR(rates[i], 3e-3 * (1. / 3 + 2. / 3 * static_cast<double>(i + 1) / 12), 1e-9) << i;
  EXPECT_LT(losses[11], 0.8 * losses[3]);  // both SoftCLIP
}

TEST_F(Training, AccumulatedBatchesEqualNothingElse) {  // two half batches: other contrastive negatives, the same number of steps
  auto o = tiny("m");
  o.accumulate = 2;
  auto c = context();
  c.batch_size = 10;
  Trainer trainer(o, c);
  trainer.run();
  EXPECT_EQ(trainer.steps_done(), 4 * ((160 / 10) / 2));
}

TEST_F(Training, EarlyStoppingKeepsTheBestAndStops) {
  auto o = tiny("m");
  o.epochs = 200;
  o.max_lr = 0.05;  // overfits within a few epochs
  o.early_stop = 3;
  Trainer trainer(o, context());
  trainer.run();
  const auto csv = read_file(at("m/curves.csv"));
  EXPECT_LT(std::count(csv.begin(), csv.end(), '\n'), 200);
}

TEST_F(Training, WhatEarlyStoppingSavesIsTheBestEpochsModel) {
  // A longer patience sees the same epochs and a few more. Where these bring nothing better, the same weights must be saved.
  std::vector<std::string> weights;
  std::vector<std::size_t> best;
  for (const int patience : {2, 3, 4, 5, 6}) {
    auto o = tiny(fmt::format("m{}", patience));
    o.epochs = 200;
    o.max_lr = 0.05;
    o.early_stop = patience;
    weights.push_back(trained(o));
    const auto held = loss_column(o.model.path, "holdout_loss");
    best.push_back(static_cast<std::size_t>(std::min_element(held.begin(), held.end()) - held.begin()));
    EXPECT_EQ(held.size(), best.back() + static_cast<std::size_t>(patience) + 1);
  }
  int same = 0;
  for (std::size_t i = 1; i < best.size(); ++i) {
    same += best[i] == best[i - 1];
    EXPECT_EQ(weights[i] == weights[i - 1], best[i] == best[i - 1]) << i;
  }
  EXPECT_GT(same, 0);
}

TEST_F(Training, AnOverflowInHalfPrecisionSkipsTheStepAndTheScheduleWaits) {
  auto o = tiny("m");
  o.prior_scale = 1e5;  // times 65536: the first gradients do not fit float16
  auto c = context();
  c.dtype = at::kHalf;
  Trainer trainer(o, c);
  trainer.run();
  const auto total = 4 * (160 / 20);
  EXPECT_GT(trainer.steps_done(), 0);
  EXPECT_LT(trainer.steps_done(), total);
  const OneCycle schedule{3e-3, total, OneCycle::official_pct_start(4)};
  EXPECT_NEAR(loss_column(at("m"), "lr").back(), schedule.at(trainer.steps_done()).lr, 1e-9);
  for (const auto& [name, tensor] : trainer.weights()) EXPECT_TRUE(tensor.isfinite().all().item<bool>()) << name;
}

TEST_F(Training, AveragedWeightsAreSavedAndOnlyTheyDiffer) {
  auto plain = tiny("plain"), averaged = tiny("averaged"), clipped = tiny("clipped"), wide = tiny("wide");
  averaged.ema = .9;
  clipped.clip_gradient = .01;
  wide.clip_gradient = 1e9;
  const std::string want = trained(plain);
  EXPECT_NE(trained(averaged), want);
  EXPECT_EQ(loss_column(at("averaged")), loss_column(at("plain")));  // the training itself is the same
  EXPECT_NE(trained(clipped), want);
  EXPECT_EQ(trained(wide), want);
  averaged.lora = 2;
  averaged.model.path = at("both");
  expect_error(averaged, "--ema and --lora cannot be combined");
}

TEST_F(Training, ACheckpointToStartFromMustBeWhole) {
  trained(tiny("pre"));
  const auto pre = weights::StateDict::open(at("pre"));
  const auto start = [&](const std::string& name, const std::map<std::string, at::Tensor>& tensors) {
    weights::save_model_dir(at(name), pre.config(), tensors);
    auto o = tiny(name + "-fine");
    o.pretrained = ModelPath{at(name)};
    return o;
  };
  std::map<std::string, at::Tensor> all;
  for (const auto& name : pre.names()) all[name] = pre.get(name);
  auto less = all;
  less.erase("backbone.mixer_blocks1.0.1.0.bias");
  expect_error(start("less", less), "tensor backbone.mixer_blocks1.0.1.0.bias is missing");
  less = all;
  less.erase("diffusion_prior.net.null_brain_embeds");
  expect_error(start("prior", less), "tensor diffusion_prior.net.null_brain_embeds is missing");
  auto without = start("unused", less);
  without.no_prior = true;  // then the prior's tensors are not looked at
  trained(without);
  for (auto it = less.begin(); it != less.end();) it = it->first.starts_with("diffusion_prior.") ? less.erase(it) : std::next(it);
  trained(start("fresh", less));  // no prior at all: it starts from the seed
  auto more = all;
  more["backbone.mixer_blocks1.7.0.weight"] = at::ones({3});
  expect_error(start("more", more), "tensor backbone.mixer_blocks1.7.0.weight (shape [3]) is not part of this network");
}

TEST_F(Training, BadInputIsNamedBeforeAnyWork) {
  auto o = tiny("m");
  o.sessions = 9;
  expect_error(o, "--sessions 9: the store has 2 sessions");
  o = tiny("m");
  o.no_lowlevel = false;
  o.targets.path = test::made_targets(at("plain.zarr"), world);
  expect_error(o, "array vae_latent is missing");
  o = tiny("m");
  o.subjects = {{at("targets.zarr")}};
  expect_error(o, "a subject store expected");
  o = tiny("m");
  o.targets.path = at("a.zarr");
  expect_error(o, "a target store expected");
  o = tiny("m");
  auto small = world;
  small.images = 60;
  o.targets.path = test::made_targets(at("few.zarr"), small);
  expect_error(o, "no row for stimulus 60 and 59 others");
  o = tiny("m");
  auto c = context();
  c.batch_size = 300;
  expect_error(o, "cannot fill a batch of 300", c);
  o = tiny("m");
  o.freeze = {"nothing."};
  expect_error(o, "--freeze nothing.");
  o = tiny("m");
  o.no_prior = o.no_clip = true;
  expect_error(o, "nothing to train");
  o = tiny("m");
  o.split = SplitChoice::test;
  expect_error(o, "split_test");
  auto none = world;
  none.test = none.images;
  o = tiny("m", {"empty"});
  test::made_subject(at("empty.zarr"), none, "empty", 5, 3);
  expect_error(o, "no training trial");
}

TEST_F(Training, ANaNLossStopsAndKeepsTheModelBefore) {
  auto o = tiny("m");
  auto targets = store::Group::open(at("targets.zarr"));
  auto values = targets.array("clip_tokens").read<float>();
  values[static_cast<std::size_t>(100 * world.tokens * world.width)] = std::numeric_limits<float>::quiet_NaN();
  targets.array("clip_tokens").write(values.data());
  expect_error(o, "the loss is nan at step");
  EXPECT_TRUE(std::filesystem::exists(at("m.partial/last/model.safetensors")));
}

TEST_F(Training, ANaNLossOnTheHeldOutImagesStopsToo) {
  auto o = tiny("m");
  o.early_stop = 3;
  SubjectTrials trials(at("a.zarr"), "", {});
  const auto held = trials.hold_out(o.holdout, context().seed);  // the images that the training holds out
  auto targets = store::Group::open(at("targets.zarr"));
  auto values = targets.array("clip_tokens").read<float>();
  values[static_cast<std::size_t>(trials.stimulus()[static_cast<std::size_t>(held[0])] * world.tokens * world.width)] = std::numeric_limits<float>::quiet_NaN();
  targets.array("clip_tokens").write(values.data());
  expect_error(o, "the loss on the 10 held-out trials is nan after epoch 0; no checkpoint had been made before");
}

TEST_F(Training, WeightsThatAreNotFiniteAreNeitherPublishedNorKept) {
  auto o = tiny("m");
  o.epochs = 1;
  o.samples_per_epoch = 20;  // one step, and no loss after it to tell
  o.max_lr = 1e300;
  expect_error(o, "the weights are not finite after step 1 of 1: the training has diverged; no checkpoint had been made before");
  o = tiny("n");
  request_stop(15);
  EXPECT_THROW(Trainer(o, context()).run(), Error);
  clear_stop();
  const std::string good = read_file(at("n.partial/last/model.safetensors"));
  o.max_lr = 1e300;
  o.checkpoint_steps = 1;
  auto c = context();
  c.resume = true;
  expect_error(o, "the last checkpoint is in", c);
  EXPECT_TRUE(read_file(at("n.partial/last/model.safetensors")) == good);
}

TEST_F(Training, OrderNeverRepeatsAnImageInABatch) {
  const SubjectTrials trials(at("a.zarr"), "", {});
  const auto order = epoch_order(trials, 12, 40, Repeated::defer, 1, 0);
  for (std::size_t b = 0; b < 12; ++b) {
    std::set<std::int32_t> images;
    for (std::size_t i = 0; i < 40; ++i) EXPECT_TRUE(images.insert(trials.stimulus()[order[b * 40 + i]]).second);
  }
  EXPECT_EQ(order, epoch_order(trials, 12, 40, Repeated::defer, 1, 0));
  EXPECT_NE(order, epoch_order(trials, 12, 40, Repeated::defer, 1, 1));
  EXPECT_NE(order, epoch_order(trials, 12, 40, Repeated::defer, 2, 0));
}

TEST_F(Training, SkippedBatchesAreThoseThatHoldAnImageTwice) {
  // 100 training images, the first 30 of them shown twice: few batches of 12 hold no pair by chance.
  auto group = store::Group::create(at("twice.zarr"));
  const at::Tensor stimulus = at::cat({at::arange(20, 120), at::arange(20, 50)}).to(at::kInt);
  const auto n = stimulus.size(0);
  test::put<float>(group, "betas", at::randn({n, 5}, test::made_generator(4)), {"trial", "voxel"});
  test::put<std::int32_t>(group, "stimulus", stimulus, {"trial"});
  test::put<std::int16_t>(group, "session", at::ones({n}, at::kShort), {"trial"});
  test::put<std::int8_t>(group, "split", at::zeros({n}, at::kChar), {"trial"});
  const SubjectTrials trials(at("twice.zarr"), "", {});
  const auto repeats = [&](const std::vector<std::int64_t>& order) {
    int found = 0;
    for (std::size_t b = 0; b < order.size() / 12; ++b) {
      std::set<std::int32_t> images;
      for (std::size_t i = 0; i < 12; ++i) images.insert(trials.stimulus()[order[b * 12 + i]]);
      found += images.size() < 12;
    }
    return found;
  };
  const auto skip = epoch_order(trials, 30, 12, Repeated::skip, 1, 0), allow = epoch_order(trials, 30, 12, Repeated::allow, 1, 0);
  EXPECT_EQ(skip.size(), 360u);
  EXPECT_EQ(repeats(skip), 0);
  EXPECT_GT(repeats(allow), 0);
  // Both walk the same stream of trials, so what skip kept are just the batches of allow without a pair, in their order.
  std::size_t next = 0;
  for (std::size_t b = 0; b < allow.size() / 12; ++b) {
    const std::vector<std::int64_t> batch(allow.begin() + static_cast<std::ptrdiff_t>(12 * b), allow.begin() + static_cast<std::ptrdiff_t>(12 * b + 12));
    if (repeats(batch)) continue;
    EXPECT_TRUE(std::equal(batch.begin(), batch.end(), skip.begin() + static_cast<std::ptrdiff_t>(12 * next))) << b;
    ++next;
  }
  EXPECT_GT(next, 0u);
  auto o = tiny("skip", {"twice"});
  o.repeated = Repeated::skip;
  o.epochs = 2;
  auto c = context();
  c.batch_size = 12;
  Trainer trainer(o, c);
  trainer.run();
  EXPECT_EQ(trainer.steps_done(), 2 * (130 / 12));
}

TEST_F(Training, AugmentedTargetsAreDrawnPerSampleAndChangeTheTraining) {
  auto o = tiny("plain");
  const std::string plain = trained(o);
  o.model.path = at("missing");
  o.image_aug = true;
  expect_error(o, "clip_tokens_augmented [sample, variant, ...] is missing (me2-embed images --augmented");
  auto group = store::Group::open(at("targets.zarr"));
  const at::Tensor clean = Targets(at("targets.zarr"), false, false).get("clip_tokens", {0, 1, 2});
  // Variant k of an image is a constant, 100 (k + 1) + its stimulus: what was drawn can be read off.
  at::Tensor variants = at::empty({world.images, 2, world.tokens, world.width});
  for (std::int64_t i = 0; i < world.images; ++i)
    for (std::int64_t k = 0; k < 2; ++k) variants[i][k].fill_(static_cast<double>(1000 * (k + 1) + i));
  test::put<float>(group, "clip_tokens_augmented", variants, {"sample", "variant", "token", "feature"});
  const Targets targets(at("targets.zarr"), false, true);
  Random random(1, "test");
  int drawn[3] = {0, 0, 0};
  for (int round = 0; round < 100; ++round) {
    const at::Tensor got = targets.variants("clip_tokens", {0, 1, 2}, targets.draw_variants("clip_tokens", 3, .7, random));
    for (std::int64_t i = 0; i < 3; ++i) {
      const double value = got[i][0][0].item<double>();
      const int variant = got[i].equal(clean[i]) ? 0 : static_cast<int>(value - static_cast<double>(i)) / 1000;
      if (variant > 0) { EXPECT_TRUE(got[i].eq(static_cast<double>(1000 * variant + i)).all().item<bool>()); }
      ++drawn[variant];
    }
  }
  EXPECT_NEAR(drawn[0], 210, 40);  // of 300 draws .7; standard deviation 8
  for (const int n : {drawn[1], drawn[2]}) EXPECT_NEAR(n, 45, 31);  // .15 each; 6
  o.model.path = at("augmented");
  EXPECT_NE(trained(o), plain);
  // With the low-level head, whose targets are of the same picture.
  o.no_lowlevel = false;
  o.model.path = at("blurry");
  expect_error(o, "vae_latent_augmented [sample, variant, ...] is missing");
  const at::Tensor latents = at::zeros({world.images, 2, 4, 8, 8});
  test::put<float>(group, "vae_latent_augmented", latents, {"sample", "variant", "channel", "y", "x"});
  expect_error(o, "cnx_feature_augmented [sample, variant, ...] is missing");
  o.cont_scale = 0;  // then the term is not there
  o.model.path = at("no-term");
  trained(o);
  o.cont_scale = .1;
  o.model.path = at("blurry");
  test::put<float>(group, "cnx_feature_augmented", at::zeros({world.images, 2, 4, 16}), {"sample", "variant", "patch", "feature"});
  const std::string zeros = trained(o);
  auto values = group.array("vae_latent_augmented");
  values.write(at::ones_like(latents).const_data_ptr<float>());
  o.model.path = at("other");
  EXPECT_NE(trained(o), zeros);
}

TEST_F(Training, AugmentedTargetsOfAnotherShapeAreRefused) {
  auto o = tiny("m");
  o.image_aug = true;
  auto group = store::Group::open(at("targets.zarr"));
  test::put<float>(group, "clip_tokens_augmented", at::zeros({world.images, 2, world.width, world.tokens}), {"sample", "variant", "feature", "token"});
  expect_error(o, "array clip_tokens_augmented has rows [2, 12, 4], variants of [4, 12] expected");
}

}  // namespace
}  // namespace me2::train
