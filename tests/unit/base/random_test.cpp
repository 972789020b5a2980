#include "base/random.h"

#include <cmath>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace me2 {
namespace {

using Words = std::array<std::uint32_t, 4>;

// Known answers of Random123's kat_vectors for philox4x32-10.
TEST(Philox, GivesThePublishedNumbers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const std::uint32_t f = 0xffffffff;
  EXPECT_EQ(philox({f, f, f, f}, {f, f}), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

std::vector<float> normal(std::size_t n, const NoiseKey& key) {
  std::vector<float> out(n);
  fill_normal(out, key);
  return out;
}

TEST(Noise, DependsOnEachPartOfTheKey) {
  const NoiseKey key{7, "prior", 1234, 0};
  const auto base = normal(64, key);
  EXPECT_EQ(base, normal(64, key));
  EXPECT_NE(base, normal(64, {8, "prior", 1234, 0}));
  EXPECT_NE(base, normal(64, {7, "unclip", 1234, 0}));
  EXPECT_NE(base, normal(64, {7, "prior", 1235, 0}));
  EXPECT_NE(base, normal(64, {7, "prior", 1234, 1}));
  EXPECT_NE(base, normal(64, {7, "prior", 1234 + (std::int64_t{1} << 32), 0}));
}

TEST(Noise, AShorterDrawIsTheStartOfALongerOne) {
  const NoiseKey key{1, "s", 5, 2};
  const auto longer = normal(1001, key);
  for (const std::size_t n : {0, 1, 3, 4, 5, 999})
    EXPECT_EQ(normal(n, key), std::vector<float>(longer.begin(), longer.begin() + static_cast<std::ptrdiff_t>(n))) << n;
}

TEST(Noise, IsTheSameFromSeveralThreads) {
  std::vector<std::vector<float>> rows(8);
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) threads.emplace_back([&, i] { rows[i] = normal(1000, {3, "t", i}); });
  for (auto& thread : threads) thread.join();
  for (int i = 0; i < 8; ++i) EXPECT_EQ(rows[i], normal(1000, {3, "t", i}));
}

// Moments of the normal distribution; tolerances are five standard errors for n = 400,000.
TEST(Noise, HasTheMomentsOfANormalDistribution) {
  constexpr std::size_t n = 400000;
  double m1 = 0, m2 = 0, m3 = 0, m4 = 0, lag = 0;
  const auto values = normal(n, {11, "moments", 0});
  for (std::size_t i = 0; i < n; ++i) {
    const double x = values[i];
    m1 += x, m2 += x * x, m3 += x * x * x, m4 += x * x * x * x;
    if (i) lag += x * values[i - 1];
  }
  EXPECT_NEAR(m1 / n, 0, 5 * std::sqrt(1.0 / n));
  EXPECT_NEAR(m2 / n, 1, 5 * std::sqrt(2.0 / n));
  EXPECT_NEAR(m3 / n, 0, 5 * std::sqrt(15.0 / n));
  EXPECT_NEAR(m4 / n, 3, 5 * std::sqrt(96.0 / n));
  EXPECT_NEAR(lag / n, 0, 5 * std::sqrt(1.0 / n));
}

TEST(Noise, UniformNumbersLieInTheirIntervalAndFillIt) {
  std::vector<float> values(100000);
  fill_uniform(values, {2, "u", 0});
  double sum = 0;
  for (const float x : values) {
    ASSERT_GE(x, 0.0f);
    ASSERT_LT(x, 1.0f);
    sum += x;
  }
  EXPECT_NEAR(sum / 100000, 0.5, 5 * std::sqrt(1.0 / 12 / 100000));
}

// Written down once (this program, first release): a change here changes every seeded result of every user.
TEST(Noise, StaysWhatItWas) {
  const auto values = normal(4, {42, "prior", 7, 1});
  Random random(42, "test");
  EXPECT_FLOAT_EQ(values[0], -0.434420884f);
  EXPECT_FLOAT_EQ(values[3], -0.615790129f);
  EXPECT_EQ(random(), 3675914267u);
}

TEST(Random, BelowIsEvenAndInRange) {
  Random random(5);
  std::vector<int> counts(7);
  for (int i = 0; i < 70000; ++i) ++counts.at(random.below(7));
  for (const int count : counts) EXPECT_NEAR(count, 10000, 5 * std::sqrt(10000 * 6 / 7.0));
}

TEST(Random, ShuffleKeepsEveryValueAndChangesTheOrder) {
  std::vector<int> values(100);
  for (int i = 0; i < 100; ++i) values[i] = i;
  const auto before = values;
  Random(9, "shuffle").shuffle(std::span<int>(values));
  EXPECT_NE(values, before);
  EXPECT_EQ(std::set<int>(values.begin(), values.end()), std::set<int>(before.begin(), before.end()));
  auto again = before;
  Random(9, "shuffle").shuffle(std::span<int>(again));
  EXPECT_EQ(values, again);
}

}  // namespace
}  // namespace me2
