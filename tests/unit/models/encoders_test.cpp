// The image and text encoders against the reference implementation's outputs (tests/golden/*, made by open_clip 2.24,
// transformers 4.37 and the MindEye2 repository; see docs/testing.md).
#include "models/clip_text.h"
#include "models/convnext.h"
#include "models/open_clip.h"
#include "support/golden.h"

namespace me2::models {
namespace {

using test::Golden;

double tolerance(const Golden& g) { return g.config.at("tolerance").get<double>(); }

TEST(OpenClipVision, EqualsTheReference) {
  ME2_NEEDS_GOLDEN("openclip_visual");
  const Golden g("openclip_visual");
  nn::Loader loader(weights::StateDict::open(g.dir).sub("visual."));
  const nn::Scope scope(loader);
  const OpenClipVision tower(scope, OpenClipVisionConfig::detect(scope, g.config));
  loader.finish();
  c10::InferenceMode guard;
  for (const std::string image : {"a", "b", "c"}) {  // 224 x 224; shrunk from 300 x 260; enlarged from 96 x 130
    const auto x = clip_pixels(g.in("image_" + image + "_u8").to(at::kFloat) / 255, tower.config.image_size, true);
    using at::indexing::Slice;
    g.expect("preprocessed_" + image + "_stride8", x.index({Slice(), Slice(), Slice(0, at::nullopt, 8), Slice(0, at::nullopt, 8)}), tolerance(g));
    const auto out = tower(x);
    g.expect("tokens_" + image, out.tokens, tolerance(g));
    g.expect("pooled_" + image, out.pooled, tolerance(g));
  }
}

TEST(OpenClipText, EqualsTheReference) {
  ME2_NEEDS_GOLDEN("openclip_text");
  const Golden g("openclip_text");
  nn::Loader loader(weights::StateDict::open(g.dir));
  loader.ignore("logit_scale");
  const nn::Scope scope(loader);
  const OpenClipText tower(scope, OpenClipTextConfig::detect(scope, g.config));
  loader.finish();
  c10::InferenceMode guard;
  const auto out = tower(g.in("tokens"));
  g.expect("penultimate", out.penultimate, tolerance(g));
  g.expect("last_before_ln_final", out.last, tolerance(g));
  g.expect("pooled", out.pooled, tolerance(g));
}

TEST(ClipText, EqualsTheReference) {
  ME2_NEEDS_GOLDEN("clip_text_hf");
  const Golden g("clip_text_hf");
  nn::Loader loader(weights::StateDict::open(g.dir).sub("text_model."));
  const nn::Scope scope(loader);
  const ClipText tower(scope, ClipTextConfig::detect(scope, g.config));
  loader.finish();
  c10::InferenceMode guard;
  const auto out = tower(g.in("tokens"));
  g.expect("hidden", out.hidden.at(g.config.at("layer_idx").get<int>()), tolerance(g));
  g.expect("last_hidden_state", out.last_hidden_state, tolerance(g));
  g.expect("pooled", out.pooled, tolerance(g));
}

TEST(ConvNext, EqualsTheReference) {
  ME2_NEEDS_GOLDEN("convnext_xl");
  const Golden g("convnext_xl");
  nn::Loader loader(weights::StateDict::open(g.dir));
  const nn::Scope scope(loader);
  const ConvNext tower(scope, ConvNextConfig::detect(scope));
  loader.finish();
  c10::InferenceMode guard;
  const auto x = ConvNext::normalise(g.in("image"));
  g.expect("normalized", x, tolerance(g));
  const auto stem = tower.stem(x);
  g.expect("stem", stem, tolerance(g));
  g.expect("stage0", tower.stage(0, stem), tolerance(g));
  const auto out = tower(g.in("image"));
  g.expect("tokens", out.tokens, tolerance(g));
  g.expect("tokens_mean", out.tokens.mean(1), tolerance(g));
  g.expect("embeds", out.embeds, tolerance(g));
}

}  // namespace
}  // namespace me2::models
