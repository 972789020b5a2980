// SDXL's first text encoder: OpenAI's ViT-L/14 text tower under Hugging Face names (text_model.*), of any size.
// Source: transformers CLIPTextModel as used by the official FrozenCLIPEmbedder (layer "hidden", index 11).
#pragma once
#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/open_clip.h"
#include "nn/layers.h"

namespace me2::models {

struct ClipTextConfig {
  std::int64_t vocab_size = 49408, width = 768, mlp_width = 3072, layers = 12, heads = 12, positions = 77;
  Activation activation = Activation::quick_gelu;
  double eps = 1e-5;
  // Shapes under `scope` (the names inside "text_model."); "clip_text" (or "clip_l"): {"num_attention_heads", "hidden_act"}
  // from the config, else heads of 64 and QuickGELU.
  static ClipTextConfig detect(const nn::Scope& scope, const Json& config);
};

struct ClipText {
  struct Output {
    std::vector<at::Tensor> hidden;  // hidden[0] the embedding, hidden[i] the output of layer i: [B, L, W]; SDXL takes hidden[layers - 1]
    at::Tensor last_hidden_state;    // final_layer_norm(hidden.back())
    at::Tensor pooled;               // [B, W] last_hidden_state at the first maximal id
  };
  struct Layer {
    nn::LayerNorm layer_norm1;
    nn::Linear q, k, v, out;
    nn::LayerNorm layer_norm2;
    nn::Linear fc1, fc2;
    Layer(const nn::Scope& s, const ClipTextConfig& c);
  };
  ClipTextConfig config;
  nn::Embedding token_embedding, position_embedding;
  std::vector<Layer> layers;
  nn::LayerNorm final_layer_norm;
  ClipText(const nn::Scope& s, const ClipTextConfig& config);
  Output operator()(const at::Tensor& ids) const;  // ids [B, L] int64
};

}  // namespace me2::models
