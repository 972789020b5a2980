#include "train/column_sums.h"

#include <ATen/ATen.h>

#include "base/error.h"
#include "nn/lanes.h"
#include "weights/parallel.h"

namespace me2::train {
namespace {

constexpr int kWide = 8;
constexpr std::int64_t kColumns = 512;  // whose sums stay in the nearest cache
typedef double Doubles __attribute__((vector_size(8 * kWide)));
typedef float Floats __attribute__((vector_size(4 * kWide)));

ME2_INLINE void load(Doubles& to, const double* from) { std::memcpy(&to, from, sizeof to); }
ME2_INLINE void load(Doubles& to, const float* from) {
  Floats narrow;
  std::memcpy(&narrow, from, sizeof narrow);
  to = __builtin_convertvector(narrow, Doubles);
}

// sums[0..count) of columns that begin at x, rows `stride` apart; square: of the squares of factor * x.
template <bool square, class T>
ME2_INLINE void add_columns(const T* x, std::int64_t rows, std::int64_t stride, std::int64_t count, const double* factors, double* sums) {
  for (std::int64_t r = 0; r < rows; ++r, x += stride) {
    const double factor = factors ? factors[r] : 1;
    std::int64_t c = 0;
    for (; c + kWide <= count; c += kWide) {
      Doubles sum, value;
      load(sum, sums + c);
      load(value, x + c);
      if constexpr (square) value = value * factor, value = value * value;
      sum += value;
      std::memcpy(sums + c, &sum, sizeof sum);
    }
    for (; c < count; ++c) {
      const double value = square ? x[c] * factor : x[c];
      sums[c] += square ? value * value : value;
    }
  }
}

template <bool square, class T>
ME2_TARGET_AVX512 void add_avx512(const T* x, std::int64_t rows, std::int64_t stride, std::int64_t count, const double* factors, double* sums) {
  add_columns<square>(x, rows, stride, count, factors, sums);
}
template <bool square, class T>
ME2_TARGET_AVX2 void add_avx2(const T* x, std::int64_t rows, std::int64_t stride, std::int64_t count, const double* factors, double* sums) {
  add_columns<square>(x, rows, stride, count, factors, sums);
}
template <bool square, class T>
void add_portable(const T* x, std::int64_t rows, std::int64_t stride, std::int64_t count, const double* factors, double* sums) {
  add_columns<square>(x, rows, stride, count, factors, sums);
}

template <bool square, class T>
at::Tensor sums_of(const at::Tensor& x, const at::Tensor& factors) {
  const std::int64_t rows = x.size(0), columns = x.size(1), stride = x.stride(0);
  at::Tensor out = at::zeros({columns}, at::kDouble);
  const T* from = x.const_data_ptr<T>();
  const double* f = factors.defined() ? factors.const_data_ptr<double>() : nullptr;
  double* sums = out.mutable_data_ptr<double>();
  weights::parallel_for(0, (columns + kColumns - 1) / kColumns, 4, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t block = first; block < last; ++block) {
      const std::int64_t at = block * kColumns, count = std::min(kColumns, columns - at);
      const auto add = nn::lanes_level() == 2 ? add_avx512<square, T> : nn::lanes_level() == 1 ? add_avx2<square, T> : add_portable<square, T>;
      add(from + at, rows, stride, count, f, sums + at);
    }
  });
  return out;
}

template <bool square>
at::Tensor sums_of(const at::Tensor& x, const at::Tensor& factors) {
  if (x.dim() != 2) throw Error(Exit::internal, "column sums of something that is no matrix");
  const at::Tensor whole = x.stride(1) == 1 || x.size(1) == 1 ? x : x.contiguous();
  const at::Tensor f = factors.defined() ? factors.to(at::kDouble).contiguous() : at::Tensor();
  if (whole.scalar_type() == at::kDouble) return sums_of<square, double>(whole, f);
  return sums_of<square, float>(whole.to(at::kFloat), f);
}

}  // namespace

at::Tensor column_sums(const at::Tensor& x) { return sums_of<false>(x, {}); }
at::Tensor column_square_sums(const at::Tensor& x, const at::Tensor& factors) { return sums_of<true>(x, factors); }

}  // namespace me2::train
