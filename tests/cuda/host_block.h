// A kernel's block on the CPU: its threads one after the other, so that the kernels' own bodies can be run without a GPU.
#pragma once
#include <algorithm>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cuda/launch.h"

namespace me2::cuda {

struct HostBlock {
  int threads, x = 0, y = 0, blocks = 1;
  float* shared = nullptr;
  template <class F>
  void each(const F& f) const {
    for (int thread = 0; thread < threads; ++thread) f(thread);
  }
};

// As kernels.cu launches them, with N columns to a thread.
template <class T, int N>
void geglu_on_host(const T* x, T* out, Index rows, Index width, int blocks = 3) {
  for (int b = 0; b < blocks; ++b) geglu_block<T, N>(HostBlock{kMapThreads, b, 0, blocks}, x, out, rows, width);
}

template <class T, int N>
void group_norm_on_host(const T* x, const T* weight, const T* bias, T* out, const GroupNormShape& s, float eps, bool silu, int blocks = 3) {
  std::vector<float> partial(static_cast<std::size_t>(s.batch * s.slabs * s.groups * 2), NAN), coefficients(static_cast<std::size_t>(s.batch * 2 * s.channels), NAN);
  const auto floats = static_cast<std::size_t>(std::max<Index>(group_sums_shared(s, N), 4 * kCoefficientThreads));
  for (int b = 0; b < s.batch; ++b)
    for (int slab = 0; slab < s.slabs; ++slab) {
      std::vector<double> shared(floats / 2 + 1, NAN);  // what a block does not write, it must not read
      group_sums_block<T, N>(HostBlock{kSumThreads, slab, b, static_cast<int>(s.slabs), reinterpret_cast<float*>(shared.data())}, x, partial.data(), s);
    }
  for (int b = 0; b < s.batch; ++b)
    for (int group = 0; group < s.groups; ++group) {
      std::vector<double> shared(floats / 2 + 1, NAN);
      group_coefficients_block<T>(HostBlock{kCoefficientThreads, group, b, static_cast<int>(s.groups), reinterpret_cast<float*>(shared.data())}, x, partial.data(),
                                  weight, coefficients.data(), s, eps);
    }
  for (int b = 0; b < blocks; ++b) group_apply_block<T, N>(HostBlock{kMapThreads, b, 0, blocks}, x, coefficients.data(), bias, out, s, silu);
}

}  // namespace me2::cuda
