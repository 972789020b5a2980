#include "weights/identify.h"

#include <algorithm>
#include <array>
#include <vector>

#include "base/error.h"

namespace me2::weights {
namespace {

struct Telltale {
  const char* name;   // a suffix of some tensor's name
  const char* model;
};

// First match wins: a model that contains another stands before it.
constexpr std::array kTelltales{
    Telltale{"ridge.linears.0.weight", "a MindEye2 model (ridge, backbone)"},
    Telltale{"ridge.mlps.0.0.weight", "a MindEye2 model (MLP subject maps, backbone)"},
    Telltale{"backbone_linear.weight", "a MindEye2 backbone"},
    Telltale{"causal_transformer.layers.0.0.null_kv", "a MindEye2 diffusion prior"},
    Telltale{"conditioner.embedders.1.model.text_projection", "an SDXL checkpoint (U-Net, VAE and two text encoders)"},
    Telltale{"conditioner.embedders.0.model.visual.proj", "an unCLIP checkpoint (SDXL U-Net, VAE and OpenCLIP image encoder)"},
    Telltale{"time_embed.0.weight", "a diffusion U-Net"},
    Telltale{"git.encoder.layer.0.attention.self.query.weight", "a GIT captioner"},
    Telltale{"embeddings.token_type_embeddings.weight", "a BERT text encoder"},
    Telltale{"text_model.embeddings.token_embedding.weight", "a CLIP text encoder in Hugging Face names"},
    Telltale{"vision_model.embeddings.class_embedding", "a CLIP image encoder in Hugging Face names"},
    Telltale{"visual.transformer.resblocks.0.ln_1.weight", "a CLIP model in OpenCLIP or OpenAI names"},
    Telltale{"token_embedding.weight", "a CLIP text encoder in OpenCLIP names"},
    Telltale{"class_embedding", "a CLIP image encoder"},
    Telltale{"decoder.mid.block_1.norm1.weight", "a VAE in CompVis names"},
    Telltale{"decoder.mid_block.resnets.0.norm1.weight", "a VAE in diffusers names"},
    Telltale{"bupsampler.conv_in.weight", "a MindEye2 low-level head"},
    Telltale{"fwrfs.1.rf0", "a GNet encoding model"},
    Telltale{"enc.conv4a.conv1.weight", "a GNet encoding model"},
    Telltale{"downsample_layers.0.0.weight", "a ConvNeXt image encoder"},
    Telltale{"linear2.weight", "a CLIP converter"},
    Telltale{"Mixed_5b.branch1x1.conv.weight", "an Inception v3 network"},
    Telltale{"features.0.0.weight", "an EfficientNet"},
    Telltale{"features.0.weight", "an AlexNet"},
    Telltale{"layer1.0.conv1.weight", "a ResNet"},
};

bool ends_at_dot(const std::string& name, const std::string& suffix) {
  return name.ends_with(suffix) && (name.size() == suffix.size() || name[name.size() - suffix.size() - 1] == '.');
}

}  // namespace

std::string identify(const StateDict& dict) {
  const auto names = dict.names();
  for (const auto& [suffix, model] : kTelltales)
    if (std::any_of(names.begin(), names.end(), [&, s = std::string(suffix)](const auto& name) { return ends_at_dot(name, s); })) return model;
  return names.empty() ? "an empty file" : fmt::format("an unknown model (first tensor: {})", names.front());
}

StateDict part_with(const StateDict& dict, const std::string& telltale) {
  for (const char* prefix : {"", "module.", "model.", "model.diffusion_model.", "first_stage_model.", "conditioner.embedders.0.model.", "visual."})
    if (dict.has(prefix + telltale)) return *prefix ? dict.sub(prefix) : dict;
  std::vector<std::string> prefixes;
  for (const auto& name : dict.names())
    if (ends_at_dot(name, telltale)) prefixes.push_back(name.substr(0, name.size() - telltale.size()));
  if (prefixes.size() == 1) return dict.sub(prefixes.front());
  throw data_error("{}: tensor {} is {}; this looks like {}", dict.path(), telltale, prefixes.empty() ? "missing" : "there more than once", identify(dict));
}

}  // namespace me2::weights
