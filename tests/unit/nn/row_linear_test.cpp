#include "nn/row_linear.h"

#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include "nn/device.h"

namespace me2::nn {
namespace {

struct Given : ParamSource {  // normal numbers of a dtype
  at::ScalarType dtype;
  explicit Given(at::ScalarType type) : dtype(type) {}
  at::Tensor param(const std::string&, const Shape& shape, const Init&, bool) override { return at::randn(shape).to(dtype); }
  bool has(const std::string&) const override { return true; }
  Shape shape(const std::string&) const override { return {}; }
  bool knows_shapes() const override { return false; }
};

bool same_bytes(const at::Tensor& a, const at::Tensor& b) { return a.view(at::kInt).equal(b.view(at::kInt)); }

TEST(RowLinear, EqualsATenInEveryDtypeOfTheWeights) {  // widths with and without a tail of the 16 lanes, outputs in one piece and in several
  set_threads(2);
  for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf})
    for (const auto& [in, out] : std::vector<std::pair<std::int64_t, std::int64_t>>{{64, 7}, {37, 600}, {100, 1030}, {5, 3}, {2100, 11}})
      for (const bool bias : {true, false}) {
        Given given(dtype);
        const Linear linear{Scope(given), in, out, bias};
        const at::Tensor x = at::randn({9, in});
        const at::Tensor want = at::linear(x.to(at::kDouble), linear.weight.to(at::kDouble), bias ? std::optional(linear.bias.to(at::kDouble)) : std::nullopt);
        for (const bool tiles : {true, false}) {
          const at::Tensor got = row_linear(x, linear, tiles);
          EXPECT_EQ(got.scalar_type(), at::kFloat);
          EXPECT_TRUE(at::allclose(got.to(at::kDouble), want, 1e-5, 1e-4)) << c10::toString(dtype) << " " << in << " " << out;
        }
      }
}

TEST(RowLinear, ARowsBytesDependNeitherOnTheRowsBesideItNorOnTheThreads) {
  for (const auto& [dtype, tiles] : {std::pair{at::kFloat, true}, {at::kBFloat16, true}, {at::kBFloat16, false}})
    for (const auto& [in, out] : std::vector<std::pair<std::int64_t, std::int64_t>>{{83, 1500}, {2100, 13}}) {  // also longer than one block of inputs
      Given given(dtype);
      const Linear linear{Scope(given), in, out};
      const at::Tensor x = at::randn({110, in});  // more rows than are taken at once
      set_threads(1);
      const at::Tensor all = row_linear(x, linear, tiles);
      for (const int threads : {1, 2, 3}) {
        set_threads(threads);
        for (const std::int64_t rows : {1, 2, 4, 6, 7, 13, 98})
          EXPECT_TRUE(same_bytes(row_linear(x.narrow(0, 0, rows), linear, tiles), all.narrow(0, 0, rows))) << rows;
        EXPECT_TRUE(same_bytes(row_linear(x.narrow(0, 95, 3), linear, tiles), all.narrow(0, 95, 3)));
      }
    }
  set_threads(1);
}

TEST(RowLinear, WhatIsNoNumberStaysInItsRow) {
  Given given(at::kBFloat16);
  const Linear linear{Scope(given), 40, 33};
  const at::Tensor x = at::randn({5, 40});
  const at::Tensor clean = row_linear(x, linear);
  x[1][3] = INFINITY, x[2][39] = NAN, x[3][0] = 3e38;
  const at::Tensor got = row_linear(x, linear);
  EXPECT_TRUE(got[1].isinf().all().item<bool>());
  EXPECT_TRUE(got[2].isnan().all().item<bool>());
  EXPECT_TRUE(same_bytes(got[0], clean[0]) && same_bytes(got[4], clean[4]));
}

}  // namespace
}  // namespace me2::nn
