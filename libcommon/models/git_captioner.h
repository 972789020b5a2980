// GIT: captions from image tokens. The image encoder is bypassed: tokens of its width go straight into the projection.
// The sequence is [visual tokens, text tokens]; visual sees visual, text sees all visual tokens and text up to itself.
// Source: Wang et al. 2022 (GIT); transformers modeling_git as MindEye2's GitForCausalLMClipEmb uses it. Official names (git.*, output.*).
#pragma once
#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "base/json_fwd.h"
#include "models/bert_layer.h"
#include "nn/layers.h"

namespace me2::models {

struct GitConfig {
  std::int64_t vocab_size = 30522, width = 768, layers = 6, heads = 12, mlp_width = 3072, positions = 1024, image_width = 1024;
  std::int64_t bos = 101, eos = 102, pad = 0;
  double eps = 1e-12, visual_eps = 1e-5;
  bool has_position_ids = false;  // a buffer that older transformers stored
  // Sizes from shapes; heads, eps and special ids from "num_attention_heads", "layer_norm_eps", "bos_token_id", ... else heads of 64.
  static GitConfig detect(const nn::Scope& scope, const Json& config);
};

struct GitCaptioner {
  GitConfig config;
  nn::Embedding word, position;
  nn::LayerNorm text_norm;
  std::vector<BertLayer> layers;
  nn::Linear visual;
  nn::LayerNorm visual_norm;
  nn::Linear output;
  GitCaptioner(const nn::Scope& s, const GitConfig& config);

  // features [B, V, image_width], ids [B, T] int64 -> [B, V + T, width], the encoder's input.
  at::Tensor embed(const at::Tensor& features, const at::Tensor& ids) const;
  // Teacher forcing: logits [B, V + T, vocab]; those at V + t predict the token after ids[:, t]. hidden, when given, gets every layer's output.
  at::Tensor logits(const at::Tensor& features, const at::Tensor& ids, std::vector<at::Tensor>* hidden = nullptr) const;

  struct Generated {
    at::Tensor ids;          // [B, L] int64 from bos on, L <= max_length; padded after eos
    at::Tensor step_logits;  // [L - 1, B, vocab] of greedy search when asked for
  };
  // Greedy: stops when every row has met eos. Keys and values are kept; the visual ones are computed once.
  Generated greedy(const at::Tensor& features, std::int64_t max_length = 20, bool keep_logits = false) const;
  // Beam search with transformers' rules: 2 * beams candidates a step, score = sum of log-probabilities / generated length.
  at::Tensor beam(const at::Tensor& features, std::int64_t beams, std::int64_t max_length = 20) const;

 private:
  struct Cache;
  Cache start(const at::Tensor& features, std::int64_t beams, std::int64_t max_length) const;
  at::Tensor step(Cache& cache, const at::Tensor& ids) const;  // ids [B * beams] of the newest token -> logits [B * beams, vocab]
};

}  // namespace me2::models
