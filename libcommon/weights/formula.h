// Weights by formula: deterministic tensors for networks whose real weights are too large to store. Element j of tensor i
// (i counts the byte-sorted names) is a splitmix64 hash of (i << 40) + j + 1 mapped to [-1, 1) and scaled by what the name
// says the tensor is; exact in uint64 and float64, so numpy and we give the same float32 bits.
// Source: formula_weights.py, published with the golden cases.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "weights/state_dict.h"

namespace me2::weights {

at::Tensor formula_tensor(const std::string& name, std::uint64_t index, const std::vector<std::int64_t>& shape);  // f32

// Lazily computed entries for every name in `shapes`; 0-D entries count as an index but keep what their module starts with
// (num_batches_tracked: int64 0, logit_scale: ln(1/0.07), else f32 0). Tensors of two or more axes are multiplied by `gain`.
StateDict::Entries formula_entries(const std::map<std::string, std::vector<std::int64_t>>& shapes, float gain = 1);

}  // namespace me2::weights
