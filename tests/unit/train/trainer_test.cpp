#include "train/trainer.h"

#include <fstream>

#include "base/error.h"
#include "base/file.h"
#include "base/signals.h"
#include "base/temp.h"
#include "nn/device.h"
#include "support/golden.h"
#include "support/made_stores.h"

namespace me2::train {
namespace {

struct Training : testing::Test {
  TemporaryFolder folder;
  test::MadeWorld world;
  void SetUp() override {
    nn::set_threads(1);
    clear_stop();
    test::made_targets(at("targets.zarr"), world, true);
    test::made_subject(at("a.zarr"), world, "a", 30, 1);
    test::made_subject(at("b.zarr"), world, "b", 25, 2);
  }
  std::string at(const std::string& name) const { return folder.path() + "/" + name; }
  TrainOptions tiny(const std::string& model, std::vector<std::string> subjects = {"a"}) const {
    TrainOptions o;
    o.targets.path = at("targets.zarr");
    o.model.path = at(model);
    for (const auto& s : subjects) o.subjects.push_back({at(s + ".zarr")});
    o.hidden = 16;
    o.blocks = 1;
    o.prior_depth = 1;
    o.epochs = 4;
    o.no_lowlevel = true;
    o.max_lr = 3e-3;
    o.evaluate_interval = 0;
    return o;
  }
  static TrainContext context() {
    TrainContext c;
    c.batch_size = 20;
    return c;
  }
  static std::string trained(const TrainOptions& o, const TrainContext& c = context()) {
    Trainer(o, c).run();
    return read_file(o.model.path + "/model.safetensors");
  }
  void expect_error(const TrainOptions& o, const std::string& text, const TrainContext& c = context()) {
    try {
      Trainer(o, c).run();
      FAIL() << "no error";
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(text), std::string::npos) << e.what();
    }
    EXPECT_FALSE(std::filesystem::exists(o.model.path));
  }
};

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
    const Json first_and_last = [&] {
      Trainer(o, c).run();
      return Json();
    }();
    const auto csv = read_file(o.model.path + "/curves.csv");
    EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 13);
    EXPECT_EQ(weights::StateDict::open(o.model.path).dtype("backbone.backbone_linear.weight"), at::kFloat);
  }
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

}  // namespace
}  // namespace me2::train
