#include "nn/device.h"

#include <dlfcn.h>
#include <malloc.h>

#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include "base/build_info.h"
#include "base/error.h"
#include "nn/cuda_part.h"

#include <torch/headeronly/version.h>

namespace me2::nn {
namespace {
[[maybe_unused]] const bool registered = register_library("libtorch", TORCH_VERSION);  // for provenance
}

c10::Device open_device(const std::string& name, bool plan) {
  if (plan) {
    open_device(name);
    return c10::Device(c10::kMeta);
  }
  if (name == "cpu") return c10::Device(c10::kCPU);
  int index = 0;
  if (name.starts_with("cuda:") && name.size() == 6 && name[5] >= '0' && name[5] <= '9') index = name[5] - '0';
  else if (name != "cuda") throw usage_error("--device: cpu, cuda or cuda:N expected, \"{}\" given", name);
  // Must come before the first question about CUDA: LibTorch caches its hooks on the first call.
  if (!::dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL))
    throw Error(Exit::unavailable, fmt::format("--device {}: the CUDA part of LibTorch cannot be loaded ({}); use --device cpu", name, ::dlerror()));
  const int devices = at::globalContext().hasCUDA() ? at::detail::getCUDAHooks().deviceCount() : 0;
  if (index >= devices)
    throw Error(Exit::unavailable, fmt::format("--device {}: {} CUDA devices are visible; use --device cpu", name, devices));
  // f32 means f32: LibTorch would let cuDNN round its convolutions' inputs to TF32.
  at::globalContext().setAllowTF32CuDNN(false);
  at::globalContext().setAllowTF32CuBLAS(false);
  load_cuda_part();
  return c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(index));
}

c10::ScalarType parse_dtype(const std::string& name) {
  if (name == "f32") return c10::kFloat;
  if (name == "bf16") return c10::kBFloat16;
  if (name == "f16") return c10::kHalf;
  throw usage_error("--dtype: f32, bf16 or f16 expected, \"{}\" given", name);
}

void set_threads(int threads) { at::set_num_threads(threads); }

void hold_freed_memory() {
  ::mallopt(M_MMAP_THRESHOLD, 1 << 30);
  ::mallopt(M_TRIM_THRESHOLD, 1 << 30);
}

}  // namespace me2::nn
