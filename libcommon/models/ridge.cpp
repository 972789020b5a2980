#include "models/ridge.h"

#include <fmt/format.h>

namespace me2::models {

Ridge::Ridge(const nn::Scope& s, const std::vector<std::int64_t>& voxels, std::int64_t hidden) {
  for (std::size_t i = 0; i < voxels.size(); ++i)
    linears.emplace_back(s.sub("linears").sub(static_cast<std::int64_t>(i)), voxels[i], hidden);
}

std::vector<std::int64_t> Ridge::detect_voxels(const nn::Scope& s) {
  std::vector<std::int64_t> voxels(static_cast<std::size_t>(s.count("linears", "weight")));
  for (std::size_t i = 0; i < voxels.size(); ++i) voxels[i] = s.shape(fmt::format("linears.{}.weight", i)).at(1);
  return voxels;
}

}  // namespace me2::models
