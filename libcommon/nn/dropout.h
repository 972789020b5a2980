// Dropout with its own generator: a forward pass is a training pass exactly when it is handed a Training.
#pragma once
#include <cstdint>

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

namespace me2::nn {

struct Training {
  at::Generator generator;  // every dropout mask of the pass is drawn from it, in the order of the layers
  // When the pass is over some rows of a larger batch (several processes share it): masks are drawn for all `whole` rows and those at
  // `rows` (i64) are used, so that what is dropped does not depend on how the batch is shared.
  std::int64_t whole = 0;
  at::Tensor rows = {};
};

// x * mask / (1 - p); x itself when `training` is null or p is 0.
at::Tensor dropout(const at::Tensor& x, double p, const Training* training);

}  // namespace me2::nn
