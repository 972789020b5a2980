// The shared eval_nets case, in place: torchvision 0.26 and the OpenAI CLIP class at full size, weights by formula.
#include "base/error.h"
#include "models/eval_nets.h"
#include "support/golden.h"
#include "support/manifest.h"
#include "weights/formula.h"

namespace me2::models {
namespace {

struct Net {
  EvalNetKind kind;
  const char* name;    // in the case
  std::vector<const char*> layers;
};
const std::vector<Net> kNets{{EvalNetKind::alexnet, "alexnet", {"features.4", "features.11"}}, {EvalNetKind::inception, "inception_v3", {"avgpool"}},
                             {EvalNetKind::effnet, "efficientnet_b1", {"avgpool"}}, {EvalNetKind::swav, "resnet50_swav", {"avgpool"}},
                             {EvalNetKind::clip, "clip", {"image_embed"}}};

weights::StateDict formula(const std::string& manifest, float gain) { return {manifest, weights::formula_entries(test::manifest(manifest), gain), nullptr}; }

TEST(EvalNets, Golden) {
  ME2_NEEDS_GOLDEN("eval_nets");
  const c10::InferenceMode guard;
  const test::Golden golden("eval_nets");
  const at::Tensor images = golden.in("images").to(at::kFloat).div(255);
  for (const auto& [kind, name, layers] : kNets) {
    auto manifest = golden.config["manifests"][name].get<std::string>();
    manifest.resize(manifest.size() - 5);  // .json
    const auto net = load_eval_net(kind, formula(manifest, golden.config["gain"][name].get<float>()));
    for (const bool antialias : {false, true}) {
      const at::Tensor x = eval_net_input(kind, images, antialias);
      if (!antialias) {
        const auto s = golden.config["inputs"][name]["stride"].get<std::int64_t>();
        golden.expect(std::string(name) + "_input_stride", x.slice(2, 0, c10::nullopt, s).slice(3, 0, c10::nullopt, s), 2e-5);
      }
      const auto got = (*net)(x);
      for (std::size_t k = 0; k < layers.size(); ++k) {
        const auto output = std::string(name) + "_" + layers[k] + (antialias ? "_antialias" : "");
        const auto s = golden.config["outputs"][output]["stride"].get<std::int64_t>();
        EXPECT_EQ(got[k].size(1), golden.config["outputs"][output]["full_length"].get<std::int64_t>()) << output;
        golden.expect(output, got[k].slice(1, 0, c10::nullopt, s), golden.config["tolerance"][output].get<double>());
      }
    }
  }
}

TEST(EvalNets, TheFileOfAnotherNetworkIsRefusedByName) {
  try {
    load_eval_net(EvalNetKind::inception, formula("alexnet", 1));
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("Conv2d_1a_3x3"), std::string::npos) << e.what();
  }
}

TEST(EvalNets, SwavFilesKeepTheirPrefixAndHeads) {
  auto entries = weights::formula_entries(test::manifest("resnet50"), 1);
  weights::StateDict::Entries prefixed;
  for (auto& [key, entry] : entries)
    if (!key.starts_with("fc.")) prefixed["module." + key] = entry;
  prefixed["module.projection_head.0.weight"] = entries.at("conv1.weight");
  EXPECT_NO_THROW(load_eval_net(EvalNetKind::swav, {"swav", prefixed, nullptr}));
}

}  // namespace
}  // namespace me2::models
