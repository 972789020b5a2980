// Expected numbers: scipy 1.17.1 (stats.bootstrap BCa with 200,000 and 100,000 resamples, permutation_test, ttest_1samp, t.cdf, norm.ppf).
#include "metrics/bootstrap.h"

#include <cmath>
#include <numeric>

#include <gtest/gtest.h>

namespace me2::metrics {
namespace {

std::vector<double> skewed() {
  std::vector<double> x(80);
  for (int i = 0; i < 80; ++i) x[i] = std::pow((i * 37 % 101) / 101.0, 3);
  return x;
}
std::vector<double> flat() {
  std::vector<double> y(80);
  for (int i = 0; i < 80; ++i) y[i] = (i * 53 % 97) / 97.0 + 0.5;
  return y;
}

TEST(Bootstrap, BCaOfAMeanIsScipys) {
  BootstrapOptions options;
  options.resamples = 100000;
  const auto got = bca_mean(skewed(), options);
  EXPECT_NEAR(got.value, 0.24754802237404405, 1e-12);
  EXPECT_NEAR(got.low, 0.19062862810108974, 1e-3);  // resampling error of both is about 3e-4
  EXPECT_NEAR(got.high, 0.3150483093488133, 1e-3);
  EXPECT_EQ(got.n, 80);
}

TEST(Bootstrap, BCaOfARatioIsScipys) {
  Scored s;
  s.columns = 2;
  s.statistic = [](auto m) { return m[0] / m[1]; };
  const auto x = skewed(), y = flat();
  for (int i = 0; i < 80; ++i) s.values.push_back(x[i]), s.values.push_back(y[i]);
  BootstrapOptions options;
  options.resamples = 100000;
  const auto got = bca({&s, 1}, options)[0];
  EXPECT_NEAR(got.value, 0.25196388426319277, 1e-12);
  EXPECT_NEAR(got.low, 0.19319877181523123, 1e-3);
  EXPECT_NEAR(got.high, 0.3231297578404414, 1e-3);
}

TEST(Bootstrap, ThreadsAndOtherScoresDoNotChangeAnInterval) {
  const auto x = skewed(), y = flat();
  BootstrapOptions one, three;
  three.threads = 3;
  const std::vector<Scored> both{{y, 1, {}}, {x, 1, {}}};
  const auto alone = bca_mean(x, one), together = bca(both, three)[1];
  EXPECT_EQ(alone.low, together.low);
  EXPECT_EQ(alone.high, together.high);
}

TEST(Bootstrap, OneImageHasNoIntervalAndAConstantScoreANarrowOne) {
  const std::vector<double> one{0.5}, same(10, 0.25);
  EXPECT_TRUE(std::isnan(bca_mean(one, {}).low));
  const auto flat = bca_mean(same, {});
  EXPECT_EQ(flat.low, 0.25);
  EXPECT_EQ(flat.high, 0.25);
}

TEST(Bootstrap, UndefinedImagesAreLeftOut) {
  auto x = skewed();
  const auto clean = bca_mean(x, {});
  x.insert(x.begin() + 3, std::nan(""));
  const auto got = bca_mean(x, {});
  EXPECT_EQ(got.n, 80);
  EXPECT_EQ(got.value, clean.value);
}

TEST(Bootstrap, SubjectsWidenTheInterval) {  // two subjects far apart: the spread of subjects dominates
  std::vector<std::vector<double>> subjects{skewed(), skewed()};
  for (double& v : subjects[1]) v += 1;
  const auto got = hierarchical_mean(subjects, {});
  EXPECT_NEAR(got.value, 0.74754802237404405, 1e-12);
  EXPECT_LT(got.low, 0.3);
  EXPECT_GT(got.high, 1.2);
  EXPECT_EQ(got.n, 160);
}

TEST(PairedTests, AgreeWithScipy) {
  const auto a = skewed(), y = flat();
  std::vector<double> b(80);
  for (int i = 0; i < 80; ++i) b[i] = a[i] * 0.9 + 0.05 * y[i] / 1.5;
  BootstrapOptions options;
  options.resamples = 100000;
  const auto got = paired_tests(a, b, 0.02, options);
  EXPECT_NEAR(got.difference.value, -0.007994338656066382, 1e-12);
  EXPECT_NEAR(got.p_permutation, 0.019359903200484, 2e-3);
  EXPECT_NEAR(got.p_equivalence, 0.00028328621923345425, 1e-9);
  EXPECT_NEAR(got.p_bootstrap, got.p_permutation, 1e-2);
  const auto exact = paired_tests({a.data(), 10}, {b.data(), 10}, 0, {});  // 2^10 sign flips, all of them
  EXPECT_NEAR(exact.p_permutation, 0.296875, 1e-12);
  EXPECT_TRUE(std::isnan(exact.p_equivalence));
}

TEST(PairedTests, HolmAdjustsStepwise) {  // statsmodels multipletests([.01,.04,.03,.005], method="holm") by hand: .03 .06 .06 .02
  const std::vector<double> p{0.01, 0.04, 0.03, 0.005};
  const auto got = holm(p);
  EXPECT_DOUBLE_EQ(got[0], 0.03);
  EXPECT_DOUBLE_EQ(got[1], 0.06);
  EXPECT_DOUBLE_EQ(got[2], 0.06);
  EXPECT_DOUBLE_EQ(got[3], 0.02);
}

TEST(Distributions, StudentAndNormal) {
  EXPECT_NEAR(student_cdf(-2.5, 3), 0.04385332, 1e-8);
  EXPECT_NEAR(student_cdf(0, 5), 0.5, 1e-15);
  EXPECT_NEAR(student_cdf(0.7, 9), 0.74919048, 1e-8);
  EXPECT_NEAR(student_cdf(3.1, 80), 0.99866422, 1e-8);
  EXPECT_NEAR(normal_quantile(1e-6), -4.75342431, 1e-8);
  EXPECT_NEAR(normal_quantile(0.01), -2.32634787, 1e-8);
  EXPECT_NEAR(normal_quantile(0.975), 1.95996398, 1e-8);
}

}  // namespace
}  // namespace me2::metrics
