#include "train/peers.h"

#include <numeric>

#include <ATen/ATen.h>

#include "base/error.h"

namespace me2::train {

Share::Share(const std::vector<std::int64_t>& subject_rows, int rank, int size) : subject_rows_(subject_rows), rank_(rank), size_(size) {
  for (const auto rows : subject_rows)
    if (rows < size) throw usage_error("--batch-size: {} samples of a subject in a batch cannot be shared by {} processes", rows, size);
}

std::int64_t Share::joined() const { return std::accumulate(subject_rows_.begin(), subject_rows_.end(), std::int64_t{0}); }

std::vector<std::int64_t> Share::positions(int rank) const {
  std::vector<std::int64_t> out;
  std::int64_t before = 0;
  for (std::size_t s = 0; s < subject_rows_.size(); before += subject_rows_[s++])
    for (auto i = begin(s, rank); i < begin(s, rank + 1); ++i) out.push_back(before + i);
  return out;
}

std::vector<std::int64_t> Share::counts() const {
  std::vector<std::int64_t> out;
  for (int r = 0; r < size_; ++r) out.push_back(static_cast<std::int64_t>(positions(r).size()));
  return out;
}

at::Tensor Share::rows() const { return at::tensor(positions(rank_), at::kLong); }

at::Tensor Share::join(const std::vector<at::Tensor>& parts) const {
  std::vector<std::int64_t> inverse(static_cast<std::size_t>(joined()));
  std::int64_t next = 0;
  for (int r = 0; r < size_; ++r)
    for (const auto position : positions(r)) inverse[static_cast<std::size_t>(position)] = next++;
  const at::Tensor all = at::cat(parts);
  return all.index_select(0, at::tensor(inverse, at::kLong).to(all.device()));
}

at::Tensor flag(bool value) { return at::tensor({value ? 1.0 : 0.0}, at::kDouble); }

bool is_set(const at::Tensor& flag) { return flag.item<double>() > 0; }

}  // namespace me2::train
