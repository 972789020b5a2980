// MATLAB .mat files (v4 to v7.3) through matio: numeric arrays by name.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "store/zarr.h"

namespace me2::store {

struct MatArray {
  Shape shape;
  std::vector<double> values;  // column-major, as MATLAB keeps them; integers up to 2^53 are exact
  double at(std::int64_t row, std::int64_t column) const { return values[static_cast<std::size_t>(row + column * shape[0])]; }
};

// Exit::data when the file is not MAT, the variable is absent (the message names those there) or not a real numeric array.
MatArray read_mat(const std::string& path, const std::string& variable);
std::vector<std::string> mat_variables(const std::string& path);

}  // namespace me2::store
