#include "nn/cuda_part.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <string_view>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "base/log.h"

#include <torch/headeronly/version.h>

namespace me2::nn {
namespace {

const CudaPart* loaded = nullptr;

// A program that has the part already (tests bring one of their own) needs no file.
CudaPartEntry* find_entry() {
  if (void* entry = ::dlsym(RTLD_DEFAULT, kCudaPartEntry)) return reinterpret_cast<CudaPartEntry*>(entry);
  namespace fs = std::filesystem;
  std::error_code ignored;
  const fs::path here = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  const char* name = "libme2_cuda.so";
  for (const fs::path& path : {here / name, here / "../lib" / name, fs::path(name)}) {
    if (path.has_parent_path() && !fs::exists(path, ignored)) continue;
    void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) {
      if (path.has_parent_path()) log_warning("{} cannot be loaded ({}); LibTorch's own kernels are used", path.string(), ::dlerror());
      continue;
    }
    return reinterpret_cast<CudaPartEntry*>(::dlsym(library, kCudaPartEntry));
  }
  return nullptr;
}

}  // namespace

const CudaPart* cuda_part() { return loaded; }

const CudaPart* cuda_part_for(const at::Tensor& x) {
  if (!loaded || x.is_cpu() || c10::GradMode::is_enabled() || x.numel() == 0) return nullptr;
  const auto type = x.scalar_type();
  return type == at::kFloat || type == at::kHalf || type == at::kBFloat16 ? loaded : nullptr;
}

void load_cuda_part() {
  if (loaded) return;
  if (const char* setting = std::getenv("ME2_CUDA_PART"); setting && std::string_view(setting) == "off") {
    log_debug("ME2_CUDA_PART=off: LibTorch's own kernels, nothing recorded");
    return;
  }
  CudaPartEntry* entry = find_entry();
  if (entry) loaded = entry(TORCH_VERSION);
  if (loaded) log_debug("libme2_cuda.so: fused kernels, and the denoising step as a CUDA graph");
  else if (entry) log_warning("libme2_cuda.so was built for another LibTorch than {}: LibTorch's own kernels are used", TORCH_VERSION);
  else log_info("this build has no libme2_cuda.so (it is made where nvcc is found): LibTorch's own CUDA kernels are used, step by step");
}

}  // namespace me2::nn
