// Ridge and backbone against the reference: goldens backbone (seq_len 1, low-level head) and backbone_seq (seq_len 3, gradient).
#include "models/backbone.h"

#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/GradMode.h>

#include "models/ridge.h"
#include "support/golden.h"

namespace me2::models {
namespace {

struct Case {
  test::Golden golden{"backbone"};
  double tolerance = golden.config["tolerance"];
  nn::Loader loader{weights::StateDict::open(golden.dir)};  // ridge.* from the file, backbone.* by formula
  Backbone net{nn::Scope(loader).sub("backbone"), BackboneConfig::detect(nn::Scope(loader).sub("backbone"))};
  Ridge ridge{nn::Scope(loader).sub("ridge"), Ridge::detect_voxels(nn::Scope(loader).sub("ridge")), net.config.hidden};
  at::Tensor latent() const {
    return at::cat({ridge(golden.in("voxels_subj0").select(1, 0), 0), ridge(golden.in("voxels_subj1").select(1, 0), 1)}).unsqueeze(1);
  }
};

TEST(Backbone, GoldenOutputsWithTheLowLevelHead) {
  ME2_NEEDS_GOLDEN("backbone");
  const c10::NoGradGuard no_graph;
  Case c;
  c.loader.finish();
  const at::Tensor latent = c.latent();
  c.golden.expect("latent", latent, c.tolerance);
  const auto out = c.net(latent);
  c.golden.expect("backbone", out.tokens, c.tolerance);
  c.golden.expect("clip_voxels", out.clip, c.tolerance);
  c.golden.expect("blurry", out.latent, c.tolerance);
  c.golden.expect("aux", out.aux, c.tolerance);
  const auto& head = *c.net.lowlevel;
  const at::Tensor maps = head.maps(c.net.mix(latent.narrow(0, 0, 1)));
  c.golden.expect("row0.bnorm", maps, c.tolerance);
  const at::Tensor conv_in = head.bupsampler.conv_in(maps);
  c.golden.expect("row0.bupsampler.conv_in", conv_in, c.tolerance);
  c.golden.expect("row0.bupsampler.mid_block", head.bupsampler.mid_block(conv_in), c.tolerance);
}

TEST(Backbone, GoldenAverageOfThreeRepeats) {
  ME2_NEEDS_GOLDEN("backbone");
  Case c;
  const at::Tensor voxels = c.golden.in("test_voxels");  // [sample, repeat, voxel]
  at::Tensor tokens, clip, latent;
  for (std::int64_t rep = 0; rep < voxels.size(1); ++rep) {
    const auto out = c.net.infer(c.ridge(voxels.select(1, rep), 0).unsqueeze(1));
    tokens = rep ? tokens + out.tokens : out.tokens;
    clip = rep ? clip + out.clip : out.clip;
    latent = rep ? latent + out.latent : out.latent;
  }
  const auto repeats = static_cast<double>(voxels.size(1));
  c.golden.expect("avg_backbone", tokens / repeats, c.tolerance);
  c.golden.expect("avg_clip_voxels", clip / repeats, c.tolerance);
  c.golden.expect("avg_blurry", latent / repeats, c.tolerance);
}

TEST(Backbone, MixerBlocksOverHiddenHaveNoInfluenceAtSeqLenOne) {  // so that infer() may leave them out
  ME2_NEEDS_GOLDEN("backbone");
  Case c;
  nn::Training training{at::detail::createCPUGenerator(1)};
  c.net.config.dropout = 0;
  const at::Tensor latent = c.latent();
  EXPECT_LE((c.net.mix(latent) - c.net.mix(latent, &training)).abs().max().item<double>(), 1e-6);  // rounding of 1 x 1 products
}

TEST(Backbone, MixerBlocksOverHiddenAreNotComputedAtInference) {
  ME2_NEEDS_GOLDEN("backbone");
  const c10::NoGradGuard no_graph;
  Case c;
  const at::Tensor latent = c.latent();
  const auto before = c.net.infer(latent);
  for (auto& block : c.net.mixer_blocks1) block.first.weight = at::full_like(block.first.weight, std::numeric_limits<float>::quiet_NaN());
  const auto after = c.net.infer(latent);
  EXPECT_TRUE(at::equal(before.tokens, after.tokens) && at::equal(before.clip, after.clip) && at::equal(before.latent, after.latent));
}

TEST(Backbone, ARowIsTheSameBytesWhateverIsBesideIt) {
  ME2_NEEDS_GOLDEN("backbone");
  Case c;
  const at::Tensor latent = c.latent();
  const auto all = c.net.infer(latent);
  for (std::int64_t i = 0; i < latent.size(0); ++i) {
    const auto one = c.net.infer(latent.narrow(0, i, 1));
    EXPECT_TRUE(at::equal(one.tokens[0], all.tokens[i]));
    EXPECT_TRUE(at::equal(one.clip[0], all.clip[i]));
    EXPECT_TRUE(at::equal(one.latent[0], all.latent[i]));
  }
}

TEST(Backbone, DropoutKeepsTheExpectationAndFollowsItsGenerator) {
  ME2_NEEDS_GOLDEN("backbone");
  const at::Tensor x = at::ones({1000, 100});
  nn::Training a{at::detail::createCPUGenerator(7)}, b{at::detail::createCPUGenerator(7)};
  const at::Tensor dropped = nn::dropout(x, .15, &a);
  EXPECT_TRUE(at::equal(dropped, nn::dropout(x, .15, &b)));
  EXPECT_NEAR(dropped.mean().item<double>(), 1, .006);                       // 5 standard errors of 1e5 draws
  EXPECT_NEAR((dropped == 0).to(at::kFloat).mean().item<double>(), .15, .006);
}

TEST(BackboneSeq, GoldenWithInputGradient) {
  ME2_NEEDS_GOLDEN("backbone_seq");
  const test::Golden golden("backbone_seq");
  const double tolerance = golden.config["tolerance"];
  nn::Loader loader(weights::StateDict::open(golden.model()));
  const Backbone net(nn::Scope(loader), BackboneConfig::detect(nn::Scope(loader)));
  loader.finish();
  EXPECT_FALSE(net.lowlevel);
  const at::Tensor x = golden.in("x").set_requires_grad(true);
  const at::Tensor first = net.mixer_blocks1[0](x);
  golden.expect("mixer_blocks1_0", first, tolerance);
  golden.expect("mixer_blocks2_0", net.mixer_blocks2[0]((first + x).transpose(1, 2)), tolerance);
  golden.expect("mixed_flat", net.mix(x), tolerance);
  const auto out = net(x);
  golden.expect("backbone", out.tokens, tolerance);
  golden.expect("clip_voxels", out.clip, tolerance);
  (out.clip * golden.in("cotangent")).sum().backward();
  golden.expect("grad_x", x.grad(), tolerance);
  const auto inferred = net.infer(golden.in("x"));
  golden.expect("clip_voxels", inferred.clip, tolerance);
}

}  // namespace
}  // namespace me2::models
