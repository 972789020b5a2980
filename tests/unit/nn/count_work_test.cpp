// The expected numbers are products of shapes, written out.
#include "nn/count_work.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "nn/attention.h"
#include "nn/layers.h"

namespace me2::nn {
namespace {

class CountWork : public ::testing::Test {
 protected:
  Initialiser source{1, at::kMeta};
  Scope scope{source};
};

TEST_F(CountWork, ALinearLayerIsTwoForEachWeightAndRow) {
  const Linear linear(scope, 30, 50);
  const c10::InferenceMode guard;
  const Work work = count_work([&] { linear(meta({4, 7, 30})); });
  EXPECT_EQ(work.flops, 2.0 * 4 * 7 * 30 * 50);
  EXPECT_EQ(work.weights, (30 * 50 + 50) * 4u);
  EXPECT_GE(work.held, 4u * 7 * 50 * 4 + 4u * 7 * 30 * 4);  // its input was made inside as well
  EXPECT_LT(work.held, 2 * (4u * 7 * 50 * 4 + 4u * 7 * 30 * 4));
}

TEST_F(CountWork, AConvolutionIsTwoForEachTapAndPixel) {
  const Conv2d conv(scope, 8, 16, 3, 2, 1), depthwise(scope.sub("d"), 16, 16, 7, 1, 3, true, 16);
  const c10::InferenceMode guard;
  EXPECT_EQ(count_work([&] { conv(meta({2, 8, 32, 20})); }).flops, 2.0 * 2 * 16 * 16 * 10 * 8 * 9);
  EXPECT_EQ(count_work([&] { depthwise(meta({2, 16, 5, 5})); }).flops, 2.0 * 2 * 16 * 25 * 49);
}

TEST_F(CountWork, AttentionIsTwoProductsAndKeepsNoMatrixOfScores) {
  const c10::InferenceMode guard;
  const at::Tensor q = meta({1, 1000, 64}), k = meta({1, 500, 64});
  const Work work = count_work([&] { attention(q, k, k, 2); });
  EXPECT_EQ(work.flops, 2 * 2.0 * 1000 * 500 * 64);
  EXPECT_LT(work.held, 1000u * 500 * 4);  // one head's scores alone
}

TEST_F(CountWork, WhatIsGoneIsNotHeldAndWhatAGraphNeedsIs) {
  const Linear linear(scope, 256, 256, false);
  const auto chain = [&] {
    at::Tensor x = meta({64, 256});
    for (int i = 0; i < 10; ++i) x = at::relu(linear(x));
    return x;
  };
  Work plain, with_graph;
  {
    const c10::InferenceMode guard;
    plain = count_work([&] { chain(); });
  }
  at::Tensor kept;
  with_graph = count_work([&] { kept = chain(); });
  const std::uint64_t one = 64 * 256 * 4;
  EXPECT_LE(plain.held, 3 * one);
  EXPECT_GE(with_graph.held, 10 * one);
  EXPECT_EQ(plain.flops, with_graph.flops);
  const Work step = training_step(with_graph);
  EXPECT_EQ(step.flops, 3 * with_graph.flops);
  EXPECT_EQ(step.held, with_graph.held + 3 * 256u * 256 * 4);  // gradients and two moments
  EXPECT_EQ(training_step(with_graph, true).held - step.held, 256u * 256 * 4);
}

TEST_F(CountWork, InPlaceAndViewsAddNothing) {
  const c10::InferenceMode guard;
  const Work work = count_work([&] {
    at::Tensor x = meta({100, 100});
    x.add_(1).mul_(2);
    x.view({10, 1000}).t();
  });
  EXPECT_EQ(work.held, 100u * 100 * 4);
  EXPECT_EQ(work.weights, 0u);
}

TEST(WorkTest, SecondsFallWithThreadsAndGrowWithWork) {
  Work work;
  work.flops = 1e12, work.bytes = 1e9, work.calls = 1000;
  EXPECT_GT(work.seconds(1), work.seconds(4));
  EXPECT_NEAR(work.times(10).seconds(1) - Work::kStartSeconds, 10 * (work.seconds(1) - Work::kStartSeconds), 1e-6);
  EXPECT_EQ(work.times(10).held, work.held);
}

}  // namespace
}  // namespace me2::nn
