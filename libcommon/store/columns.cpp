#include "store/columns.h"

#include <array>
#include <numeric>

#include "base/error.h"
#include "base/log.h"

namespace me2::store {
namespace {

struct Known {
  const char *name, *long_name;
};
constexpr std::array<Known, 6> kKnown{{{"repeat", "which showing of the stimulus"}, {"session", "scanning session"}, {"run", "run of the session"},
                                       {"split", "0 train, 1 test, -1 unused"}, {"trials", "trials averaged into the row"},
                                       {"draw", "which draw of the sample"}}};

std::vector<std::int32_t> read_column(const Array& array, std::int64_t rows) {
  if (array.shape() != Shape{rows}) throw data_error("{}: shape [{}]; [{}] expected, one for each row", array.path(), fmt::join(array.shape(), ", "), rows);
  return array.read<std::int32_t>();
}

}  // namespace

Columns read_columns(const Group& group, std::int64_t rows) {
  Columns columns;
  for (const auto& known : kKnown)
    if (group.has_array(known.name)) columns.push_back({known.name, read_column(group.array(known.name), rows)});
  return columns;
}

Columns pick_rows(const Columns& columns, std::span<const std::int64_t> rows) {
  Columns picked;
  for (const auto& column : columns) {
    picked.push_back({column.name, {}});
    for (const auto row : rows) picked.back().values.push_back(column.values[static_cast<std::size_t>(row)]);
  }
  return picked;
}

void write_columns(Group& group, const Columns& columns) {
  for (const auto& column : columns) {
    ArraySpec spec;
    spec.shape = {static_cast<std::int64_t>(column.values.size())};
    spec.dtype = DType::i4;
    spec.dimension_names = {"sample"};
    spec.units = "1";
    for (const auto& known : kKnown)
      if (column.name == known.name) spec.long_name = known.long_name;
    group.create_array(column.name, spec).write(column.values.data());
  }
}

std::vector<std::int32_t> read_stimulus(const Group& group, std::int64_t rows) {
  if (group.has_array("stimulus")) return read_column(group.array("stimulus"), rows);
  log_info("{} has no array \"stimulus\"; its {} rows are numbered from 0", group.path(), rows);
  std::vector<std::int32_t> numbered(static_cast<std::size_t>(rows));
  std::iota(numbered.begin(), numbered.end(), 0);
  return numbered;
}

}  // namespace me2::store
