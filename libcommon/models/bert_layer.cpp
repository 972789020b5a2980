#include "models/bert_layer.h"

#include <ATen/ATen.h>

#include <cmath>

namespace me2::models {
namespace {
nn::Linear linear(const nn::Scope& s, std::int64_t in, std::int64_t out) { return {s, in, out, true, nn::Init::normal(0.02), nn::Init::zeros()}; }
}  // namespace

BertLayer::BertLayer(const nn::Scope& s, std::int64_t width, std::int64_t heads, std::int64_t mlp_width, double eps)
    : heads(heads),
      query(linear(s.sub("attention.self.query"), width, width)),
      key(linear(s.sub("attention.self.key"), width, width)),
      value(linear(s.sub("attention.self.value"), width, width)),
      attention_out(linear(s.sub("attention.output.dense"), width, width)),
      attention_norm(s.sub("attention.output.LayerNorm"), width, eps),
      intermediate(linear(s.sub("intermediate.dense"), width, mlp_width)),
      output(linear(s.sub("output.dense"), mlp_width, width)),
      output_norm(s.sub("output.LayerNorm"), width, eps) {}

at::Tensor BertLayer::split(const at::Tensor& projected) const {
  return projected.view({projected.size(0), projected.size(1), heads, -1}).transpose(1, 2);
}

at::Tensor BertLayer::finish(const at::Tensor& x, const at::Tensor& context) const {
  const at::Tensor merged = context.transpose(1, 2).reshape(x.sizes());
  const at::Tensor h = attention_norm(attention_out(merged) + x);
  return output_norm(output(at::gelu(intermediate(h))) + h);
}

at::Tensor BertLayer::operator()(const at::Tensor& x, const at::Tensor& mask) const {
  const at::Tensor q = split(query(x)), k = split(key(x)), v = split(value(x));
  const auto bias = mask.defined() ? std::optional(mask) : std::nullopt;
  return finish(x, at::scaled_dot_product_attention(q, k, v, bias));
}

}  // namespace me2::models
