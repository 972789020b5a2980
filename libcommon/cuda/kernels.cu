#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

#include "cuda/launch.h"

namespace me2::cuda {
namespace {

struct Here {  // the block a thread is in
  int threads, x, y, blocks;
  float* shared;
  __device__ explicit Here(float* shared) : threads(blockDim.x), x(blockIdx.x), y(blockIdx.y), blocks(gridDim.x), shared(shared) {}
  template <class F>
  __host__ __device__ void each(const F& f) const {
#ifdef __CUDA_ARCH__
    f(static_cast<int>(threadIdx.x));
    __syncthreads();
#endif
  }
};

template <class T, int N>
__global__ void __launch_bounds__(kMapThreads) geglu_kernel(const T* x, T* out, Index rows, Index width) {
  geglu_block<T, N>(Here(nullptr), x, out, rows, width);
}

template <class T, int N>
__global__ void __launch_bounds__(kSumThreads) sums_kernel(const T* x, float* partial, GroupNormShape shape) {
  extern __shared__ float shared[];
  group_sums_block<T, N>(Here(shared), x, partial, shape);
}

template <class T>
__global__ void __launch_bounds__(kCoefficientThreads)
    coefficients_kernel(const T* x, const float* partial, const T* weight, float* coefficients, GroupNormShape shape, float eps) {
  __shared__ double shared[2 * kCoefficientThreads];
  group_coefficients_block<T>(Here(reinterpret_cast<float*>(shared)), x, partial, weight, coefficients, shape, eps);
}

template <class T, int N>
__global__ void __launch_bounds__(kMapThreads) apply_kernel(const T* x, const float* coefficients, const T* bias, T* out, GroupNormShape shape, bool silu) {
  group_apply_block<T, N>(Here(nullptr), x, coefficients, bias, out, shape, silu);
}

void check(const char* what) {
  if (const cudaError_t status = cudaGetLastError(); status != cudaSuccess)
    throw std::runtime_error(std::string("kernel ") + what + ": " + cudaGetErrorString(status));
}

// Blocks of an elementwise kernel; each thread takes several when the map is large.
unsigned map_blocks(Index packs) {
  const Index blocks = (packs + kMapThreads - 1) / kMapThreads;
  return static_cast<unsigned>(blocks < 1 << 16 ? blocks : 1 << 16);
}

template <class T, int N>
void geglu_of(const void* x, void* out, Index rows, Index width, cudaStream_t stream) {
  geglu_kernel<T, N><<<map_blocks(rows * (width / N)), kMapThreads, 0, stream>>>(static_cast<const T*>(x), static_cast<T*>(out), rows, width);
  check("geglu");
}

template <class T, int N>
void group_norm_of(const void* x, const void* weight, const void* bias, void* out, float* partial, float* coefficients, const GroupNormShape& s,
                   float eps, bool silu, cudaStream_t stream) {
  const T* in = static_cast<const T*>(x);
  const auto batch = static_cast<unsigned>(s.batch);
  sums_kernel<T, N><<<dim3(static_cast<unsigned>(s.slabs), batch), kSumThreads, static_cast<std::size_t>(group_sums_shared(s, N)) * sizeof(float), stream>>>(
      in, partial, s);
  check("group_norm sums");
  coefficients_kernel<T><<<dim3(static_cast<unsigned>(s.groups), batch), kCoefficientThreads, 0, stream>>>(
      in, partial, static_cast<const T*>(weight), coefficients, s, eps);
  check("group_norm coefficients");
  apply_kernel<T, N><<<map_blocks(s.batch * s.pixels * (s.channels / N)), kMapThreads, 0, stream>>>(
      in, coefficients, static_cast<const T*>(bias), static_cast<T*>(out), s, silu);
  check("group_norm apply");
}

// f<T, N>() for a type and the pack width of so many columns.
template <class F>
void with(Type type, Index columns, const F& f) {
  const auto width = [&]<class T>(T) {
    if (pack_width(columns) == 4) f.template operator()<T, 4>();
    else f.template operator()<T, 1>();
  };
  if (type == Type::f32) width(float{});
  else if (type == Type::f16) width(__half{});
  else width(__nv_bfloat16{});
}

}  // namespace

void geglu(Type type, const void* x, void* out, Index rows, Index width, Stream stream) {
  with(type, width, [&]<class T, int N>() { geglu_of<T, N>(x, out, rows, width, stream); });
}

void group_norm(Type type, const void* x, const void* weight, const void* bias, void* out, float* partial, float* coefficients,
                const GroupNormShape& shape, float eps, bool silu, Stream stream) {
  with(type, shape.channels, [&]<class T, int N>() { group_norm_of<T, N>(x, weight, bias, out, partial, coefficients, shape, eps, silu, stream); });
}

}  // namespace me2::cuda
