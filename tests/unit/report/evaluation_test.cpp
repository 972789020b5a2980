// score_images on pictures of our own and an AlexNet of a few channels; what each score is worth is tested in tests/unit/metrics.
#include "report/evaluation.h"

#include <ATen/ATen.h>

#include <cmath>

#include <gtest/gtest.h>

#include "base/error.h"
#include "metrics/pixels.h"
#include "report/baselines.h"
#include "support/temp_dir.h"
#include "weights/formula.h"
#include "weights/state_dict.h"

namespace me2::report {
namespace {

at::Tensor noise(std::int64_t n, std::int64_t side, double phase) {
  return (at::sin(at::arange(n * 3 * side * side, at::kDouble) * 12.9898 + phase) * 43758.5453).frac().abs().to(at::kFloat).view({n, 3, side, side});
}

struct Counted {  // pictures that count how often they are read
  at::Tensor images;
  std::shared_ptr<std::int64_t> reads = std::make_shared<std::int64_t>(0);
  ImageSet set(const std::string& name, std::vector<std::string> keys = {}) const {
    if (keys.empty())
      for (std::int64_t i = 0; i < images.size(0); ++i) keys.push_back(std::to_string(i));
    return ImageSet::made(name, fmt::format("{}x{}", images.size(2), images.size(3)), keys, [x = images, reads = reads](const std::vector<std::int64_t>& rows) {
      *reads += static_cast<std::int64_t>(rows.size());
      return x.index_select(0, at::tensor(rows, at::kLong));
    });
  }
};

std::string small_alexnet(const test::TempDir& dir) {
  std::map<std::string, at::Tensor> tensors;
  const std::vector<std::pair<std::string, std::vector<std::int64_t>>> layers{{"features.0", {8, 3, 11, 11}}, {"features.3", {6, 8, 5, 5}}, {"features.6", {6, 6, 3, 3}},
                                                                              {"features.8", {6, 6, 3, 3}}, {"features.10", {6, 6, 3, 3}}};
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto& [name, shape] = layers[i];
    tensors[name + ".weight"] = weights::formula_tensor(name + ".weight", 2 * i + 1, shape) * 2;
    tensors[name + ".bias"] = weights::formula_tensor(name + ".bias", 2 * i, {shape[0]});
  }
  weights::save_safetensors(dir / "alexnet.safetensors", tensors);
  return dir / "alexnet.safetensors";
}

ScoreOptions quick(std::vector<std::string> metrics) {
  ScoreOptions o;
  o.metrics = std::move(metrics), o.resamples = 200;
  return o;
}

TEST(ScoreImages, IdentificationComesWithEveryPoolAndItsControls) {
  const test::TempDir dir;
  const Counted truth{noise(60, 16, 0)}, recon{noise(60, 16, 0) * .9 + noise(60, 16, 1) * .1};
  auto o = quick({"alexnet2", "alexnet5"});
  o.nets.alexnet = small_alexnet(dir);
  o.splits["far"] = {"3", "5", "8", "13"};
  const auto got = score_images(recon.set("recon"), truth.set("truth"), nullptr, o);
  const auto* s = got.find("alexnet2");
  ASSERT_TRUE(s);
  EXPECT_GT(s->value, .95);  // nearly the images themselves
  for (const char* key : {"way_10", "way_50", "way_full_pool", "rank_percentile", "top_1", "top_5", "top_10", "baseline_shuffled", "mean_pairwise_correlation", "mean_pairwise_correlation_truth"})
    EXPECT_TRUE(s->details.contains(key)) << key;
  EXPECT_DOUBLE_EQ(s->details.at("rank_percentile"), s->value);
  EXPECT_DOUBLE_EQ(s->details.at("way_full_pool"), s->details.at("top_1"));  // chosen among all = best of all
  EXPECT_GE(s->value, s->details.at("way_10"));
  EXPECT_GE(s->details.at("way_10"), s->details.at("way_50"));
  EXPECT_GE(s->details.at("way_50"), s->details.at("way_full_pool"));
  EXPECT_NEAR(s->details.at("baseline_shuffled"), .5, .2);
  EXPECT_EQ(s->details.at("pool"), 60);
  const auto& far = got.splits.at("far").at(0);
  EXPECT_EQ(far.n, 4);
  EXPECT_EQ(far.details.at("pool"), 4);  // a split's pool is its own
  EXPECT_FALSE(far.details.contains("way_10"));
  EXPECT_EQ(*truth.reads, 60);  // both layers from one pass
}

TEST(ScoreImages, TrueImagesAreEmbeddedOnceForAllBaselinesAndSubjects) {
  const test::TempDir dir;
  const Counted truth{noise(6, 16, 0)}, recon{noise(6, 16, 1)}, other{noise(6, 16, 2)}, fewer{noise(3, 16, 3)};
  auto o = quick({"alexnet2", "alexnet5"});
  o.nets.alexnet = small_alexnet(dir);
  auto plain = score_images(recon.set("recon"), truth.set("truth"), nullptr, o);
  add_baseline(plain, "other", other.set("other"), truth.set("truth"), o);
  EXPECT_EQ(*truth.reads, 12);  // without a place to keep them
  o.truth_features = std::make_shared<KeptFeatures>();
  *truth.reads = 0;
  auto kept = score_images(recon.set("recon"), truth.set("truth"), nullptr, o);
  add_baseline(kept, "other", other.set("other"), truth.set("truth"), o);
  EXPECT_EQ(*truth.reads, 6);
  for (std::size_t k = 0; k < 2; ++k) {
    EXPECT_NEAR(kept.scores[k].value, plain.scores[k].value, 1e-12);
    EXPECT_NEAR(kept.baselines["other"][k].value, plain.baselines["other"][k].value, 1e-12);
  }
  o.allow_missing = true;  // another subject saw three of them, in another order
  const auto some = score_images(fewer.set("fewer", {"4", "0", "2"}), truth.set("truth"), nullptr, o);
  EXPECT_EQ(*truth.reads, 6);
  EXPECT_EQ(*fewer.reads, 3);
  auto alone = o;
  alone.truth_features = nullptr;
  const auto want = score_images(fewer.set("fewer", {"4", "0", "2"}), truth.set("truth"), nullptr, alone);
  EXPECT_EQ(some.ids, want.ids);
  EXPECT_NEAR(some.scores[0].value, want.scores[0].value, 1e-12);
  *truth.reads = 0;
  score_images(recon.set("recon"), truth.set("another"), nullptr, o);  // other pictures under the same names are not the same
  EXPECT_EQ(*truth.reads, 6);
}

TEST(ScoreImages, APictureThatSeveralRowsShowIsEmbeddedOnce) {
  const test::TempDir dir;
  const Counted truth{noise(6, 16, 0)}, recon{noise(6, 16, 1)}, low{noise(6, 16, 2)}, train{noise(2, 16, 3)};
  auto o = quick({"alexnet2", "effnet", "alexnet5"});  // effnet: not given, and not run
  o.nets.alexnet = small_alexnet(dir);
  o.truth_features = std::make_shared<KeptFeatures>(), o.recon_features = std::make_shared<KeptFeatures>();
  const auto made = recon.set("recon"), seen = truth.set("truth"), below = low.set("low");
  auto scores = score_images(made, seen, &below, o);
  EXPECT_EQ(*recon.reads, 6);
  const Reconstructions scored{made, seen, &below, o.blend, o.antialias, scores.ids};

  // The mean and the nearest pictures, as sets that say what their rows show, and the same pictures as sets that do not.
  const auto mean = mean_picture(scored);
  const std::vector<std::int64_t> nearest{1, 0, 1, 1, 0, 1};
  auto same = std::make_shared<std::int64_t>(0);
  const auto shown = [&](const std::string& name, const ImageSet& of, const std::vector<std::int64_t>& which, std::vector<std::string> pictures) {
    return ImageSet::made(name, "16x16", scores.ids, [of, which, same](const std::vector<std::int64_t>& rows) {
      std::vector<std::int64_t> at;
      for (const auto row : rows) at.push_back(which[row]);
      *same += static_cast<std::int64_t>(rows.size());
      return of.read(at);
    }, std::move(pictures));
  };
  *recon.reads = 0;
  add_baseline(scores, "mean", shown("mean", mean, {0, 0, 0, 0, 0, 0}, mean.pictures()), seen, o);
  EXPECT_EQ(*same, 1);
  add_baseline(scores, "nearest", shown("nearest", train.set("train"), nearest, {"1", "0", "1", "1", "0", "1"}), seen, o);
  EXPECT_EQ(*same, 3);
  add_baseline(scores, "other", other_pictures(scored, 7), seen, o);
  EXPECT_EQ(*recon.reads, 0);  // embedded as reconstructions already
  EXPECT_EQ(*truth.reads, 6);
  auto plain = scores;
  auto alone = o;
  alone.truth_features = alone.recon_features = nullptr;
  add_baseline(plain, "mean", shown("mean", mean, {0, 0, 0, 0, 0, 0}, {}), seen, alone);
  add_baseline(plain, "nearest", shown("nearest", train.set("train"), nearest, {}), seen, alone);
  EXPECT_EQ(*same, 3 + 6 + 6);
  add_baseline(plain, "other", other_pictures(scored, 7), seen, alone);
  EXPECT_EQ(*recon.reads, 6);
  for (const char* name : {"mean", "nearest", "other"}) {
    ASSERT_EQ(scores.baselines[name].size(), 2);
    for (std::size_t k = 0; k < 2; ++k) {
      EXPECT_NEAR(scores.baselines[name][k].value, plain.baselines[name][k].value, 1e-12) << name;
      EXPECT_NEAR(scores.baselines[name][k].details.at("mean_pairwise_correlation"), plain.baselines[name][k].details.at("mean_pairwise_correlation"), 1e-9) << name;
    }
  }
  EXPECT_NEAR(scores.baselines["mean"][0].details.at("mean_pairwise_correlation"), 1, 1e-9);
}

TEST(ScoreImages, TheLowLevelImageIsAQuarterOfWhatIsScored) {  // constant images of .2 and .6, blended: .75 x .2 + .25 x .6 = .3; so with noise on top
  const at::Tensor pattern = noise(2, 32, 4) * .1;
  const Counted high{pattern + .2}, low{pattern + .6}, blended{pattern + .3}, truth{noise(2, 32, 5)};
  auto o = quick({"ssim", "pixcorr"});
  const auto low_set = low.set("low");
  const auto got = score_images(high.set("high"), truth.set("truth"), &low_set, o), want = score_images(blended.set("blended"), truth.set("truth"), nullptr, o);
  for (std::size_t k = 0; k < 2; ++k) EXPECT_NEAR(got.scores[k].value, want.scores[k].value, 1e-5) << got.scores[k].name;
  EXPECT_NE(got.notes.back().find("0.75 x high + 0.25 x low"), std::string::npos) << got.notes.back();
  const auto plain = score_images(high.set("high"), truth.set("truth"), nullptr, o);
  EXPECT_GT(std::abs(plain.find("ssim")->value - got.find("ssim")->value), 1e-3);
}

TEST(ScoreImages, OtherSizesAreResizedWithoutAntialiasingUnlessAsked) {
  const Counted truth{noise(2, 256, 0)}, large{noise(2, 512, 1)};
  auto o = quick({"pixcorr"});
  const auto plain = score_images(large.set("large"), truth.set("truth"), nullptr, o);
  ASSERT_EQ(plain.notes.size(), 1);
  EXPECT_EQ(plain.notes[0], "large: 512x512 resized to 256x256, bilinear");
  // Fidelity: bilinear without antialiasing at half the size takes the mean of the middle two of every second pair of pixels.
  const at::Tensor x = large.images;
  const auto at_half = [&](const at::Tensor& t, int dim) { return (t.slice(dim, 0, 512, 2) + t.slice(dim, 1, 512, 2)) / 2; };
  const Counted halved{at_half(at_half(x, 2), 3)};
  EXPECT_NEAR(plain.scores[0].value, score_images(halved.set("halved"), truth.set("truth"), nullptr, o).scores[0].value, 1e-6);
  o.antialias = true;
  const auto smooth = score_images(large.set("large"), truth.set("truth"), nullptr, o);
  EXPECT_EQ(smooth.notes[0], "large: 512x512 resized to 256x256, bilinear, antialiased");
  EXPECT_GT(std::abs(smooth.scores[0].value - plain.scores[0].value), 1e-5);
}

TEST(ScoreImages, WhatIsMissingIsListedAndLeftOutOnlyWhenAllowed) {
  const Counted truth{noise(3, 16, 0)}, recon{noise(3, 16, 1)};
  auto o = quick({"ssim"});
  try {
    score_images(recon.set("recon", {"0", "1", "9"}), truth.set("truth"), nullptr, o);
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_EQ(e.exit(), Exit::data);
    EXPECT_NE(std::string(e.what()).find("9 (not in truth)"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("2 (not in recon)"), std::string::npos) << e.what();
  }
  o.allow_missing = true;
  const auto got = score_images(recon.set("recon", {"0", "1", "9"}), truth.set("truth"), nullptr, o);
  EXPECT_EQ(got.ids, (std::vector<std::string>{"0", "1"}));
  EXPECT_NE(got.notes.back().find("2 images missing on one side, left out"), std::string::npos);
  EXPECT_THROW(score_images(recon.set("recon", {"7", "8", "9"}), truth.set("truth"), nullptr, o), Error);
  EXPECT_THROW(score_images(recon.set("recon", {"1", "1", "2"}), truth.set("truth"), nullptr, o), Error);  // one row per image
}

TEST(ScoreImages, EveryScoreWithoutItsFileIsNamedWithTheOption) {
  const Counted truth{noise(2, 16, 0)};
  const auto got = score_images(truth.set("recon"), truth.set("truth"), nullptr, quick({}));
  std::map<std::string, std::string> why(got.not_run.begin(), got.not_run.end());
  for (const auto& [name, option] : {std::pair{"alexnet2", "--alexnet FILE"}, std::pair{"alexnet5", "--alexnet FILE"}, std::pair{"inception", "--inception FILE"}, std::pair{"clip", "--clip FILE"},
                                     std::pair{"effnet", "--effnet FILE"}, std::pair{"swav", "--swav FILE"}, std::pair{"brain_corr", "--gnet FILE"}})
    EXPECT_NE(why[name].find(std::string("needs ") + option), std::string::npos) << name << ": " << why[name];
  ASSERT_EQ(got.scores.size(), 2);
  EXPECT_TRUE(got.find("pixcorr") && got.find("ssim"));
}

TEST(ScoreImages, SplitFilesOfEitherFormGiveNamesAndIds) {
  const test::TempDir dir;
  const auto laion = read_split_file(dir.write("tau.json", R"({"variants": [{"train_ids": ["9"], "test_ids": ["a/im_1.png", 7]}, {"test_ids": ["x"]}]})"));
  EXPECT_EQ(laion.at("tau/0"), (std::vector<std::string>{"im_1", "7"}));
  EXPECT_EQ(laion.at("tau/1"), (std::vector<std::string>{"x"}));
  EXPECT_EQ(read_split_file(dir.write("one.json", R"({"variants": [{"test_ids": ["1"]}]})")).begin()->first, "one");
  EXPECT_EQ(read_split_file(dir.write("bare.json", R"({"test_ids": ["1", "2"]})")).at("bare").size(), 2);
  EXPECT_THROW(read_split_file(dir.write("no.json", R"({"train_ids": ["1"]})")), Error);
  EXPECT_THROW(read_split_file(dir.write("odd.json", R"({"test_ids": [1.5]})")), Error);
}

}  // namespace
}  // namespace me2::report
