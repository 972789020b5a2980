// One post-norm transformer layer of BERT, as GIT's text decoder and the sentence encoder share it:
// x = LN(attention(x) + x); x = LN(feed_forward(x) + x), exact GELU. Names are Hugging Face's (attention.self.query, ...).
// Source: Devlin et al. 2019; transformers BertLayer.
#pragma once
#include <ATen/core/Tensor.h>

#include "nn/layers.h"

namespace me2::models {

struct BertLayer {
  std::int64_t heads;
  nn::Linear query, key, value, attention_out;
  nn::LayerNorm attention_norm;
  nn::Linear intermediate, output;
  nn::LayerNorm output_norm;
  BertLayer(const nn::Scope& s, std::int64_t width, std::int64_t heads, std::int64_t mlp_width, double eps);

  at::Tensor split(const at::Tensor& projected) const;  // [B, N, width] -> [B, heads, N, width / heads]
  // What follows the attention: x [B, N, width] its input, context [B, heads, N, width / heads] its result.
  at::Tensor finish(const at::Tensor& x, const at::Tensor& context) const;
  // The whole layer. mask: additive, broadcast to [B, heads, N, N]; undefined for none.
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& mask) const;
};

}  // namespace me2::models
