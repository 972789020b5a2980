// libme2_cuda.so's face: tensors to kernel launches on LibTorch's current stream, and the recording of a CUDA graph.
#include <cstring>

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "cuda/launch.h"
#include "nn/cuda_part.h"

#include <torch/headeronly/version.h>

namespace me2::cuda {
namespace {

Type type_of(const at::Tensor& x) {
  if (x.scalar_type() == at::kFloat) return Type::f32;
  return x.scalar_type() == at::kHalf ? Type::f16 : Type::bf16;
}

at::Tensor geglu_tensor(const at::Tensor& x) {
  const c10::cuda::CUDAGuard device(x.device());
  const Index width = x.size(-1) / 2;
  auto shape = x.sizes().vec();
  shape.back() = width;
  at::Tensor out = at::empty(shape, x.options());
  geglu(type_of(x), x.const_data_ptr(), out.mutable_data_ptr(), x.numel() / (2 * width), width, c10::cuda::getCurrentCUDAStream());
  return out;
}

at::Tensor group_norm_tensor(const at::Tensor& x, std::int64_t groups, const at::Tensor& weight, const at::Tensor& bias, double eps, bool silu) {
  if (x.size(1) > kMostChannels || x.size(0) > 1024) {
    const at::Tensor y = at::group_norm(x, groups, weight, bias, eps);
    return silu ? at::silu(y) : y;
  }
  const c10::cuda::CUDAGuard device(x.device());
  const auto shape = group_norm_shape(x.size(0), x.size(2) * x.size(3), x.size(1), groups, pack_width(x.size(1)));
  const auto floats = x.options().dtype(at::kFloat).memory_format(std::nullopt);
  const at::Tensor partial = at::empty({shape.batch, shape.slabs, shape.groups, 2}, floats);
  const at::Tensor coefficients = at::empty({shape.batch, 2, shape.channels}, floats);
  at::Tensor out = at::empty(x.sizes(), x.options(), at::MemoryFormat::ChannelsLast);
  group_norm(type_of(x), x.const_data_ptr(), weight.const_data_ptr(), bias.const_data_ptr(), out.mutable_data_ptr(), partial.mutable_data_ptr<float>(),
             coefficients.mutable_data_ptr<float>(), shape, static_cast<float>(eps), silu, c10::cuda::getCurrentCUDAStream());
  return out;
}

class GraphRecording final : public nn::Recording {
 public:
  GraphRecording(c10::Device device, const std::function<void()>& work) : device_(device) {
    const c10::cuda::CUDAGuard guard(device);
    C10_CUDA_CHECK(cudaDeviceSynchronize());
    // Recording takes memory of its own, which cached blocks cannot serve.
    c10::cuda::CUDACachingAllocator::emptyCache();
    // The legacy default stream cannot be recorded.
    const c10::cuda::CUDAStreamGuard stream(c10::cuda::getStreamFromPool(false, device.index()));
    work();
    C10_CUDA_CHECK(cudaStreamSynchronize(stream.current_stream()));
    const auto pool = at::cuda::graph_pool_handle();
    graph_.capture_begin(pool);
    try {
      work();
      graph_.capture_end();
    } catch (...) {
      abandon(stream.current_stream(), pool);
      throw;
    }
  }
  void replay() override {
    const c10::cuda::CUDAGuard guard(device_);
    graph_.replay();
  }

 private:
  // Brings stream and allocator back from a recording that failed.
  void abandon(cudaStream_t stream, at::cuda::MempoolId_t pool) {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    if (cudaStreamIsCapturing(stream, &status) == cudaSuccess && status != cudaStreamCaptureStatusNone) {
      cudaGraph_t broken = nullptr;
      cudaStreamEndCapture(stream, &broken);
      if (broken) cudaGraphDestroy(broken);
      try {
        c10::cuda::CUDACachingAllocator::endAllocateToPool(device_.index(), pool);
      } catch (const std::exception&) {
        // capture_end got as far as that itself
      }
    }
    cudaGetLastError();  // the failure is told by the exception; later calls start clean
  }
  c10::Device device_;
  at::cuda::CUDAGraph graph_;
};

std::unique_ptr<nn::Recording> record(c10::Device device, const std::function<void()>& work) {
  return std::make_unique<GraphRecording>(device, work);
}

constexpr nn::CudaPart kPart{geglu_tensor, group_norm_tensor, record};

}  // namespace
}  // namespace me2::cuda

extern "C" __attribute__((visibility("default"))) const me2::nn::CudaPart* me2_cuda_part_1(const char* torch_version) {
  return std::strcmp(torch_version, TORCH_VERSION) == 0 ? &me2::cuda::kPart : nullptr;
}
