// unCLIP decoding: image-embedding tokens -> picture. Ref: MindEye2 utils.py unclip_recon; goldens/image.md section 5.
#pragma once
#include <array>
#include <memory>
#include <optional>
#include <string>

#include <ATen/core/Tensor.h>

#include "base/json_fwd.h"
#include "base/work.h"
#include "diffusion/denoiser.h"
#include "diffusion/edm_samplers.h"
#include "models/unclip_unet.h"
#include "models/vae.h"
#include "weights/state_dict.h"

namespace me2::diffusion {

// What config.json may say beside the networks' sizes; the defaults are the published decoder's.
struct UnclipConfig {
  Scaling scaling = Scaling::eps;
  std::int64_t levels = 1000;        // denoiser.num_idx
  std::int64_t steps = 38;           // num_steps
  double guidance = 5;               // guider_scale
  double offset_noise = 0.04;        // offset_noise_level
  double image_scale = 0.8, image_shift = 0.2;  // Fidelity: a hand-tuned brightening in place of (x + 1) / 2
  std::int64_t outdim = 0;           // width of one embedded size number; 0: a quarter of the U-Net's adm_in_channels
  std::int64_t size = 768;           // pixels of a picture when nothing else says
  double size_condition = 768;       // what the size conditioning says
  bool zero_condition = false;       // unconditional tokens: zeros, instead of the reference's standard normal noise
  static UnclipConfig parse(const Json& config);
  void write(Json& config) const;
};

struct UnclipDraws {  // of n pictures
  at::Tensor z, noise;      // [n, 4, h, w] standard normal
  at::Tensor offset;        // [n]
  at::Tensor uc_crossattn;  // [n, T, D]: the unconditional tokens
};

// The size conditioning for a U-Net that takes `width` numbers, [1, width]. Exit::data when unCLIP's does not have so many.
at::Tensor size_vector(const UnclipConfig& config, std::int64_t width);

class UnclipDecoder {
 public:
  struct Options {
    at::ScalarType dtype = at::kFloat;      // of the U-Net; the autoencoder stays f32, as the reference keeps it out of autocast
    at::ScalarType vae_dtype = at::kFloat;
    at::Device device = at::kCPU;
    bool vae_encoder = false;               // training reads images
    bool trainable = false;                 // the U-Net
  };
  // A DiffusionEngine checkpoint: model.diffusion_model.*, first_stage_model.*; denoiser.sigmas when stored in f32; conditioner.* is
  // not read. Exit::data says which model a file of another kind looks like. `vae`: a store of its own for the autoencoder.
  static UnclipDecoder open(const weights::StateDict& model, const Options& options, const weights::StateDict* vae = nullptr);

  // Of one picture from `tokens` tokens, `batch` at a time; `calls` of the U-Net. The device is meta.
  Work work(std::int64_t tokens, const std::array<std::int64_t, 3>& latent, std::int64_t batch, double calls, bool guided, std::int64_t vae_rows) const;

  const UnclipConfig& config() const { return config_; }
  const models::UnclipUnet& unet() const { return *unet_; }
  const models::Vae& vae() const { return *vae_; }
  const Denoiser& denoiser() const { return *denoiser_; }
  at::Device device() const { return device_; }

  at::Tensor normalise(const at::Tensor& tokens) const;  // per position with the model's token_norm.mean and .sd, when it has them
  at::Tensor vector(std::int64_t rows) const;            // the size conditioning, [rows, adm_in_channels]
  std::array<std::int64_t, 3> latent_shape(std::int64_t pixels) const;  // {channels, h, w}

  // tokens [n, T, D] -> latent [n, 4, h, w].
  at::Tensor latent(const at::Tensor& tokens, const UnclipDraws& draws, SamplerKind sampler, std::int64_t steps, double guidance,
                    const SamplerHooks& hooks = {}) const;
  // -> [n, 3, H, W] f32 in [0, 1]. One picture at a time; rows as Vae::decode.
  at::Tensor picture(const at::Tensor& latent, std::int64_t rows = 0) const;

 private:
  UnclipConfig config_;
  at::Device device_ = at::kCPU;
  at::ScalarType dtype_ = at::kFloat, vae_dtype_ = at::kFloat;
  std::shared_ptr<models::UnclipUnet> unet_;
  std::shared_ptr<models::Vae> vae_;
  std::shared_ptr<Denoiser> denoiser_;
  at::Tensor token_mean_, token_sd_;
};

// Network calls of so many steps.
std::int64_t sampler_calls(SamplerKind sampler, std::int64_t steps);
// One call of the U-Net on the meta device for `rows` pictures of this latent shape, of a condition of `tokens` tokens.
Work unet_work(const models::UnclipUnet& unet, std::int64_t rows, const std::array<std::int64_t, 3>& latent, std::int64_t tokens, at::ScalarType dtype);

// Condition rows for guidance: unconditional first.
Condition guidance_condition(const models::UnclipUnet& unet, const at::Tensor& uncond_tokens, const at::Tensor& cond_tokens,
                             const at::Tensor& uncond_vector, const at::Tensor& cond_vector);

// [n, 3, H, W] in [0, 1] -> uint8 by truncation, as PIL conversion in the reference does.
at::Tensor to_bytes(const at::Tensor& picture);

}  // namespace me2::diffusion
