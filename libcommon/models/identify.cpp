#include "models/identify.h"

#include <fmt/format.h>

namespace me2::models {

std::string looks_like(const weights::StateDict& dict) {
  const auto has = [&](const char* name) { return dict.has(name); };
  const auto starts = [&](const char* prefix) { return dict.has_prefix(prefix); };
  if (starts("model.diffusion_model.")) {
    if (starts("conditioner.embedders.1.") || starts("base_text_embedder1.")) return "an SDXL checkpoint";
    if (starts("cond_stage_model.")) return "a Stable Diffusion 1 or 2 checkpoint";
    return "an unCLIP checkpoint";
  }
  for (const char* wrapper : {"module.", "model.", "_orig_mod."})
    if (dict.names().size() && dict.names().front().starts_with(wrapper) && dict.names().back().starts_with(wrapper))
      return looks_like(dict.sub(wrapper));
  if (starts("best_params.") || starts("enc.best_params.")) return "the GNet brain encoder";
  if (starts("backbone.downsample_layers.") || starts("shared.") || starts("stages.")) return "a ConvNeXt";
  if (starts("diffusion_prior.") || starts("backbone.") || starts("ridge.linears.")) return "a MindEye2 brain model";
  if (starts("net.causal_transformer.")) return "a diffusion prior";
  if (has("input_blocks.0.0.weight") && has("middle_block.0.in_layers.0.weight")) return "a bare U-Net, without its autoencoder";
  if (has("decoder.mid_block.resnets.0.conv1.weight")) return "an autoencoder under diffusers' names";
  if (has("decoder.mid.block_1.conv1.weight")) return "an autoencoder under sgm's names";
  if (starts("git.") || starts("image_encoder.") || has("output.bias")) return "a GIT captioner";
  if (starts("visual.transformer.resblocks.") || has("visual.conv1.weight")) return "an OpenCLIP or CLIP image tower";
  if (starts("text_model.encoder.")) return "a CLIP text encoder under Hugging Face's names";
  if (starts("transformer.resblocks.")) return "an OpenCLIP text tower";
  if (starts("bert.") || starts("encoder.layer.0.attention.self.")) return "a BERT encoder";
  if (starts("features.0.") && starts("classifier.")) return "a torchvision classifier";
  if (has("layer1.0.conv1.weight")) return "a ResNet";
  if (has("linear1.weight") && has("linear2.weight")) return "a CLIP converter";
  const auto names = dict.names();
  return names.empty() ? "a file without tensors" : fmt::format("no model known here (its first tensor is {})", names.front());
}

}  // namespace me2::models
