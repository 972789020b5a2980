// Linear and convolution for inference: weights are packed for the CPU's matrix units at the first call, so that later calls
// skip the reordering LibTorch otherwise repeats each time. While training they are plain layers; on CUDA, plain in channels_last.
#pragma once
#include <memory>

#include <ATen/core/Tensor.h>

#include "nn/scope.h"

namespace me2::nn {

struct PackedWeight;  // the weight as loaded until it is packed, then the packed one alone; shared by copies of a layer

class FastLinear {  // x [..., in] -> [..., out]
 public:
  FastLinear(const Scope& s, std::int64_t in, std::int64_t out, bool with_bias = true);
  explicit FastLinear(at::Tensor weight, at::Tensor bias = {});  // [out, in], of a network that is loaded already
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  std::shared_ptr<PackedWeight> weight_;
  at::Tensor bias_;
};

class FastConv2d {  // x [B, in, H, W] -> [B, out, H', W'], channels_last when packed
 public:
  FastConv2d(const Scope& s, std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride = 1, std::int64_t padding = 0);
  at::Tensor operator()(const at::Tensor& x) const { return run(x, padding_); }
  // For callers that bring the neighbouring rows themselves: padded in width only.
  at::Tensor without_row_padding(const at::Tensor& x) const { return run(x, 0); }

 private:
  at::Tensor run(const at::Tensor& x, std::int64_t row_padding) const;
  std::shared_ptr<PackedWeight> weight_;
  at::Tensor bias_;
  std::int64_t stride_, padding_;
};

// Of temporaries: in place unless a gradient needs the argument.
at::Tensor silu_of(at::Tensor&& x);
at::Tensor sum_of(at::Tensor&& x, const at::Tensor& y);

}  // namespace me2::nn
