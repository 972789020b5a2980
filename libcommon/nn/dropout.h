// Dropout with its own generator: a forward pass is a training pass exactly when it is handed a Training.
#pragma once
#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

namespace me2::nn {

struct Training {
  at::Generator generator;  // every dropout mask of the pass is drawn from it, in the order of the layers
};

// x * mask / (1 - p); x itself when `training` is null or p is 0.
at::Tensor dropout(const at::Tensor& x, double p, const Training* training);

}  // namespace me2::nn
