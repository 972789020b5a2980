#include "nn/layers.h"

#include <ATen/ATen.h>

#include "nn/cuda_part.h"

namespace me2::nn {

Linear::Linear(const Scope& s, std::int64_t in, std::int64_t out, bool with_bias)
    : Linear(s, in, out, with_bias, Init::fan_in(in), Init::fan_in(in)) {}
Linear::Linear(const Scope& s, std::int64_t in, std::int64_t out, bool with_bias, const Init& weight_init, const Init& bias_init)
    : weight(s.param("weight", {out, in}, weight_init)), bias(with_bias ? s.param("bias", {out}, bias_init) : at::Tensor()) {}
at::Tensor Linear::operator()(const at::Tensor& x) const { return at::linear(x, weight, bias.defined() ? std::optional(bias) : std::nullopt); }

LayerNorm::LayerNorm(const Scope& s, std::int64_t width, double eps)
    : weight(s.param("weight", {width}, Init::ones())), bias(s.param("bias", {width})), eps(eps) {}
at::Tensor LayerNorm::operator()(const at::Tensor& x) const { return at::layer_norm(x, weight.sizes(), weight, bias, eps); }

GroupNorm::GroupNorm(const Scope& s, std::int64_t groups, std::int64_t channels, double eps)
    : weight(s.param("weight", {channels}, Init::ones())), bias(s.param("bias", {channels})), groups(groups), eps(eps) {}
at::Tensor GroupNorm::operator()(const at::Tensor& x) const {
  const auto* part = cuda_part_for(x);
  if (part && x.dim() == 4 && weight.scalar_type() == x.scalar_type())
    return part->group_norm(x.contiguous(at::MemoryFormat::ChannelsLast), groups, weight, bias, eps, false);
  return at::group_norm(x, groups, weight, bias, eps);
}

Conv2d::Conv2d(const Scope& s, std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride, std::int64_t padding,
               bool with_bias, std::int64_t groups)
    : weight(s.param("weight", {out, in / groups, kernel, kernel}, Init::fan_in(in / groups * kernel * kernel))),
      bias(with_bias ? s.param("bias", {out}, Init::fan_in(in / groups * kernel * kernel)) : at::Tensor()),
      stride(stride), padding(padding), groups(groups) {}
at::Tensor Conv2d::operator()(const at::Tensor& x) const {
  return at::conv2d(x, weight, bias.defined() ? std::optional(bias) : std::nullopt, stride, padding, 1, groups);
}

Embedding::Embedding(const Scope& s, std::int64_t rows, std::int64_t width, const Init& init) : weight(s.param("weight", {rows, width}, init)) {}
at::Tensor Embedding::operator()(const at::Tensor& ids) const { return at::embedding(weight, ids); }

}  // namespace me2::nn
