#include "nn/attention.h"

#include <ATen/ATen.h>

namespace me2::nn {

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, std::int64_t heads) {
  const std::int64_t batch = q.size(0), width = q.size(2), depth = width / heads;
  const auto split = [&](const at::Tensor& x) {
    const at::Tensor y = x.view({x.size(0), x.size(1), heads, depth}).transpose(1, 2);
    return y.size(0) == batch ? y : y.expand({batch, -1, -1, -1});
  };
  const at::Tensor y = at::scaled_dot_product_attention(split(q), split(k), split(v));
  return y.transpose(1, 2).reshape({batch, q.size(1), width});
}

}  // namespace me2::nn
