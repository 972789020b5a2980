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

at::Tensor rows_apart(const at::Tensor& x) { return x.stride(1) == 1 || x.size(1) == 1 ? x : x.contiguous(); }

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
  const at::Tensor whole = rows_apart(x);
  const at::Tensor f = factors.defined() ? factors.to(at::kDouble).contiguous() : at::Tensor();
  if (whole.scalar_type() == at::kDouble) return sums_of<square, double>(whole, f);
  return sums_of<square, float>(whole.to(at::kFloat), f);
}

// Of rows first..last: the sums over c of a * b, in sixteen partial sums.
template <class T>
ME2_INLINE void dot_rows(const T* a, const T* b, std::int64_t a_stride, std::int64_t b_stride, std::int64_t count, std::int64_t first, std::int64_t last,
                         double* sums) {
  for (std::int64_t r = first; r < last; ++r) {
    const T *left = a + r * a_stride, *right = b + r * b_stride;
    Doubles even = {}, odd = {};
    std::int64_t c = 0;
    for (; c + 2 * kWide <= count; c += 2 * kWide) {
      Doubles x, y;
      load(x, left + c);
      load(y, right + c);
      even += x * y;
      load(x, left + c + kWide);
      load(y, right + c + kWide);
      odd += x * y;
    }
    even += odd;
    double sum = 0;
    for (int i = 0; i < kWide; ++i) sum += even[i];
    for (; c < count; ++c) sum += static_cast<double>(left[c]) * static_cast<double>(right[c]);
    sums[r] = sum;
  }
}

template <class T>
ME2_TARGET_AVX512 void dot_avx512(const T* a, const T* b, std::int64_t a_stride, std::int64_t b_stride, std::int64_t count, std::int64_t first,
                                  std::int64_t last, double* sums) {
  dot_rows(a, b, a_stride, b_stride, count, first, last, sums);
}
template <class T>
ME2_TARGET_AVX2 void dot_avx2(const T* a, const T* b, std::int64_t a_stride, std::int64_t b_stride, std::int64_t count, std::int64_t first,
                              std::int64_t last, double* sums) {
  dot_rows(a, b, a_stride, b_stride, count, first, last, sums);
}
template <class T>
void dot_portable(const T* a, const T* b, std::int64_t a_stride, std::int64_t b_stride, std::int64_t count, std::int64_t first, std::int64_t last,
                  double* sums) {
  dot_rows(a, b, a_stride, b_stride, count, first, last, sums);
}

template <class T>
at::Tensor dots_of(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor out = at::empty({a.size(0)}, at::kDouble);
  double* sums = out.mutable_data_ptr<double>();
  const T *left = a.const_data_ptr<T>(), *right = b.const_data_ptr<T>();
  const std::int64_t a_stride = a.stride(0), b_stride = b.stride(0), count = a.size(1);
  const auto dot = nn::lanes_level() == 2 ? dot_avx512<T> : nn::lanes_level() == 1 ? dot_avx2<T> : dot_portable<T>;
  weights::parallel_for(0, a.size(0), 64, [&](std::int64_t first, std::int64_t last) { dot(left, right, a_stride, b_stride, count, first, last, sums); });
  return out;
}

}  // namespace

at::Tensor column_sums(const at::Tensor& x) { return sums_of<false>(x, {}); }
at::Tensor column_square_sums(const at::Tensor& x, const at::Tensor& factors) { return sums_of<true>(x, factors); }
at::Tensor row_dots(const at::Tensor& a, const at::Tensor& b) {
  if (a.dim() != 2 || a.sizes() != b.sizes() || a.scalar_type() != b.scalar_type()) throw Error(Exit::internal, "row dots of two matrices that do not match");
  const at::Tensor left = rows_apart(a), right = rows_apart(b);
  return a.scalar_type() == at::kDouble ? dots_of<double>(left, right) : dots_of<float>(left, right);
}

}  // namespace me2::train
