#include "models/vector_suffix.h"

#include <vector>

#include <ATen/ATen.h>

#include "nn/timestep_embedding.h"

namespace me2::models {

at::Tensor embed_numbers(const at::Tensor& values, std::int64_t width) {
  return nn::timestep_embedding(values.reshape({-1}), width).reshape({values.size(0), values.size(1) * width});
}

at::Tensor unclip_vector_suffix(double size, std::int64_t width) {
  return embed_numbers(at::tensor(std::vector<double>{size, size, 0, 0}).unsqueeze(0), width);
}

at::Tensor sdxl_vector_suffix(double size, double target, std::int64_t width) {
  return embed_numbers(at::tensor(std::vector<double>{size, size, 0, 0, target, target}).unsqueeze(0), width);
}

}  // namespace me2::models
