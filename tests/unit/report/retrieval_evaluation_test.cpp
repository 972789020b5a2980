// score_retrieval on stores of our own: repeats, their noise ceiling, and baselines.
#include "report/retrieval_evaluation.h"

#include <ATen/ATen.h>

#include <cmath>

#include <gtest/gtest.h>

#include "base/json.h"
#include "store/zarr.h"
#include "support/temp_dir.h"

namespace me2::report {
namespace {

at::Tensor normal(std::int64_t n, std::int64_t width, std::uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  return at::randn({n, width}, generator, at::kFloat);
}

std::string embeddings(const std::string& path, const at::Tensor& x, const std::vector<std::int32_t>& stimulus) {
  auto group = store::Group::create(path);
  const at::Tensor rows = x.contiguous();
  group.create_array("clip", {.shape = {rows.size(0), rows.size(1)}, .dtype = store::DType::f4}).write(rows.const_data_ptr<float>());
  group.create_array("stimulus", {.shape = {rows.size(0)}, .dtype = store::DType::i4}).write(stimulus.data());
  return path;
}

struct Case {  // `images` images seen `repeats` times: signal and noise of the same variance, so that two repeats correlate with 1/2
  test::TempDir dir;
  std::string brain, truth;
  Case(std::int64_t images, std::int64_t repeats, std::int64_t width) {
    const at::Tensor signal = normal(images, width, 1);
    std::vector<at::Tensor> rows;
    std::vector<std::int32_t> ids, once;
    for (std::int64_t k = 0; k < repeats; ++k)
      for (std::int64_t i = 0; i < images; ++i) ids.push_back(static_cast<std::int32_t>(100 + i));
    for (std::int64_t i = 0; i < images; ++i) once.push_back(static_cast<std::int32_t>(100 + i));
    for (std::int64_t k = 0; k < repeats; ++k) rows.push_back(signal + normal(images, width, 10 + k));
    brain = embeddings(dir / "brain.zarr", at::cat(rows), ids), truth = embeddings(dir / "truth.zarr", signal, once);
  }
};

RetrievalOptions small() {
  RetrievalOptions o;
  o.ways = 20, o.draws = 5, o.resamples = 200;
  return o;
}

TEST(ScoreRetrieval, TheNoiseCeilingOfRepeatsIsSpearmanBrowns) {
  const Case c(30, 3, 4000);
  const auto got = score_retrieval(c.brain, c.truth, small());
  const auto& d = got.find("image_retrieval")->details;
  EXPECT_EQ(d.at("repeats"), 3);
  EXPECT_NEAR(d.at("repeat_correlation"), .5, .01);
  const double r = d.at("repeat_correlation");
  EXPECT_DOUBLE_EQ(d.at("reliability"), 3 * r / (1 + 2 * r));          // .75
  EXPECT_DOUBLE_EQ(d.at("noise_ceiling"), std::sqrt(d.at("reliability")));
  EXPECT_NEAR(d.at("correlation"), d.at("noise_ceiling"), .01);        // the signal itself reaches it
  const auto& one = got.find("image_retrieval_1_repeat")->details;
  EXPECT_EQ(one.at("repeats"), 1);
  EXPECT_DOUBLE_EQ(one.at("reliability"), r);
  EXPECT_NEAR(one.at("correlation"), std::sqrt(.5), .01);
  EXPECT_DOUBLE_EQ(got.find("image_retrieval_2_repeats")->details.at("reliability"), 2 * r / (1 + r));
  EXPECT_FALSE(got.find("image_retrieval_3_repeats"));  // that is the score itself
  EXPECT_EQ(got.find("repeat_retrieval")->value, 1);    // 4,000 features: each half finds the other
}

TEST(ScoreRetrieval, RepeatsThatShareNothingFindEachOtherByChanceOnly) {
  const test::TempDir dir;
  std::vector<std::int32_t> ids, once;
  for (int k = 0; k < 2; ++k)
    for (int i = 0; i < 40; ++i) ids.push_back(i);
  for (int i = 0; i < 40; ++i) once.push_back(i);
  const auto brain = embeddings(dir / "b.zarr", normal(80, 300, 1), ids), truth = embeddings(dir / "t.zarr", normal(40, 300, 2), once);
  const auto got = score_retrieval(brain, truth, small());
  EXPECT_LT(got.find("repeat_retrieval")->value, .2);  // 1 of 20
  EXPECT_LT(got.find("image_retrieval")->details.at("noise_ceiling"), .15);
}

TEST(ScoreRetrieval, WithoutTwoRepeatsOfEveryImageThereIsNoCeilingAndThatIsSaid) {
  const test::TempDir dir;
  const at::Tensor x = normal(5, 50, 1);
  const auto truth = embeddings(dir / "t.zarr", x.narrow(0, 0, 4), {1, 2, 3, 4});
  const auto got = score_retrieval(embeddings(dir / "b.zarr", x.index_select(0, at::tensor({0, 1, 2, 3, 3}, at::kLong)), {1, 2, 3, 4, 4}), truth, small());
  EXPECT_FALSE(got.find("repeat_retrieval"));
  EXPECT_FALSE(got.find("image_retrieval")->details.contains("noise_ceiling"));
  EXPECT_TRUE(got.find("image_retrieval_1_repeat"));
  EXPECT_NE(got.notes.back().find("no noise ceiling"), std::string::npos);
  const auto single = score_retrieval(embeddings(dir / "s.zarr", x.narrow(0, 0, 4), {1, 2, 3, 4}), truth, small());
  EXPECT_FALSE(single.find("image_retrieval")->details.contains("repeats"));
  EXPECT_EQ(single.scores.size(), 2);
}

TEST(ScoreRetrieval, CslsAndRanksStandBesideThePlainScore) {
  const Case c(30, 1, 8);
  const auto got = score_retrieval(c.brain, c.truth, small());
  for (const char* name : {"image_retrieval", "brain_retrieval"})
    for (const char* key : {"csls", "rank_percentile", "full_pool_top_1", "full_pool_top_5", "full_pool_top_10", "draws_low", "draws_high", "draws_sem", "ways"})
      EXPECT_TRUE(got.find(name)->details.contains(key)) << name << " " << key;
  EXPECT_EQ(got.find("image_retrieval")->details.at("ways"), 20);
  EXPECT_GT(got.find("image_retrieval")->value, got.baselines.at("shuffled")[0].value + .2);
  EXPECT_NE(got.find("image_retrieval")->details.at("csls"), got.find("image_retrieval")->value);
}

}  // namespace
}  // namespace me2::report
