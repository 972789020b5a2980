#include "report/baselines.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "base/error.h"

namespace me2::report {
namespace {

Embeddings of(const at::Tensor& x, std::vector<std::string> ids) {
  return {"train", x.size(0), std::move(ids), [x](std::int64_t first, std::int64_t count) { return x.narrow(0, first, count); }};
}

TEST(Baselines, NearestIsByCosineAndNeverAnImageThatIsScored) {
  const at::Tensor train = at::tensor({1.f, 0.f, 9.f, 1.f, 0.f, 3.f, -1.f, 0.f}).view({4, 2});
  const at::Tensor predicted = at::tensor({.5f, 0.f, 0.f, .1f}).view({2, 2});
  std::int64_t left_out = -1;
  EXPECT_EQ(nearest_rows(metrics::Rows::of(predicted), of(train, {"7", "8", "9", "10"}), {"1"}, &left_out), (std::vector<std::int64_t>{0, 2}));
  EXPECT_EQ(left_out, 0);
  EXPECT_EQ(nearest_rows(metrics::Rows::of(predicted), of(train, {"7", "8", "9", "10"}), {"7"}, &left_out), (std::vector<std::int64_t>{1, 2}));
  EXPECT_EQ(left_out, 1);
  EXPECT_THROW(nearest_rows(metrics::Rows::of(predicted), of(train, {"7", "8", "9", "10"}), {"7", "8", "9", "10"}), Error);
}

// Peak resident memory of this process in bytes; `reset` starts it anew at what is resident now.
std::int64_t peak(bool reset) {
  if (reset) std::ofstream("/proc/self/clear_refs") << 5;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stoll(line.substr(6)) * 1024;
  return 0;
}

TEST(Baselines, ThousandsOfTrainingImagesAreReadInBlocksAndNeverHeld) {
  constexpr std::int64_t kRows = 5000, kWidth = 16384, kPredicted = 24;  // 328 MB of f32
  std::int64_t largest = 0, total = 0;
  const Embeddings train{"train", kRows, {}, [&](std::int64_t first, std::int64_t count) {
                           largest = std::max(largest, count), total += count;
                           at::Tensor x = at::full({count, kWidth}, .001f);
                           for (std::int64_t i = 0; i < count; ++i) x[i][(first + i) * 3] = 1;
                           return x;
                         }};
  at::Tensor predicted = at::zeros({kPredicted, kWidth});
  std::vector<std::int64_t> want;
  for (std::int64_t j = 0; j < kPredicted; ++j) want.push_back(4999 - 201 * j), predicted[j][want.back() * 3] = 1;
  nearest_rows(metrics::Rows::of(predicted.narrow(0, 0, 1)), of(predicted, {}), {});  // what is set up once
  largest = total = 0;
  const auto before = peak(true);
  EXPECT_EQ(nearest_rows(metrics::Rows::of(predicted), train, {}), want);
  EXPECT_EQ(total, kRows);  // each once
  EXPECT_LE(largest, 256);
  EXPECT_LT(peak(false) - before, 120 << 20);
}

TEST(Baselines, AnotherImagesPictureIsNeverItsOwnAndTheMeanIsTheMean) {
  const std::vector<std::string> ids{"3", "1", "4"};
  const auto flat = ImageSet::made("flat", "2x2", ids, [](const std::vector<std::int64_t>& rows) {
    at::Tensor x = at::empty({static_cast<std::int64_t>(rows.size()), 3, 2, 2});
    for (std::size_t i = 0; i < rows.size(); ++i) x[static_cast<std::int64_t>(i)].fill_(.1 + .3 * static_cast<double>(rows[i]));
    return x;
  });
  const Reconstructions scored{flat, flat, nullptr, .75, false, {"1", "4"}};  // rows 1 and 2: .4 and .7
  const auto mean = mean_picture(scored).read({0, 1});
  EXPECT_NEAR(mean.min().item<float>(), .55, 1e-6);
  EXPECT_NEAR(mean.max().item<float>(), .55, 1e-6);
  const auto other = other_pictures(scored, 42);
  EXPECT_EQ(other.keys(), scored.ids);
  EXPECT_NEAR(other.read({0}).mean().item<float>(), .7, 1e-6);
  EXPECT_NEAR(other.read({1}).mean().item<float>(), .4, 1e-6);
  EXPECT_THROW(other_pictures({flat, flat, nullptr, .75, false, {"1"}}, 42), Error);
}

}  // namespace
}  // namespace me2::report
