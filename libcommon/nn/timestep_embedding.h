// Sinusoidal embedding of a number, cosines first. Ref: sgm diffusionmodules/util.py timestep_embedding.
#pragma once
#include <ATen/core/Tensor.h>

namespace me2::nn {

// values [n], any number type -> [n, width] f32: cos(v f_i) then sin(v f_i), f_i = 10000^(-i / (width / 2)).
// Fidelity: the product v f_i is rounded to f32, which at 999 shows in the fifth decimal. An odd width ends with a zero.
at::Tensor timestep_embedding(const at::Tensor& values, std::int64_t width);

}  // namespace me2::nn
