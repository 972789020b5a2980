#include "train/refiner_train.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "base/json.h"
#include "support/temp_dir.h"
#include "weights/state_dict.h"

namespace me2::train {
namespace {

constexpr std::int64_t kContext = 7, kVocabulary = 20;

// A text tower as me2-embed encoder saves it, of random weights.
struct Tower {
  test::TempDir dir;
  std::string path = dir / "encoder";
  Tower() {
    const Json config{{"open_clip", {{"embed_dim", 6}, {"text_cfg", {{"context_length", kContext}, {"vocab_size", kVocabulary}, {"width", 8}, {"heads", 2}, {"layers", 3}}}}}};
    nn::Initialiser source(3);
    const models::OpenClipText text(nn::Scope(source), models::OpenClipTextConfig::from_json(config));
    std::map<std::string, at::Tensor> tensors;
    for (const auto& named : source.made()) tensors[named.name] = named.tensor.detach() + 0.1;  // biases too: zeros hide what is swapped
    weights::save_model_dir(path, config, tensors);
  }
};

diffusion::PromptIds ids(std::int64_t n, std::int64_t from) {
  at::Tensor a = (at::arange(n * kContext, at::kLong).view({n, kContext}) + from).remainder(kVocabulary - 1);
  a.select(1, kContext - 1).fill_(kVocabulary - 1);  // the end of text is the largest id
  return {a, a.clone()};
}

// Hugging Face's form of a tower and OpenCLIP's are the same network: both give the same states on the same ids. (SDXL takes the state
// that enters the last layer of each.)
TEST(SdxlText, BothFormsOfTheTowerGiveTheSameStates) {
  const Tower tower;
  const auto made = sdxl_text(weights::StateDict::open(tower.path));
  const diffusion::SdxlTextEncoders both(weights::StateDict::from_tensors(made.tensors), "conditioner.embedders.0.", "conditioner.embedders.1.", made.config, at::kFloat, at::kCPU);
  EXPECT_EQ(both.context(), kContext);
  ASSERT_EQ(both.width(), 16);
  const auto said = both(ids(2, 0));
  ASSERT_EQ(said.crossattn.sizes(), (std::vector<std::int64_t>{2, kContext, 16}));
  EXPECT_GT(said.crossattn.std().item<double>(), 1e-3);
  EXPECT_LE((said.crossattn.slice(2, 0, 8) - said.crossattn.slice(2, 8, 16)).abs().max().item<double>(), 1e-5);
  EXPECT_EQ(said.pooled.sizes(), (std::vector<std::int64_t>{2, 6}));
}

TEST(SdxlText, AModelWithoutATextTowerIsNamed) {
  const auto dict = weights::StateDict::from_tensors({{"visual.proj", at::zeros({2, 2})}});
  EXPECT_THROW(sdxl_text(dict), Error);
}

TEST(CaptionCondition, TakesACaptionOfThePictureAndNoneWhereDropped) {
  const Tower tower;
  const auto made = sdxl_text(weights::StateDict::open(tower.path));
  const diffusion::SdxlTextEncoders text(weights::StateDict::from_tensors(made.tensors), "conditioner.embedders.0.", "conditioner.embedders.1.", made.config, at::kFloat, at::kCPU);
  UnetStart start(weights::StateDict(), 5, at::kCPU);
  auto sizes = models::UnetConfig::parse(Json{{"model_channels", 16}, {"num_res_blocks", 1}, {"channel_mult", {1}}, {"transformer_depth", {1}},
                                              {"attention_resolutions", {1}}, {"num_head_channels", 8}, {"adm_in_channels", 6 + 6 * 4}, {"norm_groups", 8}});
  sizes.context_dim = text.width();
  const models::UnclipUnet unet(nn::Scope(start), sizes);
  const CaptionIds captions{ids(6, 0), ids(1, 9), 2};  // three pictures, two captions each
  const auto pooled = [&](std::int64_t picture, bool drop, std::int64_t step) {
    return caption_condition(text, unet, captions, 64, 64, {picture}, at::full({1}, drop, at::kBool), 1, step, at::kCPU).vector.slice(1, 0, 6);
  };
  const at::Tensor every = text(captions.all).pooled, nothing = text(captions.empty).pooled;
  const auto equal = [](const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>() < 1e-5; };
  bool first = false, second = false;
  for (std::int64_t step = 0; step < 16; ++step) {
    const at::Tensor p = pooled(1, false, step);
    first |= equal(p[0], every[2]), second |= equal(p[0], every[3]);
    EXPECT_TRUE(equal(p[0], every[2]) || equal(p[0], every[3])) << step;
    EXPECT_TRUE(equal(pooled(1, true, step)[0], nothing[0])) << step;
  }
  EXPECT_TRUE(first && second);  // both captions have their turn
}

}  // namespace
}  // namespace me2::train
