// Sums over the rows or columns of a matrix, in float64 whatever its type: at::sum widens such elements one by one, which takes fifteen times as long.
#pragma once
#include <ATen/core/Tensor.h>

namespace me2::train {

// x [n, c], f32 or f64 -> f64 [c].
at::Tensor column_sums(const at::Tensor& x);
// Of (factors[i] * x[i, :])^2; factors f64 [n], or undefined for ones.
at::Tensor column_square_sums(const at::Tensor& x, const at::Tensor& factors = {});
// a, b [n, c], both f32 or both f64 -> f64 [n]: the sum over c of a * b.
at::Tensor row_dots(const at::Tensor& a, const at::Tensor& b);

}  // namespace me2::train
