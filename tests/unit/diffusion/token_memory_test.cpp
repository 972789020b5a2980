#include "diffusion/token_memory.h"

#include <cmath>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "store/columns.h"
#include "support/temp_dir.h"

namespace me2::diffusion {
namespace {

// Three images of one token with two features: (1, 0), (0, 2), (3, 3), stimuli 7, 8, 9.
std::string memory(const test::TempDir& dir) {
  const std::string path = dir / "memory.zarr";
  store::Group group = store::Group::create(path);
  const std::vector<float> values{1, 0, 0, 2, 3, 3};
  store::ArraySpec tokens;
  tokens.shape = {3, 1, 2};
  group.create_array("clip_tokens", tokens).write(values.data());
  store::ArraySpec ids;
  ids.shape = {3};
  ids.dtype = store::DType::i4;
  const std::vector<std::int32_t> stimulus{7, 8, 9};
  group.create_array("stimulus", ids).write(stimulus.data());
  return path;
}

at::Tensor at_point(float x, float y) { return at::tensor({x, y}).view({1, 1, 2}); }

TEST(TokenMemory, WeightsByTheSoftmaxOfCosines) {
  const test::TempDir dir;
  const TokenMemory all(memory(dir), 1, 2, {}, 0.5);
  EXPECT_EQ(all.size(), 3);
  // From (4, 3): cosines .8, .6 and 7 / (5 sqrt 2) = .98995, whatever the lengths.
  const double a = std::exp(0.8 / 0.5), b = std::exp(0.6 / 0.5), c = std::exp(7 / (5 * std::sqrt(2.0)) / 0.5), sum = a + b + c;
  const at::Tensor got = all.recall(at_point(4, 3));
  EXPECT_NEAR(got[0][0][0].item<double>(), (a + 3 * c) / sum, 1e-5);
  EXPECT_NEAR(got[0][0][1].item<double>(), (2 * b + 3 * c) / sum, 1e-5);
  EXPECT_TRUE(at::allclose(all.recall(at_point(8, 6)), got));
}

TEST(TokenMemory, GoesFromTheNearestImageToTheMeanOfAll) {
  const test::TempDir dir;
  const std::string path = memory(dir);
  const at::Tensor near = at_point(0.1F, 3);
  EXPECT_TRUE(at::allclose(TokenMemory(path, 1, 2, {}, 1e-3).recall(near), at_point(0, 2)));
  EXPECT_TRUE(at::allclose(TokenMemory(path, 1, 2, {}, 1e6).recall(near), at_point(4 / 3.F, 5 / 3.F), 1e-3, 1e-3));
}

TEST(TokenMemory, LeavesOutTheImagesAskedForAndRefusesOtherShapes) {
  const test::TempDir dir;
  const std::string path = memory(dir);
  const TokenMemory without(path, 1, 2, {9}, 1e-3);
  EXPECT_EQ(without.size(), 2);
  EXPECT_TRUE(at::allclose(without.recall(at_point(3, 2.5F)), at_point(1, 0)));
  EXPECT_THROW(TokenMemory(path, 1, 2, {7, 8, 9}, 1), Error);
  EXPECT_THROW(TokenMemory(path, 2, 1, {}, 1), Error);
  EXPECT_THROW(TokenMemory(path, 1, 2, {}, 0), Error);
}

}  // namespace
}  // namespace me2::diffusion
