// Which of several draws is kept. The pictures are those of tests/golden/openclip_visual, whose tokens open_clip wrote down: the
// expected choice comes from them, not from our tower.
#include "diffusion/select_draw.h"

#include <cmath>

#include <c10/core/InferenceMode.h>

#include "base/error.h"
#include "support/golden.h"

namespace me2::diffusion {
namespace {

struct Case {
  test::Golden g{"openclip_visual"};
  std::int64_t side;
  at::Tensor truth;  // [1, T, D] open_clip's tokens of picture a
  Case() : side(g.in("image_a_u8").size(3)), truth(g.out("tokens_a")) {}
  at::Tensor picture(const char* name) const { return g.in(std::string("image_") + name + "_u8").to(at::kFloat) / 255; }
};

// The cosine of two grids, written out in float64.
double cosine(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.flatten().to(at::kDouble), y = b.flatten().to(at::kDouble);
  return at::dot(x, y).item<double>() / std::sqrt(at::dot(x, x).item<double>() * at::dot(y, y).item<double>());
}

TEST(SelectDraw, KeepsTheDrawWhoseTokensAreTheSamples) {
  const Case c;
  const c10::InferenceMode inference;
  const DrawSelector selector(weights::StateDict::open(c.g.dir), at::kFloat, at::kCPU);
  const at::Tensor a = c.picture("a"), dark = a * 0.3, mirrored = a.flip({3});
  // Sample 0 was decoded from the tokens of picture a; sample 1 from those of its mirror image.
  const at::Tensor mirror_tokens = [&] {
    nn::Loader loader(weights::StateDict::open(c.g.dir).sub("visual."));
    const nn::Scope scope(loader);
    const models::OpenClipVision tower(scope, models::OpenClipVisionConfig::detect(scope, c.g.config));
    return tower(models::clip_pixels(mirrored, tower.config.image_size, true)).tokens;
  }();
  const at::Tensor tokens = at::cat({c.truth, mirror_tokens});
  const at::Tensor agreement = selector.agreement(at::cat({dark, mirrored, a, dark, mirrored, a}), tokens);
  ASSERT_EQ(agreement.sizes(), (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(agreement[0].argmax().item<int>(), 2);
  EXPECT_EQ(agreement[1].argmax().item<int>(), 1);
  // Draw against sample, both of known tokens.
  EXPECT_NEAR(agreement[0][2].item<double>(), 1, 1e-5);
  EXPECT_NEAR(agreement[1][1].item<double>(), 1, 1e-5);
  EXPECT_NEAR(agreement[0][1].item<double>(), cosine(c.truth, mirror_tokens), 1e-5);
  EXPECT_NEAR(agreement[1][2].item<double>(), cosine(c.truth, mirror_tokens), 1e-5);
  EXPECT_LT(agreement[0][1].item<double>(), 0.9999);  // the choice above was one
}

TEST(SelectDraw, ATowerTrainedWithoutTheSqueezeIsGivenPixelsWithoutIt) {
  const Case c;
  const c10::InferenceMode inference;
  auto dict = weights::StateDict::open(c.g.dir);
  Json config = dict.config();
  config["clip_squeeze"] = false;  // as me2-embed encoder writes it
  weights::StateDict::Entries entries;
  for (const auto& name : dict.names()) entries[name] = {dict.shape(name), dict.dtype(name), [dict, name] { return dict.get(name); }};
  const DrawSelector plain({"plain", entries, std::make_shared<const Json>(config)}, at::kFloat, at::kCPU);
  // (x + 1) / 2 of a squeezed picture and x of one that already was are the same pixels.
  EXPECT_NEAR(plain.agreement((c.picture("a") + 1) / 2, c.truth)[0][0].item<double>(), 1, 1e-5);
  EXPECT_LT(plain.agreement(c.picture("a"), c.truth)[0][0].item<double>(), 0.9999);
}

TEST(SelectDraw, TokensOfAnotherTowerAreRefused) {
  const Case c;
  const c10::InferenceMode inference;
  const DrawSelector selector(weights::StateDict::open(c.g.dir), at::kFloat, at::kCPU);
  EXPECT_THROW(selector.agreement(c.picture("a"), at::zeros({1, 3, 5})), Error);
}

}  // namespace
}  // namespace me2::diffusion
