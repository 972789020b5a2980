#include "store/gather.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "store/parallel.h"

namespace me2::store {
namespace {

constexpr std::int64_t kBytesWorthThreads = 512 << 10;

struct Run {
  std::int64_t place, first, count;  // rows [first, first + count) go to out[place]
};

}  // namespace

void gather_bytes(const Array& array, std::span<const std::int64_t> rows, DType as, void* out) {
  const Shape& shape = array.shape();
  if (shape.empty()) throw data_error("{}: a single number has no rows", array.path());
  std::vector<Run> runs;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!runs.empty() && rows[i] == runs.back().first + runs.back().count) ++runs.back().count;
    else runs.push_back({static_cast<std::int64_t>(i), rows[i], 1});
  }
  std::int64_t elements = 1;  // of a row
  for (std::size_t k = 1; k < shape.size(); ++k) elements *= shape[k];
  const std::int64_t bytes = elements * static_cast<std::int64_t>(item_size(as));
  const int threads = bytes * static_cast<std::int64_t>(rows.size()) >= kBytesWorthThreads ? store_threads() : 1;
  parallel_for(static_cast<std::int64_t>(runs.size()), threads, [&](std::int64_t i) {
    const Run& run = runs[static_cast<std::size_t>(i)];
    Box box{Shape(shape.size(), 0), shape};
    box.start[0] = run.first, box.count[0] = run.count;
    array.read_bytes(box, as, static_cast<std::uint8_t*>(out) + run.place * bytes);
  });
}

void gather_finite_rows(const Array& array, std::span<const std::int64_t> rows, float* out) {
  gather_rows(array, rows, out);
  const std::int64_t elements = rows.empty() ? 0 : array.size() / array.shape()[0];
  for (const auto row : rows) {
    bool fine = true;
    for (std::int64_t i = 0; i < elements; ++i) fine &= std::isfinite(out[i]);
    if (!fine) throw data_error("{}: row {} has values that are not finite", array.path(), row);
    out += elements;
  }
}

}  // namespace me2::store
