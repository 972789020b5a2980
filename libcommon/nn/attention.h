// Scaled dot-product attention over heads packed in the last axis, the layout that projections produce.
#pragma once
#include <ATen/core/Tensor.h>

namespace me2::nn {

// softmax(q k^T / sqrt(d)) v for each head, d = width / heads. q [B, N, width], k and v [B, M, width] -> [B, N, width].
// Fused (no N x M matrix is kept) wherever LibTorch has a kernel for the device and head size. k and v of batch 1 serve every row of q.
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, std::int64_t heads);

}  // namespace me2::nn
