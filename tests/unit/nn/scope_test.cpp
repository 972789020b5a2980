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
