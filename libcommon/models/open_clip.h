// The two towers of an open_clip / OpenAI CLIP model, of any size.
// Source: open_clip 2.24 VisionTransformer and TextTransformer; MindEye2 uses ViT-bigG/14 (image tokens) and, in SDXL, its text tower.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "nn/layers.h"

namespace me2::models {

enum class Activation { gelu, quick_gelu };  // exact erf GELU (LAION models); x * sigmoid(1.702 x) (OpenAI models)

struct OpenClipVisionConfig {
  std::int64_t image_size = 224, patch_size = 14, width = 1664, layers = 48, heads = 16, mlp_width = 8192, embed_dim = 1280;
  Activation activation = Activation::gelu;
  // From tensor shapes under `scope` (the names inside "visual."); `config` adds head_width and the activation:
  // "open_clip": {"vision_cfg": {"head_width": ..}, "quick_gelu": ..}. Without it a head is 104 wide at width 1664 and else 64.
  static OpenClipVisionConfig detect(const nn::Scope& scope, const Json& config);
  static OpenClipVisionConfig from_json(const Json& config);  // for a fresh tower: every size from "open_clip"
};

struct OpenClipTextConfig {
  std::int64_t context_length = 77, vocab_size = 49408, width = 1280, layers = 32, heads = 20, mlp_width = 5120, embed_dim = 1280;
  Activation activation = Activation::gelu;
  static OpenClipTextConfig detect(const nn::Scope& scope, const Json& config);
  static OpenClipTextConfig from_json(const Json& config);
};

// Pre-norm transformer block with a fused q,k,v projection: x += attn(ln_1 x); x += c_proj(act(c_fc(ln_2 x))).
struct ResidualAttentionBlock {
  nn::LayerNorm ln_1;
  at::Tensor in_proj_weight, in_proj_bias;  // [3W, W] rows q, k, v; [3W]
  nn::Linear out_proj;
  nn::LayerNorm ln_2;
  nn::Linear c_fc, c_proj;
  std::int64_t heads;
  Activation activation;
  ResidualAttentionBlock(const nn::Scope& s, std::int64_t width, std::int64_t heads, std::int64_t mlp_width,
                         std::int64_t layers, Activation activation);
  at::Tensor operator()(const at::Tensor& x, bool causal) const;  // x [B, N, W]
  at::Tensor first(const at::Tensor& x) const;                    // the first token of that alone, not causal: [B, 1, W]
};

using Probe = std::function<void(const std::string& name, const at::Tensor&)>;  // sees intermediate states, for tests

struct OpenClipVision {
  struct Output {
    at::Tensor tokens;  // [B, N, W] after ln_post, class token left out, neither projected nor normalised
    at::Tensor pooled;  // [B, embed_dim] class token after ln_post and projection, not normalised
  };
  OpenClipVisionConfig config;
  nn::Conv2d conv1;
  at::Tensor class_embedding, positional_embedding, proj;
  nn::LayerNorm ln_pre;
  std::vector<ResidualAttentionBlock> blocks;
  nn::LayerNorm ln_post;
  OpenClipVision(const nn::Scope& s, const OpenClipVisionConfig& config);
  Output operator()(const at::Tensor& x, const Probe& probe = {}) const;  // x [B, 3, S, S] normalised pixels
  at::Tensor pooled(const at::Tensor& x) const;                           // Output::pooled alone, without the last block's other tokens

 private:
  at::Tensor embedded(const at::Tensor& x) const;  // [B, N, W] what the first block takes
};

struct OpenClipText {
  struct Output {
    at::Tensor penultimate;  // [B, L, W] the state entering the last block, without ln_final (SDXL's second text encoding)
    at::Tensor last;         // [B, L, W] output of the last block, before ln_final
    at::Tensor pooled;       // [B, embed_dim] ln_final(last) at the end-of-text token, projected
  };
  OpenClipTextConfig config;
  nn::Embedding token_embedding;
  at::Tensor positional_embedding, text_projection;
  std::vector<ResidualAttentionBlock> blocks;
  nn::LayerNorm ln_final;
  OpenClipText(const nn::Scope& s, const OpenClipTextConfig& config);
  Output operator()(const at::Tensor& ids) const;  // ids [B, L] int64
};

// What the official FrozenOpenCLIPImageEmbedder does to images in [0, 1] before the tower: kornia's resize to size x size (only
// where the size differs), (x + 1) / 2, CLIP mean and deviation. f32 [B, 3, H, W] -> [B, 3, size, size].
// Fidelity: (x + 1) / 2 expects images in [-1, 1] but MindEye2 feeds [0, 1]; every published token was made like this.
// `squeeze` false leaves that step out: the right scaling, for models trained with it.
at::Tensor clip_pixels(const at::Tensor& images, std::int64_t size, bool squeeze);

}  // namespace me2::models
