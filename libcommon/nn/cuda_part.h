// What libme2_cuda.so offers (libcommon/cuda): kernels where LibTorch's own read memory more often than they must, and the recording
// of a computation as a CUDA graph. It is loaded at run time, for --device cuda alone, so no program links CUDA. Networks ask
// cuda_part() and use LibTorch's operators where there is none: on the CPU, while training, and in a build without nvcc.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>

#include <ATen/core/Tensor.h>

namespace me2::nn {

class Recording {  // what was recorded, run again by each replay(): same memory, on the current stream
 public:
  virtual ~Recording() = default;
  virtual void replay() = 0;
};

struct CudaPart {
  // x [..., 2 width] contiguous -> [..., width]: the first half times gelu (exact) of the second.
  at::Tensor (*geglu)(const at::Tensor& x);
  // x [B, C, H, W], channels_last -> the same layout: normalised over each group of channels and all pixels, then SiLU if asked for.
  // weight, bias [C] in x's dtype: f32, f16 or bf16. Sums in f32 around a value of the group, so that a large mean costs no digits.
  at::Tensor (*group_norm)(const at::Tensor& x, std::int64_t groups, const at::Tensor& weight, const at::Tensor& bias, double eps, bool silu);
  // Runs `work` once on a stream of its own (libraries choose algorithms and take workspace), then records it. Tensors it reads must
  // keep their memory; those it makes stay valid as long as the recording. Throws what the driver says when `work` cannot be recorded.
  std::unique_ptr<Recording> (*record)(c10::Device device, const std::function<void()>& work);
};

// Whether a kernel of the part may stand for LibTorch's: x on a device, in a type it knows, and no gradient wanted.
const CudaPart* cuda_part_for(const at::Tensor& x);
const CudaPart* cuda_part();  // null: none

// Looks for libme2_cuda.so beside the program, in ../lib and where the loader looks, after LibTorch's CUDA part was loaded. Without
// one, or with one made for another LibTorch, says so in the log and goes on without. ME2_CUDA_PART=off: does not look.
void load_cuda_part();

// The one symbol of the library: null when it was built for another LibTorch than `torch_version`.
using CudaPartEntry = const CudaPart*(const char* torch_version);
inline constexpr const char* kCudaPartEntry = "me2_cuda_part_1";  // the number changes with this header

}  // namespace me2::nn
