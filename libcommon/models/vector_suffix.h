// The size conditioning of SDXL and unCLIP: numbers as sinusoids, side by side.
// Ref: sgm modules/encoders/modules.py ConcatTimestepEmbedderND; unclip6.yaml and sd_xl_base.yaml `outdim`.
#pragma once
#include <ATen/core/Tensor.h>

namespace me2::models {

// values [B, n] -> [B, n * width]: each number's cosines then sines, number 0 first.
at::Tensor embed_numbers(const at::Tensor& values, std::int64_t width = 256);

// [1, 4 width]: original size then crop (0, 0). unCLIP has no target size.
at::Tensor unclip_vector_suffix(double size = 768, std::int64_t width = 256);

// [1, 6 width]: original size, crop (0, 0), target size.
at::Tensor sdxl_vector_suffix(double size = 768, double target = 1024, std::int64_t width = 256);

}  // namespace me2::models
