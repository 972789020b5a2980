#include "train/refiner_train.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "base/error.h"
#include "base/json.h"
#include "base/random.h"
#include "weights/identify.h"

namespace me2::train {

SdxlText sdxl_text(const weights::StateDict& encoder) {
  if (!encoder.has("text_projection") || !encoder.has("token_embedding.weight"))
    throw data_error("{}: no text tower (text_projection expected); this looks like {}", encoder.path(), weights::identify(encoder));
  SdxlText out;
  const std::string hf = "conditioner.embedders.0.transformer.text_model.", clip = "conditioner.embedders.1.model.";
  const auto copy = [&](const std::string& name, const std::string& to) {
    const at::Tensor tensor = encoder.get(name);
    out.tensors[clip + name] = tensor;
    if (!to.empty()) out.tensors[hf + to] = tensor;
  };
  copy("text_projection", "");
  copy("token_embedding.weight", "embeddings.token_embedding.weight");
  copy("positional_embedding", "embeddings.position_embedding.weight");
  for (const char* end : {"weight", "bias"}) copy(std::string("ln_final.") + end, std::string("final_layer_norm.") + end);
  std::int64_t layers = 0;
  for (; encoder.has(fmt::format("transformer.resblocks.{}.ln_1.weight", layers)); ++layers) {
    const std::string from = fmt::format("transformer.resblocks.{}.", layers), to = fmt::format("encoder.layers.{}.", layers);
    for (const std::string end : {"weight", "bias"}) {
      copy(from + "ln_1." + end, to + "layer_norm1." + end);
      copy(from + "ln_2." + end, to + "layer_norm2." + end);
      copy(from + "attn.out_proj." + end, to + "self_attn.out_proj." + end);
      copy(from + "mlp.c_fc." + end, to + "mlp.fc1." + end);
      copy(from + "mlp.c_proj." + end, to + "mlp.fc2." + end);
      copy(from + "attn.in_proj_" + end, "");
      const auto parts = encoder.get(from + "attn.in_proj_" + end).chunk(3);
      const char* names[] = {"q_proj.", "k_proj.", "v_proj."};
      for (std::size_t i = 0; i < 3; ++i) out.tensors[hf + to + "self_attn." + names[i] + end] = parts[i].contiguous();
    }
  }
  const Json& config = encoder.config();
  const Json text = config.is_object() && config.contains("open_clip") ? config["open_clip"].value("text_cfg", Json::object()) : Json::object();
  const auto width = out.tensors[clip + "token_embedding.weight"].size(1);
  const auto heads = text.value("heads", std::max<std::int64_t>(1, width / 64));
  out.config = {{"open_clip", {{"text_cfg", text}}}, {"clip_text", {{"num_attention_heads", heads}, {"hidden_act", "gelu"}}}, {"clip_l_layer_idx", layers - 1}};
  return out;
}

diffusion::Condition caption_condition(const diffusion::SdxlTextEncoders& text, const models::UnclipUnet& unet, const CaptionIds& captions,
                                       double size, double target, const std::vector<std::int64_t>& pictures, const at::Tensor& dropped,
                                       std::uint64_t seed, std::int64_t step, at::Device device) {
  std::vector<std::int64_t> rows;
  Random random(seed, fmt::format("train caption {}", step));
  for (const auto picture : pictures) rows.push_back(picture * captions.choices + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(captions.choices))));
  const at::Tensor row = at::tensor(rows, at::kLong), without = dropped.view({-1, 1});
  const auto pick = [&](const at::Tensor& all, const at::Tensor& empty) { return at::where(without, empty, all.index_select(0, row)).to(device); };
  diffusion::TextCondition said;
  {
    const c10::NoGradGuard frozen;
    said = text({pick(captions.all.clip_l, captions.empty.clip_l), pick(captions.all.open_clip, captions.empty.open_clip)});
  }
  return {unet.project(said.crossattn), diffusion::sdxl_vector(said.pooled, unet.config().adm_in_channels, size, target)};
}

}  // namespace me2::train
