// The arithmetic of the kernels, block by block, for nvcc and for any C++ compiler: the unit tests run these very functions on the CPU
// against LibTorch. A kernel is a function of its block; block.each(f) calls f for every thread of it and then waits for all.
// T: float, or a 2-byte type that converts from and to float. All arithmetic is in float.
#pragma once
#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#define ME2_BOTH __host__ __device__
#else
#define ME2_BOTH
#endif

namespace me2::cuda {

using Index = std::int64_t;

ME2_BOTH inline float gelu(float x) { return 0.5f * x * (1.f + erff(x * 0.70710678118654752f)); }
ME2_BOTH inline float silu(float x) { return x / (1.f + expf(-x)); }

template <class T, int N>
struct alignas(sizeof(T) * N) Pack {  // what a thread loads at once
  T values[N];
};

// x [rows, 2 width] -> out [rows, width]; width divides by N.
template <class T, int N, class Block>
ME2_BOTH void geglu_block(const Block& block, const T* x, T* out, Index rows, Index width) {
  const Index packs = width / N, all = rows * packs, stride = Index{block.blocks} * block.threads;
  block.each([&](int thread) {
    for (Index i = Index{block.x} * block.threads + thread; i < all; i += stride) {
      const Index row = i / packs, column = i % packs * N;
      const auto value = *reinterpret_cast<const Pack<T, N>*>(x + row * 2 * width + column);
      const auto gate = *reinterpret_cast<const Pack<T, N>*>(x + row * 2 * width + width + column);
      Pack<T, N> y;
      for (int k = 0; k < N; ++k) y.values[k] = static_cast<T>(static_cast<float>(value.values[k]) * gelu(static_cast<float>(gate.values[k])));
      *reinterpret_cast<Pack<T, N>*>(out + row * width + column) = y;
    }
  });
}

// Group norm of x [batch, pixels, channels] (channels_last) in three kernels: sums over slabs of pixels, from them the mean and the
// scale of each channel, and their application. Sums are of differences to the group's first value, so that a mean far from zero costs no digits.
struct GroupNormShape {
  Index batch, pixels, channels, groups;
  Index slabs, slab;  // pixels of a slab; slabs * slab >= pixels
  ME2_BOTH Index width() const { return channels / groups; }  // channels of a group
};

inline constexpr int kSumThreads = 256, kCoefficientThreads = 128, kMapThreads = 256;

// How the pixels are cut for packs of n channels: enough blocks for a large GPU, and at least eight pixels for each thread.
ME2_BOTH inline GroupNormShape group_norm_shape(Index batch, Index pixels, Index channels, Index groups, int n) {
  const Index packs = channels / n, rows = packs < kSumThreads ? kSumThreads / packs : 1, most = 1024 / batch > 1 ? 1024 / batch : 1;
  Index slabs = (pixels + 8 * rows - 1) / (8 * rows);
  if (slabs > most) slabs = most;
  const Index slab = (pixels + slabs - 1) / slabs;
  return {batch, pixels, channels, groups, (pixels + slab - 1) / slab, slab};
}
// Floats of shared memory that a block of group_sums needs: two sums for each channel and row of threads.
ME2_BOTH inline Index group_sums_shared(const GroupNormShape& s, int n) {
  const Index packs = s.channels / n, rows = packs < kSumThreads ? kSumThreads / packs : 1;
  return 2 * rows * s.channels;
}

// Block (slab, sample): partial [batch, slabs, groups, 2]: sum and sum of squares of x - pivot.
template <class T, int N, class Block>
ME2_BOTH void group_sums_block(const Block& block, const T* x, float* partial, const GroupNormShape& s) {
  const Index packs = s.channels / N, rows = packs < block.threads ? block.threads / packs : 1, width = s.width();
  const Index first = Index{block.x} * s.slab, last = first + s.slab < s.pixels ? first + s.slab : s.pixels;
  const T* sample = x + Index{block.y} * s.pixels * s.channels;
  float *sums = block.shared, *squares = block.shared + rows * s.channels;
  block.each([&](int thread) {
    const Index row = packs < block.threads ? thread / packs : 0;
    if (row >= rows) return;
    for (Index pack = packs < block.threads ? thread % packs : thread; pack < packs; pack += packs < block.threads ? packs : block.threads) {
      float pivot[N], sum[N], square[N];
      for (int k = 0; k < N; ++k) {
        pivot[k] = static_cast<float>(sample[(pack * N + k) / width * width]);
        sum[k] = square[k] = 0;
      }
      for (Index pixel = first + row; pixel < last; pixel += rows) {
        const auto values = *reinterpret_cast<const Pack<T, N>*>(sample + pixel * s.channels + pack * N);
        for (int k = 0; k < N; ++k) {
          const float d = static_cast<float>(values.values[k]) - pivot[k];
          sum[k] += d;
          square[k] += d * d;
        }
      }
      for (int k = 0; k < N; ++k) {
        sums[row * s.channels + pack * N + k] = sum[k];
        squares[row * s.channels + pack * N + k] = square[k];
      }
    }
  });
  block.each([&](int thread) {
    for (Index group = thread; group < s.groups; group += block.threads) {
      float sum = 0, square = 0;
      for (Index row = 0; row < rows; ++row)
        for (Index c = row * s.channels + group * width; c < row * s.channels + (group + 1) * width; ++c) {
          sum += sums[c];
          square += squares[c];
        }
      float* to = partial + ((Index{block.y} * s.slabs + block.x) * s.groups + group) * 2;
      to[0] = sum;
      to[1] = square;
    }
  });
}

// Block (group, sample), kCoefficientThreads threads, 4 floats of shared memory each: coefficients [batch, 2, channels], mean then scale.
template <class T, class Block>
ME2_BOTH void group_coefficients_block(const Block& block, const T* x, const float* partial, const T* weight, float* coefficients,
                                       const GroupNormShape& s, float eps) {
  double *sums = reinterpret_cast<double*>(block.shared), *squares = sums + block.threads;
  block.each([&](int thread) {
    double sum = 0, square = 0;
    for (Index slab = thread; slab < s.slabs; slab += block.threads) {
      const float* from = partial + ((Index{block.y} * s.slabs + slab) * s.groups + block.x) * 2;
      sum += from[0];
      square += from[1];
    }
    sums[thread] = sum;
    squares[thread] = square;
  });
  for (int half = block.threads / 2; half > 0; half /= 2)
    block.each([&](int thread) {
      if (thread >= half) return;
      sums[thread] += sums[thread + half];
      squares[thread] += squares[thread + half];
    });
  block.each([&](int thread) {
    const Index width = s.width(), first = Index{block.x} * width;
    const double count = static_cast<double>(width) * static_cast<double>(s.pixels), shift = sums[0] / count;
    const double variance = squares[0] / count - shift * shift;
    const float mean = static_cast<float>(static_cast<double>(static_cast<float>(x[Index{block.y} * s.pixels * s.channels + first])) + shift);
    const float scale = static_cast<float>(1. / sqrt((variance > 0 ? variance : 0) + static_cast<double>(eps)));
    float* to = coefficients + Index{block.y} * 2 * s.channels;
    for (Index c = first + thread; c < first + width; c += block.threads) {
      to[c] = mean;
      to[s.channels + c] = scale * static_cast<float>(weight[c]);
    }
  });
}

template <class T, int N, class Block>
ME2_BOTH void group_apply_block(const Block& block, const T* x, const float* coefficients, const T* bias, T* out, const GroupNormShape& s, bool with_silu) {
  const Index packs = s.channels / N, all = s.batch * s.pixels * packs, stride = Index{block.blocks} * block.threads;
  block.each([&](int thread) {
    for (Index i = Index{block.x} * block.threads + thread; i < all; i += stride) {
      const Index channel = i % packs * N;
      const float* mean = coefficients + i / (packs * s.pixels) * 2 * s.channels + channel;
      const auto in = *reinterpret_cast<const Pack<T, N>*>(x + i * N);
      const auto shift = *reinterpret_cast<const Pack<T, N>*>(bias + channel);
      Pack<T, N> y;
      for (int k = 0; k < N; ++k) {
        const float v = (static_cast<float>(in.values[k]) - mean[k]) * mean[s.channels + k] + static_cast<float>(shift.values[k]);
        y.values[k] = static_cast<T>(with_silu ? silu(v) : v);
      }
      *reinterpret_cast<Pack<T, N>*>(out + i * N) = y;
    }
  });
}

}  // namespace me2::cuda
