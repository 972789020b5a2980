#include "report/features.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace me2::report {

void KeptFeatures::start(const std::string& of, const std::vector<std::string>& ids) {
  if (of == set && std::all_of(ids.begin(), ids.end(), [&](const auto& id) { return row.contains(id); })) return;
  set = of, row.clear(), features.clear();
  for (std::size_t i = 0; i < ids.size(); ++i) row.emplace(ids[i], static_cast<std::int64_t>(i));
}

void KeptFeatures::keep(const std::string& name, const std::vector<std::string>& ids, const at::Tensor& of_ids) {
  if (ids.size() != row.size()) return;
  for (std::size_t i = 0; i < ids.size(); ++i)
    if (row.at(ids[i]) != static_cast<std::int64_t>(i)) return;
  features[name] = of_ids;
}

at::Tensor Embedded::index() const { return at::tensor(row, at::kLong); }

at::Tensor Embedded::rows() const {
  bool whole = static_cast<std::int64_t>(row.size()) == features.size(0);
  for (std::size_t i = 0; i < row.size() && whole; ++i) whole = row[i] == static_cast<std::int64_t>(i);
  return whole ? features : features.index_select(0, index());
}

at::Tensor Embedded::counts() const {
  at::Tensor out = at::zeros({features.size(0)}, at::kDouble);
  for (const auto r : row) out.mutable_data_ptr<double>()[r] += 1;
  return out;
}

Distinct::Distinct(const std::vector<std::string>& names) {
  std::map<std::string, std::int64_t> at;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto [it, fresh] = at.emplace(names[i], static_cast<std::int64_t>(embed.size()));
    if (fresh) embed.push_back(static_cast<std::int64_t>(i));
    row.push_back(it->second);
  }
}

}  // namespace me2::report
