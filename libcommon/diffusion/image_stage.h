// Pictures as a stage: what every verb of me2-decode writes, and what reads tokens, latents and pictures for it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "store/stage.h"

namespace me2::diffusion {

struct ImageStage {
  std::vector<std::int32_t> stimulus;  // one per picture
  std::int64_t height = 0, width = 0;
  bool with_float = false;             // also image_f4, before rounding to bytes
  std::vector<std::int32_t> draw;      // empty: one picture per sample
  store::StageSpec spec() const;       // image u1 [sample, 3, H, W], image_f4, draw
};

// Rows per write unit: small enough that little is lost when a run is stopped, and few enough files.
std::int64_t image_unit_rows(std::int64_t rows);

// pictures [n, 3, H, W] f32 in [0, 1]: bytes by truncation. Exit::data naming the stimulus of a picture with NaN.
void write_pictures(store::StageWriter& out, const ImageStage& stage, const store::RowRange& rows, const at::Tensor& pictures);

// Rows of a float array [sample, ...]. Exit::data naming the sample (row and stimulus) whose values are not finite.
at::Tensor read_finite(const store::StageReader& in, const std::string& array, std::int64_t first, std::int64_t count);

// Pictures of a stage as f32 in [0, 1]: image_f4 where it is there, else image / 255.
at::Tensor read_pictures(const store::StageReader& in, std::int64_t first, std::int64_t count);

// Row of each stimulus in `in`, the first where it occurs several times. Exit::data naming a stimulus that is missing.
std::vector<std::int64_t> rows_by_stimulus(const store::StageReader& in, const std::vector<std::int32_t>& stimulus);

}  // namespace me2::diffusion
