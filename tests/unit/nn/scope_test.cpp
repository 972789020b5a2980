#include "nn/layers.h"
#include "support/golden.h"

namespace me2::nn {
namespace {

TEST(Scope, LoaderNamesTheMisshapenTensorAndBothShapes) {
  Loader loader(weights::StateDict::from_tensors({{"a.weight", at::zeros({3, 2})}, {"a.bias", at::zeros({3})}}));
  try {
    Linear linear(Scope(loader).sub("a"), 4, 3);
    FAIL();
  } catch (const std::exception& e) {
    EXPECT_STREQ(e.what(), "memory: tensor a.weight has shape [3, 2], [3, 4] expected");
  }
}

// A part of a single-file checkpoint: tensors are called what the file calls them.
TEST(Scope, ATensorOfAPartIsNamedAsTheFileHasIt) {
  const auto file = weights::StateDict::from_tensors({{"model.net.a.weight", at::zeros({3, 2})}, {"model.net.odd", at::zeros({1})}});
  const auto refusal = [](const auto& f) -> std::string {
    try {
      f();
    } catch (const std::exception& e) {
      return e.what();
    }
    return "accepted";
  };
  const auto part = file.sub("model.").sub("net.");
  Loader loader(part);
  EXPECT_EQ(refusal([&] { Linear(Scope(loader).sub("a"), 4, 3, false); }), "memory: tensor model.net.a.weight has shape [3, 2], [3, 4] expected");
  EXPECT_EQ(refusal([&] { Linear(Scope(loader).sub("a"), 2, 3); }), "memory: tensor model.net.a.bias is missing (shape [3] expected)");
  EXPECT_EQ(refusal([&] { part.without_prefix("x.").shape("b"); }), "memory: tensor model.net.b is missing");
  Loader whole(part);
  Linear(Scope(whole).sub("a"), 2, 3, false);
  EXPECT_EQ(refusal([&] { whole.finish(); }), "memory: tensor model.net.odd (shape [1]) is not part of this network");
}

TEST(Scope, IntegersAreABufferAndNoWeight) {
  Loader loader(weights::StateDict::from_tensors({{"n", at::ones({2}, at::kInt)}}));
  EXPECT_EQ(Scope(loader).buffer("n", {2}).scalar_type(), at::kInt);
  try {
    Scope(loader).param("n", {2});
    FAIL();
  } catch (const std::exception& e) {
    EXPECT_STREQ(e.what(), "memory: tensor n holds Int, floating-point numbers expected");
  }
}

TEST(Scope, ALargeTensorIsCastInPiecesToTheSameValues) {
  const at::Tensor large = at::randn({4099, 4101});  // 67 MB: three pieces
  Loader loader(weights::StateDict::from_tensors({{"w", large}}), at::kBFloat16);
  EXPECT_TRUE(at::equal(Scope(loader).param("w", {4099, 4101}), large.to(at::kBFloat16)));
  EXPECT_TRUE(large.isfinite().all().item<bool>());  // and the source is what it was
}

TEST(Scope, FinishRefusesATensorNothingAskedFor) {
  Loader loader(weights::StateDict::from_tensors({{"a.weight", at::zeros({3, 2})}, {"a.bias", at::zeros({3})}, {"b", at::zeros({1})}}));
  Linear linear(Scope(loader).sub("a"), 2, 3);
  EXPECT_THROW(loader.finish(), std::exception);
}

}  // namespace
}  // namespace me2::nn
