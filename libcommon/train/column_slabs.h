// Blocks of columns out of wider slabs. Stores keep rows together: reading some columns of every row costs as much as reading all of them, so
// what is asked for in small blocks is read in slabs as wide as memory allows.
#pragma once
#include <algorithm>
#include <functional>
#include <utility>

#include <ATen/ATen.h>

namespace me2::train {

class ColumnSlabs {
 public:
  using Load = std::function<at::Tensor(std::int64_t first, std::int64_t count)>;  // [rows, count]
  // A matrix [rows, columns] of `item` bytes an element; slabs of at most `bytes`, unless a single block is wider.
  ColumnSlabs(std::int64_t rows, std::int64_t columns, std::int64_t item, std::int64_t bytes, Load load)
      : columns_(columns), width_(std::max<std::int64_t>(1, bytes / std::max<std::int64_t>(1, rows * item))), load_(std::move(load)) {}

  // A view, valid beyond the next call.
  at::Tensor operator()(std::int64_t first, std::int64_t count) {
    if (!slab_.defined() || first < first_ || first + count > first_ + slab_.size(1)) {
      slab_.reset();  // before the next one is made
      // A whole number of blocks, so that no block straddles two slabs.
      slab_ = load_(first, std::min(columns_ - first, std::max(count, width_ / count * count)));
      first_ = first;
    }
    return slab_.narrow(1, first - first_, count);
  }

 private:
  std::int64_t columns_, width_, first_ = 0;
  Load load_;
  at::Tensor slab_;
};

}  // namespace me2::train
