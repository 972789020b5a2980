// Names, shapes and sizes of the full-size module: the manifests list the official state dicts, and the three parameter counts
// are those printed by the official notebooks for subject 1 at hidden 4096.
#include "models/mindeye.h"

#include "base/error.h"
#include "support/manifest.h"

namespace me2::models {
namespace {

const std::vector<std::int64_t> kVoxels{15724, 14278, 15226, 13153, 13039, 17907, 12682, 14386};  // subjects 1..8

MindEyeConfig config(std::vector<std::int64_t> voxels, std::int64_t hidden, bool lowlevel = true) {
  MindEyeConfig c;
  c.voxels = std::move(voxels);
  c.backbone.hidden = hidden;
  c.backbone.lowlevel = lowlevel;
  return c;
}

void expect_manifest(const std::string& name, const MindEyeConfig& config) {
  nn::ShapeLister lister;
  const MindEye model(lister, config);
  test::expect_manifest(lister, name);
}

TEST(MindEye, ManifestOneSubject4096) { expect_manifest("mindeye2_h4096_1subj", config({kVoxels[0]}, 4096)); }
TEST(MindEye, ManifestEightSubjects4096) { expect_manifest("mindeye2_h4096_8subj", config(kVoxels, 4096)); }
TEST(MindEye, ManifestSevenSubjects4096) {
  expect_manifest("mindeye2_h4096_7subj_without_subj01", config({kVoxels.begin() + 1, kVoxels.end()}, 4096));
}
TEST(MindEye, ManifestOneSubject1024) { expect_manifest("mindeye2_h1024_1subj", config({kVoxels[0]}, 1024)); }
TEST(MindEye, ManifestOneSubject1024WithoutLowLevel) { expect_manifest("mindeye2_h1024_1subj_no_blurry", config({kVoxels[0]}, 1024, false)); }

TEST(MindEye, ParameterCountsAreThoseOfTheNotebooks) {
  const auto count = [](std::int64_t hidden, bool lowlevel, const std::string& prefix) {
    nn::ShapeLister lister;
    const MindEye model(lister, config({kVoxels[0]}, hidden, lowlevel));
    std::int64_t n = 0;
    for (const auto& made : lister.made())
      if (!made.buffer && made.name.starts_with(prefix)) n += made.tensor.numel();
    return n;
  };
  EXPECT_EQ(count(4096, true, "ridge."), 64409600);
  EXPECT_EQ(count(4096, true, "backbone."), 1903020028);
  // The notebook counts the rotary frequencies once: six names share one storage, and they are buffers here.
  EXPECT_EQ(count(4096, true, "diffusion_prior.") + 16, 259865216);
  EXPECT_EQ(count(1024, false, "backbone."), 453360280);
  EXPECT_EQ(count(1024, true, "backbone."), 458885116);
}

TEST(MindEye, SizesComeBackFromTheShapesOfAFreshModel) {
  MindEyeConfig c = config({12, 9}, 32);
  c.backbone.seq_len = 2;
  c.backbone.blocks = 3;
  c.backbone.tokens = 5;
  c.backbone.width = 24;
  c.backbone.head.grid = 2;  // 64 x 64 images: an 8 x 8 latent
  c.backbone.head.widths = {32, 32, 64};
  c.backbone.head.aux_width = 20;
  c.match_prior(2, 3, 8, 4);
  nn::Initialiser fresh(3);
  const MindEye model(fresh, c);
  std::map<std::string, at::Tensor> tensors;
  for (const auto& made : fresh.made()) tensors[made.name] = made.tensor.detach();
  nn::Loader loader(weights::StateDict::from_tensors(tensors));
  const auto found = MindEyeConfig::detect(loader);
  EXPECT_EQ(found.voxels, c.voxels);
  EXPECT_EQ(found.backbone.seq_len, 2);
  EXPECT_EQ(found.backbone.blocks, 3);
  EXPECT_EQ(found.backbone.tokens, 5);
  EXPECT_EQ(found.backbone.head.grid, 2);
  EXPECT_EQ(found.backbone.head.widths, c.backbone.head.widths);
  EXPECT_EQ(found.prior.net.depth, 2);
  EXPECT_EQ(found.prior.net.heads, 3);
  const MindEye loaded(loader, found);
  loader.finish();
  const auto out = (*loaded.backbone)(at::randn({2, 2, 32}));
  EXPECT_EQ(out.latent.sizes().vec(), (std::vector<std::int64_t>{2, 4, 8, 8}));
  EXPECT_EQ(out.aux.sizes().vec(), (std::vector<std::int64_t>{2, 4, 20}));
}

TEST(MindEye, RidgePositions) {
  const auto dict = [](std::size_t ridges) {
    std::map<std::string, at::Tensor> tensors;
    for (std::size_t i = 0; i < ridges; ++i) tensors[fmt::format("ridge.linears.{}.weight", i)] = at::zeros({2, 3});
    return weights::StateDict::from_tensors(tensors);
  };
  EXPECT_EQ(ridge_position(dict(1), "subj05"), 0);  // a single-subject checkpoint is that subject's
  EXPECT_EQ(ridge_position(dict(8), "subj05"), 4);
  EXPECT_EQ(ridge_position(dict(8), "5"), 4);
  EXPECT_THROW(ridge_position(dict(8), "subj09"), Error);
  EXPECT_THROW(ridge_position(dict(8), "anna"), Error);
  EXPECT_THROW(ridge_position(dict(0), "subj01"), Error);
}

}  // namespace
}  // namespace me2::models
