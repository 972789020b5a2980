// Training of the image decoder's U-Net: SDXL fine-tuned on image-embedding tokens as the paper does, or a small one from scratch.
// Ref: sgm modules/diffusionmodules/loss.py StandardDiffusionLoss; goldens/image.md section 6.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "base/describe.h"
#include "base/json_fwd.h"
#include "diffusion/unclip.h"
#include "train/step_loop.h"

namespace me2::train {

// One loss per sample: mean over pixels of (raw output - target)^2. For eps scaling that is the reference's sigma^-2 (denoised - z)^2
// without its cancellation at small sigma; for v it is the plain error of the network's own output.
// z [B, C, h, w]; index [B] levels of the table; noise with its offset added. -> [B]
at::Tensor unclip_loss(const diffusion::Denoiser& denoiser, const at::Tensor& z, const at::Tensor& index, const at::Tensor& noise,
                       const diffusion::Condition& condition);

// Fidelity: noise + level * offset, an offset per sample and channel here, where decoding has one per sample.
at::Tensor offset_noise(const at::Tensor& noise, const at::Tensor& offset, double level);

enum class NoiseLevels { uniform, lognormal };  // over the table's steps; over ln sigma

// What a small U-Net's tokens are normalised by. `position`: mean and deviation per position and feature. That takes away the mean by
// which attention can tell one position from another; `coded` puts a fixed normal code per position in its place.
enum class TokenNorm { none, position, coded };

struct UnclipTrainOptions {
  std::int64_t batch = 8;
  std::uint64_t seed = 42;
  double condition_drop = 0.1;   // share of samples whose tokens are replaced by the unconditional ones
  double offset = 0.04;
  NoiseLevels levels = NoiseLevels::uniform;
  double level_mean = 0.4, level_sd = 1.4;  // of ln sigma, lognormal
};

struct UnclipTrainData {
  at::Tensor moments;  // [P, 2 C, h, w] of the autoencoder, each picture encoded once
  std::function<at::Tensor(const std::vector<std::int64_t>& rows)> tokens;  // -> [n, T, D] as the stores have them
  std::vector<std::int64_t> picture;  // of each row of tokens, among the moments; empty: row i is of picture i
  std::int64_t size() const { return picture.empty() ? moments.size(0) : static_cast<std::int64_t>(picture.size()); }
};

// The parameters a U-Net starts from: those of `model` that fit; cross-attention keys and values anew where the tokens' width
// differs, the size conditioning's first layer cut to its leading columns (SDXL's has the text first only in name: its numbers
// follow the pooled text, and the published decoder was started from the leading columns all the same); everything, without `model`.
class UnetStart : public nn::ParamSource {
 public:
  UnetStart(weights::StateDict unet, std::uint64_t seed, at::Device device) : dict_(std::move(unet)), fresh_(seed, device), device_(device) {}
  at::Tensor param(const std::string& name, const nn::Shape& shape, const nn::Init& init, bool buffer) override;
  bool has(const std::string& name) const override { return dict_.has(name); }
  nn::Shape shape(const std::string& name) const override { return dict_.shape(name); }
  bool knows_shapes() const override { return true; }
  const std::vector<std::string>& renewed() const { return renewed_; }  // not taken from the model, though it has others

 private:
  weights::StateDict dict_;
  nn::Initialiser fresh_;
  at::Device device_;
  std::vector<std::string> renewed_;
};

// The condition of a batch; `dropped` bool [n] says which samples are trained without theirs.
using Conditioner = std::function<diffusion::Condition(const std::vector<std::int64_t>& rows, const at::Tensor& dropped)>;

// Draws of one step and their loss, scalar; everything from (options.seed, step). moments [P, 2 C, h, w] of the autoencoder; picture: the
// moments of each row that is trained on, empty: all, in order.
at::Tensor denoise_train_step(const diffusion::Denoiser& denoiser, const at::Tensor& moments, double latent_scale, const Conditioner& condition,
                              at::Device device, const UnclipTrainOptions& options, std::int64_t step, const std::vector<std::int64_t>& picture = {});

// The same with image-embedding tokens as the condition; dropped ones are normal noise, as in the reference, or zeros (config).
at::Tensor unclip_train_step(const models::UnclipUnet& unet, const diffusion::Denoiser& denoiser, const diffusion::UnclipConfig& config,
                             double latent_scale, const std::function<at::Tensor(const at::Tensor&)>& normalise, const at::Tensor& vector,
                             const UnclipTrainData& data, const UnclipTrainOptions& options, std::int64_t step);

// {mean [T, D], sd [T, D]} with (token - mean) / sd as `norm` says; statistics over all rows, the code from `seed`.
std::pair<at::Tensor, at::Tensor> token_statistics(const UnclipTrainData& data, TokenNorm norm, std::uint64_t seed);

}  // namespace me2::train

namespace me2 {
template <>
inline const EnumNames<train::NoiseLevels>& enum_names() {
  static const EnumNames<train::NoiseLevels> names{{train::NoiseLevels::uniform, "uniform"}, {train::NoiseLevels::lognormal, "lognormal"}};
  return names;
}
template <>
inline const EnumNames<train::TokenNorm>& enum_names() {
  static const EnumNames<train::TokenNorm> names{{train::TokenNorm::none, "none"}, {train::TokenNorm::position, "position"}, {train::TokenNorm::coded, "coded"}};
  return names;
}
}  // namespace me2
