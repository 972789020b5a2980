// Counts what a network does without doing it: run it on meta tensors, which have shapes and no values.
//     nn::Loader loader(dict, dtype, at::kMeta);  const Net net(nn::Scope(loader), config);
//     const Work work = nn::count_work([&] { net(nn::meta({batch, 3, 224, 224})); });
#pragma once
#include <functional>

#include <ATen/core/Tensor.h>

#include "base/work.h"
#include "nn/scope.h"

namespace me2::nn {

at::Tensor meta(const Shape& shape, at::ScalarType dtype = at::kFloat);

// Products, convolutions and attention by their shapes; tensors that are alive at once, of those made inside; as weights, what is read
// and was there before. Attention is taken to keep no matrix of scores, as LibTorch's fused kernels do. With gradients on, what a graph
// keeps for the way back counts as alive. NaN flops where a network uses an operator that meta tensors do not have: no estimate.
Work count_work(const std::function<void()>& forward);

// A training step of a forward pass counted with gradients on: the way back takes twice the products; weights, gradients and AdamW's two
// moments, and what the pass keeps, are held. `averaged`: a moving average of the weights as well.
Work training_step(const Work& forward, bool averaged = false);

}  // namespace me2::nn
