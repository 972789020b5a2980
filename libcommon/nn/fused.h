// Pairs of operations done in one pass over memory where the CUDA part has a kernel for it, else one after the other.
#pragma once
#include <ATen/core/Tensor.h>

#include "nn/layers.h"

namespace me2::nn {

at::Tensor geglu(const at::Tensor& x);                               // [..., 2 width] -> [..., width]: value * gelu(gate), exact
at::Tensor norm_silu(const GroupNorm& norm, const at::Tensor& x);    // silu(norm(x)), x [B, C, H, W]

}  // namespace me2::nn
