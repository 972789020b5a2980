#include "metrics/umap.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include "support/golden.h"

namespace me2::metrics {
namespace {

at::Tensor clusters() {  // 5 clusters of 40 points in 20 dimensions
  auto generator = at::detail::createCPUGenerator(7);
  const auto centres = 6 * at::randn({5, 20}, generator, at::kFloat);
  return (centres.unsqueeze(1) + at::randn({5, 40, 20}, generator, at::kFloat)).flatten(0, 1);
}

TEST(Umap, KeepsClustersApartAndTogether) {
  const auto x = clusters();
  const auto y = umap(x);
  const auto groups = y.view({5, 40, 2});
  const auto centres = groups.mean(1);
  const double within = (groups - centres.unsqueeze(1)).norm(2, -1).mean().item<double>();
  const auto between = at::cdist(centres, centres) + 1e9 * at::eye(5);
  EXPECT_GT(between.min().item<double>(), 3 * within);
  EXPECT_GT(trustworthiness(x, y, 15), 0.9);
}

// tests/golden/twins/umap: data, umap-learn's map of it, and the share of neighbourhoods that umap-learn's maps keep (tests/interop/umap_map.py --write).
TEST(Umap, KeepsAsManyNeighbourhoodsAsUmapLearn) {
  const test::Golden golden("twins/umap");
  const auto k = golden.config["neighbours"].get<std::int64_t>();
  for (const auto& [name, want] : golden.config["data"].items()) {
    const auto x = golden.io.get(name);
    const auto theirs = want["trustworthiness"].get<std::vector<double>>();
    EXPECT_NEAR(trustworthiness(x, golden.io.get(name + "_umap_learn"), k), theirs[0], 1e-4) << name << ": scikit-learn's figure of the same map";
    EXPECT_GT(trustworthiness(x, umap(x), k), (theirs[0] + theirs[1] + theirs[2]) / 3 - 0.02) << name;
  }
}

TEST(Umap, TheSameSeedGivesTheSameMap) {
  const auto x = clusters();
  EXPECT_TRUE(at::equal(umap(x), umap(x)));
}

TEST(Trustworthiness, IsOneForAnUnchangedSpaceAndLowForAShuffledOne) {
  const auto x = clusters();
  EXPECT_DOUBLE_EQ(trustworthiness(x, x, 5), 1);
  const auto shuffled = x.index_select(0, at::randperm(200, at::detail::createCPUGenerator(1), at::kLong));
  EXPECT_LT(trustworthiness(x, shuffled, 5), 0.7);
}

TEST(Trustworthiness, EqualsAHandMadeCase) {
  // Five points on a line, and the line with the last point moved between the first two; k = 1.
  // Nearest in the map: 0 -> 4, 1 -> 4, 2 -> 1 (tie 1/3 broken by index), 3 -> 2, 4 -> 0. Rank of 4 from 0 is 4, from 1 is 4 (after 0, 2, 3),
  // of 0 from 4 is 4; the others are first. Excess 3 + 3 + 3 = 9; T = 1 - 2 * 9 / (5 * 1 * (10 - 3 - 1)) = 0.4.
  const auto x = at::tensor({0.f, 1.f, 2.1f, 3.3f, 4.6f}).view({5, 1});
  const auto y = at::tensor({0.f, 1.f, 2.1f, 3.3f, 0.45f}).view({5, 1});
  EXPECT_NEAR(trustworthiness(x, y, 1), 0.4, 1e-12);
}

}  // namespace
}  // namespace me2::metrics
