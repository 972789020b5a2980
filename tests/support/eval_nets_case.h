// A case of features in the networks of the evaluation: shared at full size (tests/long), committed with a small CLIP tower (tests/unit).
#pragma once
#include "models/eval_nets.h"
#include "support/golden.h"
#include "support/manifest.h"
#include "weights/formula.h"

namespace me2::test {

inline void expect_eval_nets(const Golden& golden) {
  using models::EvalNetKind;
  struct Net {
    EvalNetKind kind;
    const char* name;  // in the case
    std::vector<const char*> layers;
  };
  const std::vector<Net> nets{{EvalNetKind::alexnet, "alexnet", {"features.4", "features.11"}}, {EvalNetKind::inception, "inception_v3", {"avgpool"}},
                              {EvalNetKind::effnet, "efficientnet_b1", {"avgpool"}}, {EvalNetKind::swav, "resnet50_swav", {"avgpool"}},
                              {EvalNetKind::clip, "clip", {"image_embed"}}};
  const c10::InferenceMode guard;
  const at::Tensor images = golden.in("images").to(at::kFloat).div(255);
  for (const auto& [kind, name, layers] : nets) {
    std::map<std::string, nn::Shape> shapes;
    if (golden.config["manifests"].contains(name)) {
      auto file = golden.config["manifests"][name].get<std::string>();
      file.resize(file.size() - 5);  // .json
      shapes = manifest(file);
    } else {
      for (const auto& [key, shape] : golden.config["shapes"][name].items()) shapes[key] = shape.get<nn::Shape>();
    }
    const auto net = models::load_eval_net(kind, {name, weights::formula_entries(shapes, golden.config["gain"][name].get<float>()), nullptr});
    for (const bool antialias : {false, true}) {
      const at::Tensor x = models::eval_net_input(kind, images, antialias);
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

}  // namespace me2::test
