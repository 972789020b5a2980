#include "diffusion/edm_schedule.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "base/error.h"

namespace me2::diffusion {

EdmSchedule::EdmSchedule(std::int64_t levels, double linear_start, double linear_end) {
  const double first = std::sqrt(linear_start), last = std::sqrt(linear_end);
  const double step = levels > 1 ? (last - first) / static_cast<double>(levels - 1) : 0;
  double kept = 1;  // product of 1 - beta
  for (std::int64_t i = 0; i < levels; ++i) {
    // PyTorch's linspace counts from the nearer end.
    const double root = i < levels / 2 ? first + step * static_cast<double>(i) : last - step * static_cast<double>(levels - 1 - i);
    kept *= 1 - root * root;
    table_.push_back(std::sqrt(static_cast<float>((1 - kept) / kept)));  // Fidelity: the root is taken in f32
  }
}

EdmSchedule::EdmSchedule(const at::Tensor& sigmas) {
  const at::Tensor values = sigmas.to(at::kCPU, at::kFloat).contiguous();
  table_.assign(values.const_data_ptr<float>(), values.const_data_ptr<float>() + values.numel());
  if (table_.empty() || !std::is_sorted(table_.begin(), table_.end()) || !(table_.front() > 0))
    throw data_error("denoiser.sigmas: {} ascending positive noise levels expected", table_.size());
}

std::vector<std::int64_t> EdmSchedule::indices(std::int64_t steps) const {
  const auto levels = static_cast<std::int64_t>(table_.size());
  if (steps < 1 || steps > levels) throw usage_error("--steps: 1 to {} expected, {} given", levels, steps);
  std::vector<std::int64_t> out(steps);
  if (steps == levels) {
    for (std::int64_t i = 0; i < steps; ++i) out[i] = levels - 1 - i;
    return out;
  }
  const auto top = static_cast<double>(levels - 1);
  const double step = (0 - top) / static_cast<double>(steps);  // numpy.linspace(top, 0, steps, endpoint=False), truncated
  for (std::int64_t i = 0; i < steps; ++i) out[i] = static_cast<std::int64_t>(static_cast<double>(i) * step + top);
  return out;
}

std::vector<float> EdmSchedule::sigmas(std::int64_t steps) const {
  std::vector<float> out;
  for (const auto i : indices(steps)) out.push_back(table_[i]);
  out.push_back(0);
  return out;
}

at::Tensor EdmSchedule::nearest(const at::Tensor& sigma) const {
  const at::Tensor values = sigma.to(at::kCPU, at::kFloat).contiguous();
  at::Tensor out = at::empty({values.numel()}, at::kLong);
  for (std::int64_t b = 0; b < values.numel(); ++b) {
    const float s = values.const_data_ptr<float>()[b];
    const auto closer = [s](float x, float y) { return std::abs(x - s) < std::abs(y - s); };
    out.mutable_data_ptr<std::int64_t>()[b] = std::min_element(table_.begin(), table_.end(), closer) - table_.begin();
  }
  return out.to(sigma.device());
}

}  // namespace me2::diffusion
