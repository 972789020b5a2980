// Noise levels of the image decoder: the 1000 DDPM steps of Stable Diffusion read as EDM sigmas.
// Ref: sgm modules/diffusionmodules/discretizer.py LegacyDDPMDiscretization.
#pragma once
#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace me2::diffusion {

class EdmSchedule {
 public:
  explicit EdmSchedule(std::int64_t levels = 1000, double linear_start = 0.00085, double linear_end = 0.0120);
  explicit EdmSchedule(const at::Tensor& sigmas);  // a checkpoint's own table, ascending

  const std::vector<float>& table() const { return table_; }      // ascending: .0292 .. 14.6146
  std::vector<std::int64_t> indices(std::int64_t steps) const;    // of the levels visited, descending; Exit::usage unless 1 <= steps <= levels
  std::vector<float> sigmas(std::int64_t steps) const;            // the levels themselves, then 0: steps + 1 values
  at::Tensor nearest(const at::Tensor& sigma) const;              // [B] -> [B] int64, the first of equals

 private:
  std::vector<float> table_;
};

}  // namespace me2::diffusion
