#include "nn/dropout.h"

#include <ATen/ATen.h>

namespace me2::nn {

at::Tensor dropout(const at::Tensor& x, double p, const Training* training) {
  if (!training || p <= 0) return x;
  // The mask is an ordinary constant of the graph, so its gradient is that of the product.
  auto shape = x.sizes().vec();
  if (training->whole) shape[0] = training->whole;
  const at::Tensor mask = at::empty(shape, x.options().requires_grad(false)).bernoulli_(1 - p, training->generator).div_(1 - p);
  return x * (training->whole ? mask.index_select(0, training->rows) : mask);
}

}  // namespace me2::nn
