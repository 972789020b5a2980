// Identities and hand-made cases: what holds whatever the reference.
#include <cmath>
#include <numeric>
#include <set>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "metrics/brain.h"
#include "metrics/identification.h"
#include "metrics/pixels.h"
#include "metrics/retrieval.h"

namespace me2::metrics {
namespace {

at::Tensor pattern(std::int64_t n, std::int64_t f, double seed) {  // deterministic, no two rows alike
  return at::sin(at::arange(n * f, at::kDouble) * 12.9898 + seed).reshape({n, f});
}

TEST(Pixels, AnImageIsItselfAndAConstantOneIsUndefined) {
  at::Tensor x = pattern(2, 3 * 40 * 44, 1).reshape({2, 3, 40, 44}).to(at::kFloat) * 0.5 + 0.5;
  const auto same = pixel_scores(x, x, {.size = 64});
  for (int i : {0, 1}) {
    EXPECT_NEAR(same.pixcorr[i], 1, 1e-12);
    EXPECT_NEAR(same.ssim[i], 1, 1e-6);
  }
  at::Tensor y = x.clone();
  y[1].fill_(0.5);
  const auto flat = pixel_scores(x, y, {.size = 64});
  EXPECT_TRUE(std::isnan(flat.pixcorr[1]));
  EXPECT_FALSE(std::isnan(flat.ssim[1]));
}

TEST(Pixels, SizesThatDifferAreAnError) { EXPECT_THROW(pixel_scores(at::zeros({1, 3, 20, 20}), at::zeros({1, 3, 20, 24})), Error); }

TEST(Identification, NWayIsTheHypergeometricChance) {
  const std::vector<std::int64_t> count{9, 5, 0, 4, 4, 4, 4, 4, 4, 4};  // pool of 10
  EXPECT_EQ(n_way(count, 10)[0], 1);          // beats all: certain at any n
  EXPECT_NEAR(n_way(count, 2)[1], 5.0 / 9, 1e-15);
  EXPECT_NEAR(n_way(count, 3)[1], 5.0 * 4 / (9 * 8), 1e-15);
  EXPECT_EQ(n_way(count, 10)[1], 0);
  EXPECT_EQ(n_way(count, 2)[2], 0);
  EXPECT_EQ(top_k(count, 1), (std::vector<double>{1, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(top_k(count, 5)[1], 1);  // 5 of 9 beaten: fifth place
  EXPECT_THROW(n_way(count, 11), Error);
}

TEST(Identification, SlicesOfFeaturesMakeNoDifference) {  // more features than one slice, against a direct computation
  const at::Tensor a = pattern(5, 9001, 0.3), b = pattern(5, 9001, 2.2) + a * 0.5;
  const at::Tensor x = a - a.mean(1, true), y = b - b.mean(1, true);
  const at::Tensor direct = x.matmul(y.t()) / (x.norm(2, 1).unsqueeze(1) * y.norm(2, 1).unsqueeze(0));
  EXPECT_TRUE(at::allclose(feature_correlations(a, b), direct, 1e-12, 1e-12));
  const auto distance = correlation_distance(a, b);
  for (int i = 0; i < 5; ++i) EXPECT_NEAR(distance[i], 1 - direct[i][i].item<double>(), 1e-12);
}

TEST(Identification, DiversityIsOneForCollapse) {
  EXPECT_NEAR(mean_pairwise_correlation(pattern(1, 50, 0).expand({4, 50})), 1, 1e-12);
  EXPECT_LT(std::abs(mean_pairwise_correlation(pattern(20, 500, 0))), 0.2);
  const at::Tensor x = pattern(5, 5000, 0), r = feature_correlations(x, x);  // the mean of what is beside the diagonal
  EXPECT_NEAR(mean_pairwise_correlation(x), ((r.sum() - r.diagonal().sum()) / 20).item<double>(), 1e-12);
  const at::Tensor thrice = x.index_select(0, at::tensor({0, 1, 1, 1, 2, 3, 4}));
  EXPECT_NEAR(mean_pairwise_correlation(x, at::tensor({1., 3., 1., 1., 1.}, at::kDouble)), mean_pairwise_correlation(thrice), 1e-12);
}

TEST(Retrieval, DirectionsAreNamedByQuery) {
  // Brain 0 is nearest to image 1 (wrong), brain 1 to image 1; image 0 is nearest to brain 0, image 1 to brain 1.
  const at::Tensor s = at::tensor({0.5, 0.6, 0.1, 0.9}).reshape({2, 2});
  const auto got = retrieve(s, {{{0, 1}}});
  EXPECT_EQ(got.image_retrieval.mean, 0.5);
  EXPECT_EQ(got.brain_retrieval.mean, 1.0);
  EXPECT_EQ(&got.fwd(), &got.brain_retrieval);
  EXPECT_EQ(retrieval_wins(s, 1), (std::vector<std::int64_t>{0, 1}));
  EXPECT_EQ(retrieval_wins(s, 0), (std::vector<std::int64_t>{1, 1}));
}

TEST(Retrieval, ATieIsAMiss) {  // as a query that fits two candidates equally well has not found its own
  const at::Tensor s = at::tensor({0.9, 0.9, 0.1, 0.2, 0.8, 0.1, 0.3, 0.1, 0.7}).reshape({3, 3});
  const auto got = retrieve(s, {{{0, 1, 2}}});
  EXPECT_DOUBLE_EQ(got.image_retrieval.mean, 2.0 / 3);  // the first brain embedding fits images 0 and 1
  EXPECT_DOUBLE_EQ(got.brain_retrieval.mean, 2.0 / 3);  // the second image fits brain embedding 0 better than its own
  const at::Tensor other = at::tensor({0.9, 0.2, 0.9, 0.8}).reshape({2, 2});
  EXPECT_DOUBLE_EQ(retrieve(other, {{{0, 1}}}).brain_retrieval.mean, 0.5);  // image 0 fits both
}

TEST(Retrieval, BlocksAndHalfPrecisionGiveTheSameMatrix) {
  const at::Tensor a = pattern(300, 70, 0.1).to(at::kHalf), b = pattern(130, 70, 0.9).to(at::kHalf);
  const at::Tensor x = a.to(at::kDouble), y = b.to(at::kDouble);
  const at::Tensor direct = x.matmul(y.t()) / (x.norm(2, 1).unsqueeze(1) * y.norm(2, 1).unsqueeze(0));
  EXPECT_TRUE(at::allclose(cosine_matrix(Rows::of(a), Rows::of(b)).to(at::kDouble), direct, 1e-5, 1e-6));
}

TEST(Retrieval, DrawsAreDistinctAndSeeded) {
  const auto draws = retrieval_draws(50, 20, 3, 7);
  ASSERT_EQ(draws.size(), 3u);
  for (const auto& d : draws) EXPECT_EQ(std::set<std::int64_t>(d.index.begin(), d.index.end()).size(), 20u);
  EXPECT_EQ(draws[1].index, retrieval_draws(50, 20, 3, 7)[1].index);
  EXPECT_NE(draws[0].index, draws[1].index);
  EXPECT_THROW(retrieval_draws(10, 20, 3, 7), Error);
}

TEST(Retrieval, CSLSPushesAHubDown) {
  // Image 2 is everyone's favourite by little; with local scaling each brain finds its own.
  const at::Tensor s = at::tensor({0.60, 0.10, 0.62, 0.10, 0.60, 0.62, 0.10, 0.10, 0.90}).reshape({3, 3});
  EXPECT_EQ(retrieve(s, {{{0, 1, 2}}}).image_retrieval.mean, 1.0 / 3);
  EXPECT_EQ(retrieve(csls(s, 2), {{{0, 1, 2}}}).image_retrieval.mean, 1.0);
}

TEST(Brain, ReliabilityOfEqualRepeatsIsOne) {
  const at::Tensor x = pattern(4, 30, 0).unsqueeze(1).expand({4, 3, 30});
  EXPECT_NEAR(repeat_reliability(x).split_half, 1, 1e-12);
  EXPECT_NEAR(repeat_reliability(x).ceiling, 1, 1e-12);
}

TEST(Brain, SpearmanBrownOfThree) {  // r = .5 between repeats: 3 * .5 / (1 + 2 * .5) = .75
  at::Tensor x = at::zeros({1, 2, 4}, at::kDouble);
  x[0][0] = at::tensor({1., 1., -1., -1.});
  x[0][1] = at::tensor({1., 0., 0., -1.}) * std::sqrt(2.0);  // correlation 1/sqrt(2) with the first
  const auto got = repeat_reliability(x);
  EXPECT_NEAR(got.split_half, std::sqrt(0.5), 1e-12);
  EXPECT_NEAR(got.spearman_brown, 2 * std::sqrt(0.5) / (1 + std::sqrt(0.5)), 1e-12);
}

}  // namespace
}  // namespace me2::metrics
