// The plain layers, as structs of tensors. Parameter names are PyTorch's (weight, bias), so official names fall out of the Scope.
#pragma once
#include <ATen/core/Tensor.h>

#include "nn/scope.h"

namespace me2::nn {

struct Linear {  // x [..., in] -> [..., out]
  at::Tensor weight, bias;
  Linear(const Scope& s, std::int64_t in, std::int64_t out, bool with_bias = true);  // starts as PyTorch's
  Linear(const Scope& s, std::int64_t in, std::int64_t out, bool with_bias, const Init& weight_init, const Init& bias_init);
  at::Tensor operator()(const at::Tensor& x) const;
};

struct LayerNorm {  // over the last axis, of `width`
  at::Tensor weight, bias;
  double eps;
  LayerNorm(const Scope& s, std::int64_t width, double eps = 1e-5);
  at::Tensor operator()(const at::Tensor& x) const;
};

struct GroupNorm {  // x [B, channels, ...]
  at::Tensor weight, bias;
  std::int64_t groups;
  double eps;
  GroupNorm(const Scope& s, std::int64_t groups, std::int64_t channels, double eps = 1e-5);
  at::Tensor operator()(const at::Tensor& x) const;
};

struct Conv2d {  // x [B, in, H, W] -> [B, out, H', W']
  at::Tensor weight, bias;
  std::int64_t stride, padding, groups;
  Conv2d(const Scope& s, std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride = 1,
         std::int64_t padding = 0, bool with_bias = true, std::int64_t groups = 1);
  at::Tensor operator()(const at::Tensor& x) const;
};

struct Embedding {  // ids [...] int64 -> [..., width]
  at::Tensor weight;
  Embedding(const Scope& s, std::int64_t rows, std::int64_t width, const Init& init = Init::normal(1));
  at::Tensor operator()(const at::Tensor& ids) const;
};

}  // namespace me2::nn
