#include "nn/timestep_embedding.h"

#include <cmath>

#include <ATen/ATen.h>

namespace me2::nn {

at::Tensor timestep_embedding(const at::Tensor& values, std::int64_t width) {
  const std::int64_t half = width / 2;
  const at::Tensor steps = at::arange(half, at::TensorOptions().dtype(at::kFloat).device(values.device()));
  const at::Tensor frequencies = at::exp(steps * -std::log(10000.0) / static_cast<double>(half));
  const at::Tensor angles = values.to(at::kFloat).unsqueeze(1) * frequencies.unsqueeze(0);
  at::Tensor out = at::cat({at::cos(angles), at::sin(angles)}, 1);
  if (width % 2) out = at::cat({out, at::zeros_like(out.slice(1, 0, 1))}, 1);
  return out;
}

}  // namespace me2::nn
