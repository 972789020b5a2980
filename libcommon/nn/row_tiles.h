// row_linear of bfloat16 weights on the tile registers (AMX) of the processors that have them. The inputs keep all their bits: each is the exact
// sum of three bfloat16 numbers, and products of bfloat16 are exact in the float32 sums of the tiles.
#pragma once
#include <cstdint>

#include <c10/util/BFloat16.h>

namespace me2::nn {

bool tiles_usable();  // asks the system for the registers at the first call

// y [rows, out] = x [rows, in] w' + bias, w [out, in], bias [out] or null, all contiguous. A row of y depends on its row of x alone: every sum
// is made in one order, whatever the rows beside it and the threads.
void tile_linear(const float* x, std::int64_t rows, std::int64_t in, const c10::BFloat16* w, const float* bias, float* y, std::int64_t out);

}  // namespace me2::nn
