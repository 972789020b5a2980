// The random draws of unCLIP decoding: from the generator, where they depend on (seed, stimulus, draw) only, or from a noise store,
// for comparison with another implementation.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "diffusion/unclip.h"
#include "store/stage.h"

namespace me2::diffusion {

// A picture's row: sample * draws + draw.
class UnclipNoise {
 public:
  struct Sizes {
    std::vector<std::int32_t> stimulus;       // of the samples
    std::int64_t draws = 1;                   // pictures per sample
    std::array<std::int64_t, 3> latent{};     // channels, height, width
    std::int64_t tokens = 0, width = 0;       // of the token grid
    std::int64_t rows() const { return static_cast<std::int64_t>(stimulus.size()) * draws; }
  };

  static UnclipNoise generated(std::uint64_t seed, Sizes sizes);
  // Arrays z, noise [rows, 4, h, w], offset [rows], uc_crossattn [1, samples or rows, T, D] (absent where guidance is 1 or the
  // model's unconditional tokens are zeros) and, for the ancestral sampler, step_noise [rows, steps, 4, h, w]. The latent's size is
  // the store's. draws 0: as many as the rows make. Exit::data naming the array and both shapes.
  static UnclipNoise stored(const std::string& path, Sizes sizes);

  const Sizes& sizes() const { return sizes_; }
  UnclipDraws read(std::int64_t first, std::int64_t count, bool with_uncond) const;
  at::Tensor step(std::int64_t first, std::int64_t count, std::int64_t step) const;  // [count, 4, h, w]

  // --save-noise: what `read` gives, as a stage store that `stored` reads.
  static store::StageSpec spec(const Sizes& sizes);
  static void write(store::StageWriter& out, const store::RowRange& rows, const UnclipDraws& draws);

 private:
  Sizes sizes_;
  std::uint64_t seed_ = 0;
  std::string path_;  // empty: generated
};

}  // namespace me2::diffusion
