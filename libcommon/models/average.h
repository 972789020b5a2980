// Which trials make one row of a stage store: repeats of a stimulus averaged as the reference does at inference, or kept.
#pragma once
#include <cstdint>
#include <vector>

#include "store/columns.h"

namespace me2::models {

enum class Average { repeats, none };

// One output row: the trials whose outputs are averaged, in order. Fewer than three are filled up as the reference does at
// inference: [a] -> a, a, a; [a, b] -> a, a, b. More than three are all taken.
struct AveragedRow {
  std::int32_t stimulus = 0;
  std::vector<std::int64_t> trials;
  std::int64_t distinct = 0;
};
std::vector<AveragedRow> average_rows(const std::vector<std::int32_t>& stimulus, Average average);  // repeats: stimuli ascending

// What the rows carry along: their first trial's columns. With repeats averaged, those that differ between repeats are left out, and
// `trials` says how many different ones there were.
store::Columns average_columns(const store::Columns& columns, const std::vector<AveragedRow>& rows, Average average);

}  // namespace me2::models
