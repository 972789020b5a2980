#include "weights/formula.h"

#include <cmath>

#include <ATen/ATen.h>

#include "weights/parallel.h"

namespace me2::weights {
namespace {

inline double hash01(std::uint64_t z) {  // uniform in [-1, 1)
  z *= 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  z ^= z >> 31;
  return 2.0 * (static_cast<double>(z >> 11) * 0x1p-53) - 1.0;
}

template <class Scale>
void fill(float* out, std::int64_t count, std::uint64_t index, const Scale& scale) {
  parallel_for(0, count, 1 << 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t j = begin; j < end; ++j)
      out[j] = static_cast<float>(scale(hash01((index << 40) + static_cast<std::uint64_t>(j) + 1)));
  });
}

}  // namespace

at::Tensor formula_tensor(const std::string& name, std::uint64_t index, const std::vector<std::int64_t>& shape) {
  at::Tensor tensor = at::empty(shape, at::kFloat);
  float* out = tensor.mutable_data_ptr<float>();
  const std::int64_t count = tensor.numel();
  if (count == 0) return tensor;
  if (shape.size() >= 2) {
    const double scale = std::sqrt(3.0 / static_cast<double>(count / shape[0]));
    fill(out, count, index, [scale](double v) { return v * scale; });
  } else if (name.ends_with("running_var")) {
    fill(out, count, index, [](double v) { return 1.0 + 0.25 * (v + 1.0); });
  } else if (name.ends_with("running_mean")) {
    fill(out, count, index, [](double v) { return 0.1 * v; });
  } else if (name.ends_with("weight")) {
    fill(out, count, index, [](double v) { return 1.0 + 0.1 * v; });
  } else {
    fill(out, count, index, [](double v) { return 0.02 * v; });
  }
  return tensor;
}

StateDict::Entries formula_entries(const std::map<std::string, std::vector<std::int64_t>>& shapes, float gain) {
  StateDict::Entries entries;
  std::uint64_t index = 0;
  for (const auto& [name, shape] : shapes) {  // std::map<std::string> is byte-sorted
    const std::uint64_t i = index++;
    if (shape.empty()) {
      const bool counter = name.ends_with("num_batches_tracked");
      const double value = name.ends_with("logit_scale") ? std::log(1 / 0.07) : 0;
      const auto type = counter ? at::kLong : at::kFloat;
      entries[name] = {shape, type, [type, value] { return at::full({}, value, at::TensorOptions().dtype(type)); }};
    } else {
      entries[name] = {shape, at::kFloat, [name = name, shape = shape, i, gain] {
                         at::Tensor tensor = formula_tensor(name, i, shape);
                         return shape.size() >= 2 && gain != 1 ? tensor.mul_(gain) : tensor;
                       }};
    }
  }
  return entries;
}

}  // namespace me2::weights
