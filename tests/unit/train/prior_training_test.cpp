#include "train/prior_training.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <numeric>
#include <set>
#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/signals.h"
#include "base/temp.h"
#include "nn/device.h"
#include "store/stage.h"
#include "support/golden.h"
#include "support/made_stores.h"
#include "train/one_cycle.h"
#include "train/training_data.h"
#include "weights/state_dict.h"

namespace me2::train {
namespace {

struct PriorTraining : testing::Test {
  TemporaryFolder folder;
  test::MadeWorld world;
  std::string at(const std::string& name) const { return folder.path() + "/" + name; }
  void SetUp() override {
    nn::set_threads(1);
    test::made_targets(at("targets.zarr"), world);
  }
  // A prior of one layer, from these tokens of the first stimuli to the targets; in the place of an earlier call's.
  PriorTrainOptions options(const at::Tensor& tokens, const std::string& model) {
    std::filesystem::remove_all(at("tokens.zarr"));
    std::filesystem::remove_all(at(model));
    auto group = store::Group::create(at("tokens.zarr"));
    test::put<std::int32_t>(group, "stimulus", at::arange(tokens.size(0), at::kInt), {"sample"});
    test::put<float>(group, "tokens", tokens.contiguous(), {"sample", "token", "feature"});
    PriorTrainOptions o;
    o.tokens.path = at("tokens.zarr");
    o.targets.path = at("targets.zarr");
    o.model.path = at(model);
    o.depth = 1;
    return o;
  }
};

TEST_F(PriorTraining, LearnsAloneAndResumesToTheSameBytes) {
  const at::Tensor tokens = Targets(at("targets.zarr"), false, false).get("clip_tokens", [&] {
    std::vector<std::int32_t> all(static_cast<std::size_t>(world.images));
    std::iota(all.begin(), all.end(), 0);
    return all;
  }());
  PriorTrainOptions o = options(tokens + 0.1 * at::randn(tokens.sizes(), test::made_generator(3)), "whole");
  o.epochs = 30;
  o.max_lr = 3e-3;
  TrainContext c;
  const Json last = parse_json(train_prior(o, c), "row");
  EXPECT_LT(last.at("loss_prior").get<double>(), 0.9 * tokens.var().item<double>());  // knowing nothing costs the variance
  o.model.path = at("parts");
  for (int k = 0; k < 2; ++k) {
    request_stop(15);
    EXPECT_THROW(train_prior(o, c), Error);
    clear_stop();
    c.resume = true;
  }
  train_prior(o, c);
  EXPECT_TRUE(read_file(at("parts/model.safetensors")) == read_file(at("whole/model.safetensors")));
  // Weights that are not finite replace no checkpoint, whether a loss tells of them or not.
  for (const int epochs : {2, 30}) {
    o.epochs = epochs;
    o.max_lr = 3e-3;
    o.model.path = at(fmt::format("bad{}", epochs));
    c = {};
    c.batch_size = world.images / 2;
    request_stop(15);
    EXPECT_THROW(train_prior(o, c), Error);
    clear_stop();
    const std::string last = o.model.path + ".partial/last/model.safetensors", good = read_file(last);
    o.max_lr = 1e300;
    c.resume = true;
    EXPECT_THROW(train_prior(o, c), Error);
    EXPECT_TRUE(read_file(last) == good) << epochs;
  }
}

TEST_F(PriorTraining, EveryOptionLeavesItsMarkAndAnAverageIsResumed) {
  const at::Tensor tokens = Targets(at("targets.zarr"), false, false).get("clip_tokens", {0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  PriorTrainOptions plain = options(tokens, "m");
  plain.epochs = 4;
  plain.max_lr = 1e-2;
  int n = 0;
  const auto trained = [&](PriorTrainOptions o, std::uint64_t seed = 42) {
    o.model.path = at(fmt::format("p{}", n++));
    TrainContext c;
    c.seed = seed;
    c.batch_size = 5;
    train_prior(o, c);
    return read_file(o.model.path + "/model.safetensors");
  };
  const std::string want = trained(plain);
  EXPECT_TRUE(trained(plain) == want);
  EXPECT_FALSE(trained(plain, 43) == want);
  const auto differs = [&](const char* what, const std::function<void(PriorTrainOptions&)>& change) {
    auto o = plain;
    change(o);
    EXPECT_FALSE(trained(o) == want) << what;
  };
  differs("condition drop", [](auto& o) { o.condition_drop = 0; });
  differs("average", [](auto& o) { o.ema = .9; });
  differs("clipping", [](auto& o) { o.clip_gradient = 1e-3, o.weight_decay = .01; });
  differs("schedule", [](auto& o) { o.schedule = Schedule::linear; });
  differs("decay", [](auto& o) { o.weight_decay = .5; });
  differs("depth", [](auto& o) { o.depth = 2; });
  plain.ema = .9;
  const std::string averaged = trained(plain);
  plain.ema = .1;
  EXPECT_FALSE(trained(plain) == averaged);  // other averages of the same training
  plain.ema = .9;
  plain.model.path = at("parts");
  TrainContext c;
  c.batch_size = 5;
  for (int k = 0; k < 3; ++k) {
    request_stop(15);
    EXPECT_THROW(train_prior(plain, c), Error);
    clear_stop();
    c.resume = true;
  }
  train_prior(plain, c);
  EXPECT_TRUE(read_file(at("parts/model.safetensors")) == averaged);
}

// Without learning: one sample, whose loss in each epoch is that of other times and noise; three in batches of two, of which each epoch leaves
// out another one: the loss tells whether the third, with tokens a hundred times as large, was there.
TEST_F(PriorTraining, EpochsDrawAnewAndHaveOrdersOfTheirOwn) {
  auto targets = store::Group::open(at("targets.zarr"));
  auto values = targets.array("clip_tokens").read<float>();
  const auto row = static_cast<std::size_t>(world.tokens * world.width);
  for (std::size_t i = 2 * row; i < 3 * row; ++i) values[i] *= 100;
  targets.array("clip_tokens").write(values.data());
  const auto losses = [&](std::int64_t samples, std::int64_t batch) {
    PriorTrainOptions o = options(at::randn({samples, world.tokens, world.width}, test::made_generator(5)), "m");
    o.epochs = 20;
    o.max_lr = 1e-30;
    TrainContext c;
    c.batch_size = batch;
    train_prior(o, c);
    std::istringstream lines(read_file(at("m/curves.csv")));
    std::string line;
    std::vector<double> out;
    for (std::getline(lines, line); std::getline(lines, line);) out.push_back(std::stod(line.substr(line.rfind(',') + 1)));
    return out;
  };
  const auto one = losses(1, 1);
  EXPECT_EQ(std::set<double>(one.begin(), one.end()).size(), 20u);
  const auto three = losses(3, 2);
  const auto large = std::count_if(three.begin(), three.end(), [](double loss) { return loss > 100; });
  EXPECT_GT(large, 5);  // two epochs in three
  EXPECT_LT(large, 20);
}

TEST_F(PriorTraining, HalfPrecisionLeavesOutStepsThatOverflow) {
  auto targets = store::Group::open(at("targets.zarr"));
  auto values = targets.array("clip_tokens").read<float>();
  PriorTrainOptions o = options(at::from_blob(values.data(), {world.images, world.tokens, world.width}), "m");
  for (auto& v : values) v *= 3e4f;  // times the loss scale of 65536: the first gradients do not fit float16
  targets.array("clip_tokens").write(values.data());
  o.epochs = 6;
  TrainContext c;
  c.dtype = at::kHalf;
  const Json last = parse_json(train_prior(o, c), "row");
  EXPECT_GT(last.at("step").get<int>(), 0);
  const auto total = 6 * (world.images / 24);
  EXPECT_LT(last.at("step").get<int>(), total);
  // The schedule waits for the steps that are left out.
  EXPECT_NEAR(last.at("lr").get<double>(), (OneCycle{3e-4, total, OneCycle::official_pct_start(6)}.at(last.at("step").get<int>() - 1).lr), 1e-12);
  const auto model = weights::StateDict::open(at("m"));
  for (const auto& name : model.names()) EXPECT_TRUE(model.get(name).isfinite().all().item<bool>()) << name;
}

}  // namespace
}  // namespace me2::train
