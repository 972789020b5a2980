#include "weights/identify.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/json.h"

namespace me2::weights {
namespace {

StateDict of_manifest(const std::string& name) {
  StateDict::Entries entries;
  const Json json = read_json_file(std::string(ME2_SOURCE_DIR) + "/tests/manifests/" + name + ".json");
  for (const auto& [key, shape] : json.items()) entries[key] = {shape.get<std::vector<std::int64_t>>(), at::kFloat, nullptr};
  return {name + ".pth", std::move(entries), nullptr};
}

TEST(Identify, KnowsEveryOfficialCheckpoint) {
  const std::map<std::string, std::string> expected{
      {"mindeye2_h4096_1subj", "MindEye2 model"}, {"mindeye2_h1024_1subj_no_blurry", "MindEye2 model"}, {"clip_converter", "CLIP converter"},
      {"git_large_coco", "GIT"}, {"gnet_multisubject", "GNet"}, {"convnext_xlarge_aux_tower", "ConvNeXt"}, {"open_clip_vit_bigG_14", "CLIP model"},
      {"open_clip_vit_L_14", "CLIP model"}, {"openai_clip_vit_B_32", "CLIP model"}, {"sd_image_var_autoenc", "VAE in diffusers"},
      {"sd_xl_base_diffusion_engine", "SDXL"}, {"unclip6_diffusion_engine", "unCLIP"}, {"alexnet", "AlexNet"}, {"efficientnet_b1", "EfficientNet"},
      {"inception_v3", "Inception"}, {"resnet50", "ResNet"}};
  for (const auto& [name, words] : expected) EXPECT_THAT(identify(of_manifest(name)), testing::HasSubstr(words)) << name;
}

TEST(Identify, FindsAPartBehindItsPrefix) {
  const auto engine = of_manifest("unclip6_diffusion_engine");
  EXPECT_TRUE(part_with(engine, "time_embed.0.weight").has("input_blocks.0.0.weight"));
  EXPECT_TRUE(part_with(engine, "decoder.conv_in.weight").has("encoder.conv_in.weight"));
  const auto wrapped = StateDict::from_tensors({{"module.linear1.weight", at::zeros({1})}});
  EXPECT_TRUE(part_with(wrapped, "linear1.weight").has("linear1.weight"));
}

TEST(Identify, ACheckpointOfAnotherModelIsNamed) {
  try {
    part_with(of_manifest("git_large_coco"), "time_embed.0.weight");
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "git_large_coco.pth: tensor time_embed.0.weight is missing; this looks like a GIT captioner");
  }
}

}  // namespace
}  // namespace me2::weights
