// Single-file checkpoints as they are published: parts that are missing are named; averaged copies (model_ema.*) and 16-bit storage
// load like the file without them.
#include <ATen/core/grad_mode.h>

#include "base/error.h"
#include "diffusion/sdxl_refine.h"
#include "diffusion/unclip.h"
#include "support/golden.h"

namespace me2::diffusion {
namespace {

// The golden's file with some tensors left out, all in another type, or with more of them.
struct Changed {
  weights::StateDict dict;
  weights::StateDict::Entries entries;
  explicit Changed(const test::Golden& g) : dict(weights::StateDict::open(g.dir)) {
    for (const auto& name : dict.names()) entries[name] = {dict.shape(name), dict.dtype(name), [d = dict, name] { return d.get(name); }};
  }
  Changed& without(const std::string& prefix) {
    std::erase_if(entries, [&](const auto& e) { return e.first.starts_with(prefix); });
    return *this;
  }
  Changed& add(const std::string& name, const at::Tensor& t) {
    entries[name] = {t.sizes().vec(), t.scalar_type(), [t] { return t; }};
    return *this;
  }
  weights::StateDict made() const { return {"made.ckpt", entries, std::make_shared<const Json>(dict.config())}; }
};

template <class F>
std::string refusal(const F& f) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.exit(), Exit::data);
    return e.what();
  }
  ADD_FAILURE() << "accepted";
  return "";
}

bool says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(CheckpointParts, AMissingPartOfAnUnclipFileIsNamed) {
  const test::Golden g("unclip_end2end");
  const auto open = [](const Changed& c) { return refusal([&] { UnclipDecoder::open(c.made(), {}); }); };
  EXPECT_TRUE(says(open(Changed(g).without("first_stage_model.")), "lacks its autoencoder"));
  EXPECT_TRUE(says(open(Changed(g).without("model.diffusion_model.")), "no model.diffusion_model.* tensors"));
  for (const auto& [prefix, name] : {std::pair<std::string, std::string>{"model.diffusion_model.", "middle_block.0.in_layers.2.weight"}, {"first_stage_model.", "decoder.conv_in.bias"}}) {
    const std::string text = open(Changed(g).without(prefix + name));
    EXPECT_TRUE(says(text, "tensor " + prefix + name + " is missing") && says(text, "made.ckpt")) << text;  // as it is called in the file
  }
  const std::string odd = open(Changed(g).add("model.diffusion_model.control.weight", at::zeros({1})));  // nothing asks for it: another network
  EXPECT_TRUE(says(odd, "tensor model.diffusion_model.control.weight")) << odd;
}

TEST(CheckpointParts, AMissingPartOfAnSdxlFileIsNamed) {
  const test::Golden g("sdxl_img2img");
  const auto open = [](const Changed& c) { return refusal([&] { SdxlRefiner::open(c.made(), {}); }); };
  EXPECT_TRUE(says(open(Changed(g).without("conditioner.embedders.1.")), "both text encoders"));
  const std::string no_clip = open(Changed(g).without("conditioner.embedders.0."));
  EXPECT_TRUE(says(no_clip, "conditioner.embedders.0.")) << no_clip;
  EXPECT_TRUE(says(open(Changed(g).without("model.diffusion_model.")), "lacks its U-Net"));
  const std::string no_vae = open(Changed(g).without("first_stage_model."));
  EXPECT_TRUE(says(no_vae, "lacks its autoencoder")) << no_vae;
}

TEST(CheckpointParts, AveragedCopiesAndLeftoversChangeNothing) {
  const test::Golden g("unclip_end2end");
  const at::NoGradGuard no_grad;
  Changed c(g);
  for (const auto& name : c.dict.names())  // sgm's LitEma: dots left out, beside its counters
    if (name.starts_with("model.")) {
      std::string flat = name.substr(6);
      std::erase(flat, '.');
      c.add("model_ema." + flat, at::zeros(c.dict.shape(name)));
    }
  c.add("model_ema.decay", at::tensor(0.9999f)).add("model_ema.num_updates", at::tensor(7)).add("first_stage_model.loss.logvar", at::zeros({1}));
  const auto plain = UnclipDecoder::open(c.dict, {}), averaged = UnclipDecoder::open(c.made(), {});
  const at::Tensor tokens = g.in("tokens");
  const UnclipDraws draws{g.in("z").slice(0, 0, 1), g.in("noise").slice(0, 0, 1), g.in("offset").slice(0, 0, 1), g.in("uc_crossattn")};
  EXPECT_TRUE(at::equal(plain.latent(tokens, draws, SamplerKind::euler, 2, 1), averaged.latent(tokens, draws, SamplerKind::euler, 2, 1)));
}

TEST(CheckpointParts, SixteenBitStorageIsCastOnLoad) {  // the golden's values are exact in 16 bits
  const test::Golden g("unclip_end2end");
  const at::NoGradGuard no_grad;
  Changed halved(g), wide(g);
  for (const auto& name : halved.dict.names()) {
    halved.add(name, halved.dict.get(name).to(at::kHalf));
    wide.add(name, halved.dict.get(name).to(at::kFloat));
  }
  const auto a = UnclipDecoder::open(halved.made(), {}), b = UnclipDecoder::open(wide.made(), {});
  const at::Tensor tokens = g.in("tokens");
  const UnclipDraws draws{g.in("z").slice(0, 0, 1), g.in("noise").slice(0, 0, 1), g.in("offset").slice(0, 0, 1), g.in("uc_crossattn")};
  const at::Tensor x = a.latent(tokens, draws, SamplerKind::euler, 2, 1), y = b.latent(tokens, draws, SamplerKind::euler, 2, 1);
  EXPECT_EQ(x.scalar_type(), at::kFloat);
  EXPECT_TRUE(at::equal(x, y));
  EXPECT_TRUE(at::isfinite(x).all().item<bool>());
}

}  // namespace
}  // namespace me2::diffusion
