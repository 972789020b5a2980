// Per-row integers that a stage carries from its input to its output, so that a row can be traced: repeat, session, run, split
// (subject stores), trials (how many were averaged), draw (of the prior).
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "store/zarr.h"

namespace me2::store {

struct Column {
  std::string name;
  std::vector<std::int32_t> values;  // one per row
};
using Columns = std::vector<Column>;

Columns read_columns(const Group& group, std::int64_t rows);                        // those that are there; Exit::data when one has another length
Columns pick_rows(const Columns& columns, std::span<const std::int64_t> rows);
void write_columns(Group& group, const Columns& columns);                           // i4 [sample] arrays

// `stimulus` of a group, or 0, 1, 2, ... with a note in the log when it has none. Exit::data when its length is not `rows`.
std::vector<std::int32_t> read_stimulus(const Group& group, std::int64_t rows);

}  // namespace me2::store
