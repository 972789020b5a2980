// tests/golden/twins/eval_nets: torchvision's networks and a small open_clip tower, weights by formula, one rendered scene (see make.py there).
#include "support/eval_nets_case.h"

namespace me2::models {
namespace {

TEST(EvalNets, EqualTorchvisionAndOpenClip) { test::expect_eval_nets(test::Golden("twins/eval_nets")); }

}  // namespace
}  // namespace me2::models
