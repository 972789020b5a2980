#include "nn/fused.h"

#include <ATen/ATen.h>

#include "nn/conv.h"
#include "nn/cuda_part.h"

namespace me2::nn {

at::Tensor geglu(const at::Tensor& x) {
  if (const auto* part = cuda_part_for(x)) return part->geglu(x.contiguous());
  const auto halves = x.chunk(2, -1);
  return halves[0] * at::gelu(halves[1]);
}

at::Tensor norm_silu(const GroupNorm& norm, const at::Tensor& x) {
  const auto* part = cuda_part_for(x);
  if (part && x.dim() == 4 && norm.weight.scalar_type() == x.scalar_type())
    return part->group_norm(x.contiguous(at::MemoryFormat::ChannelsLast), norm.groups, norm.weight, norm.bias, norm.eps, true);
  return silu_of(norm(x));
}

}  // namespace me2::nn
