// The shared eval_nets case, in place: torchvision 0.26 and the OpenAI CLIP class at full size, weights by formula.
#include "base/error.h"
#include "models/eval_nets.h"
#include "support/eval_nets_case.h"
#include "weights/formula.h"

namespace me2::models {
namespace {

weights::StateDict formula(const std::string& manifest, float gain) { return {manifest, weights::formula_entries(test::manifest(manifest), gain), nullptr}; }

TEST(EvalNets, Golden) {
  ME2_NEEDS_GOLDEN("eval_nets");
  test::expect_eval_nets(test::Golden("eval_nets"));
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
