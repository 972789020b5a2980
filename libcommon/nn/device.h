// From the command line's --device and --dtype to LibTorch's. Loads libtorch_cuda.so at run time for cuda, and only then.
#pragma once
#include <string>

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

namespace me2::nn {
// `plan`: the meta device, whose tensors have shapes and no values, for --dry-run; once it is known that `name` can be used.
c10::Device open_device(const std::string& name, bool plan = false);  // "cpu", "cuda", "cuda:N"; Exit::unavailable with the reason when there is no GPU
c10::ScalarType parse_dtype(const std::string& name);  // "f32", "bf16", "f16"
void set_threads(int threads);
// Freed memory stays with the process: buffers of the same size, allocated step after step, are not mapped and cleared anew.
void hold_freed_memory();
}  // namespace me2::nn
