// Weights by formula, for golden cases whose real model is too large to store (tests/support/formula.h is the twin of the
// reference's generator: splitmix64 of (index << 40) + element + 1 mapped to [-1, 1) and scaled by what the name says).
#pragma once
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <ATen/ATen.h>

namespace me2::test {

inline double formula_value(std::uint64_t index, std::uint64_t element) {
  std::uint64_t z = (element + 1 + (index << 40)) * 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  z ^= z >> 31;
  return 2.0 * (static_cast<double>(z >> 11) * 0x1p-53) - 1.0;
}

// shapes: name -> shape; the index of a name is its place in byte order, which std::map keeps.
inline std::map<std::string, at::Tensor> formula_state_dict(const std::map<std::string, std::vector<std::int64_t>>& shapes) {
  std::map<std::string, at::Tensor> out;
  std::uint64_t index = 0;
  for (const auto& [name, shape] : shapes) {
    if (!shape.empty()) {
      at::Tensor tensor = at::empty(shape, at::kFloat);
      float* values = tensor.mutable_data_ptr<float>();
      const double fan = static_cast<double>(tensor.numel()) / static_cast<double>(shape[0]);
      for (std::int64_t j = 0; j < tensor.numel(); ++j) {
        const double v = formula_value(index, static_cast<std::uint64_t>(j));
        values[j] = static_cast<float>(shape.size() >= 2                  ? v * std::sqrt(3.0 / fan)
                                       : name.ends_with("running_var")    ? 1.0 + 0.25 * (v + 1.0)
                                       : name.ends_with("running_mean")   ? 0.1 * v
                                       : name.ends_with("weight")         ? 1.0 + 0.1 * v
                                                                          : 0.02 * v);
      }
      out[name] = tensor;
    }
    ++index;
  }
  return out;
}

}  // namespace me2::test
