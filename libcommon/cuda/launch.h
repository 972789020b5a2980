// Kernel launches, free of LibTorch: kernels.cu is compiled by nvcc without its headers. Pointers are to device memory; a launch that
// the driver refuses throws std::runtime_error with its words.
#pragma once
#include <cstdint>

#include "cuda/kernels.h"

struct CUstream_st;

namespace me2::cuda {

enum class Type { f32, f16, bf16 };
using Stream = CUstream_st*;

// Channels (or columns) a thread takes at once: a power of two that divides both.
inline int pack_width(Index columns) { return columns % 4 == 0 ? 4 : 1; }

void geglu(Type type, const void* x, void* out, Index rows, Index width, Stream stream);

// partial: shape.batch * shape.slabs * shape.groups * 2 floats; coefficients: shape.batch * 2 * shape.channels floats. shape from
// group_norm_shape(..., pack_width(channels)).
void group_norm(Type type, const void* x, const void* weight, const void* bias, void* out, float* partial, float* coefficients,
                const GroupNormShape& shape, float eps, bool silu, Stream stream);
// The most channels group_norm takes: its sums lie in 48 KiB of shared memory.
inline constexpr Index kMostChannels = 6144;

}  // namespace me2::cuda
