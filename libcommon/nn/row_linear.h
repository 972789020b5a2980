// A linear layer whose rows do not know each other: the bytes of y[i] depend on x[i] and the weights only, not on how many rows
// are computed together, so batch size, order and shard cannot change a result. Library matrix products do not promise that:
// they pick another kernel, with another order of summation, for another number of rows.
//
// It streams the weights once per call (up to 96 rows), which is what bounds a layer of 425,984 x 4,096; bfloat16 weights halve the stream, and are
// multiplied on tile registers where there are any (nn/row_tiles.h): the same products, summed in another order than elsewhere.
#pragma once
#include "nn/layers.h"

namespace me2::nn {

// x [B, in] float -> y [B, out] float, whatever the dtype of the weights (f32, bf16, f16). No graph is recorded.
// `tiles` false: as on a processor without tile registers.
at::Tensor row_linear(const at::Tensor& x, const Linear& linear, bool tiles = true);

}  // namespace me2::nn
