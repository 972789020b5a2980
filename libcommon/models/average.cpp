#include "models/average.h"

#include <map>

namespace me2::models {

std::vector<AveragedRow> average_rows(const std::vector<std::int32_t>& stimulus, Average average) {
  std::vector<AveragedRow> rows;
  if (average == Average::none) {
    for (std::size_t i = 0; i < stimulus.size(); ++i) rows.push_back({stimulus[i], {static_cast<std::int64_t>(i)}, 1});
    return rows;
  }
  std::map<std::int32_t, std::vector<std::int64_t>> trials;
  for (std::size_t i = 0; i < stimulus.size(); ++i) trials[stimulus[i]].push_back(static_cast<std::int64_t>(i));
  for (auto& [id, which] : trials) {
    const auto distinct = static_cast<std::int64_t>(which.size());
    while (which.size() < 3) which.insert(which.begin(), which.front());
    rows.push_back({id, std::move(which), distinct});
  }
  return rows;
}

store::Columns average_columns(const store::Columns& columns, const std::vector<AveragedRow>& rows, Average average) {
  std::vector<std::int64_t> first;
  for (const auto& row : rows) first.push_back(row.trials.front());
  store::Columns out = store::pick_rows(columns, first);
  if (average == Average::none) return out;
  std::erase_if(out, [](const auto& c) { return c.name == "repeat" || c.name == "session" || c.name == "run" || c.name == "trials"; });
  out.push_back({"trials", {}});
  for (const auto& row : rows) out.back().values.push_back(static_cast<std::int32_t>(row.distinct));
  return out;
}

}  // namespace me2::models
