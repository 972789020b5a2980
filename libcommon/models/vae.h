// The KL autoencoder of latent diffusion, under both of its naming schemes: sgm's (SDXL, unCLIP: first_stage_model.*) and
// diffusers' (the SD image-variation VAE of the low-level head). One network, two tables of names.
// Ref: sgm modules/diffusionmodules/model.py Encoder, Decoder; diffusers 0.23 models/autoencoder_kl.py.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "base/json_fwd.h"
#include "nn/conv.h"
#include "nn/layers.h"
#include "nn/scope.h"

namespace me2::models {

struct VaeConfig {
  bool diffusers_names = false;
  std::int64_t image_channels = 3, z_channels = 4, embed_dim = 4;
  std::vector<std::int64_t> channels{128, 256, 512, 512};  // per level, highest resolution first
  std::int64_t blocks = 2;                                 // per encoder level; a decoder level has one more
  std::int64_t groups = 32;
  double scale_factor = 0.13025;  // latents are multiplied by it (SDXL .13025, SD 1 .18215)

  // From a checkpoint's shapes; `config` (config.json, may be null) adds groups and scale factor: fields scale_factor or
  // scaling_factor, norm_num_groups.
  static VaeConfig detect(const nn::Scope& s, const Json& config);
  static VaeConfig parse(const Json& config);  // a fresh network's: ddconfig {ch, ch_mult, num_res_blocks, z_channels, norm_groups}, embed_dim, scale_factor
  Json json() const;                           // the same fields
  std::int64_t factor() const { return std::int64_t{1} << (channels.size() - 1); }  // pixels per latent cell, each way
};

class VaeResnet {
 public:
  VaeResnet(const nn::Scope& s, std::int64_t in, std::int64_t out, const VaeConfig& config);
  at::Tensor operator()(at::Tensor x, std::int64_t rows) const;

 private:
  nn::GroupNorm norm1_;
  nn::FastConv2d conv1_;
  nn::GroupNorm norm2_;
  nn::FastConv2d conv2_;
  std::optional<nn::FastConv2d> shortcut_;
};

class VaeAttention {  // one head over all pixels
 public:
  VaeAttention(const nn::Scope& s, std::int64_t channels, const VaeConfig& config);
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  nn::GroupNorm norm_;
  at::Tensor weight_[4], bias_[4];  // q, k, v, out: [C, C, 1, 1] under sgm's names, [C, C] under diffusers'
};

class VaeCoder {  // encoder or decoder: a stem, levels, a middle at the lowest resolution, a head
 public:
  struct Level {
    std::vector<VaeResnet> blocks;
    std::optional<nn::FastConv2d> resample;  // down (encoder) or up (decoder), after the blocks
  };
  static VaeCoder encoder(const nn::Scope& s, const VaeConfig& config);
  static VaeCoder decoder(const nn::Scope& s, const VaeConfig& config);
  at::Tensor encode(const at::Tensor& x) const;
  // rows > 0: norm, activation and convolution run over strips of so many rows of the largest maps, with the norm's statistics
  // taken over the whole map. Same result to rounding, a fraction of the memory.
  at::Tensor decode(const at::Tensor& z, std::int64_t rows) const;

 private:
  VaeCoder(const nn::Scope& s, const VaeConfig& config, bool decodes);
  nn::FastConv2d in_;
  std::vector<Level> levels_;  // in order of execution
  std::vector<VaeResnet> middle_;
  std::optional<VaeAttention> attention_;
  std::optional<nn::GroupNorm> out_norm_;
  std::optional<nn::FastConv2d> out_;
};

struct VaePosterior {  // a diagonal normal over latents
  at::Tensor mean, logvar;  // [B, embed_dim, h, w]; logvar clamped to [-30, 20]
  explicit VaePosterior(const at::Tensor& moments);
  at::Tensor mode() const { return mean; }
  at::Tensor sample(const at::Tensor& noise) const;  // mean + sd * noise
  at::Tensor kl() const;                             // [B], against the standard normal, summed over the latent
};

class Vae {
 public:
  enum class Parts { both, decoder };
  Vae(const nn::Scope& s, const VaeConfig& config, Parts parts = Parts::both);
  // From a checkpoint that holds one, under any prefix: sd_image_var_autoenc.pth, an SDXL or unCLIP file. Exit::data says which
  // model another file looks like.
  static Vae open(const weights::StateDict& dict, Parts parts = Parts::both, at::ScalarType dtype = at::kFloat, at::Device device = at::kCPU);

  // Without the scale factor. x [B, 3, H, W] in [-1, 1], H and W multiples of config().factor().
  at::Tensor moments(const at::Tensor& x) const;  // [B, 2 embed_dim, H/f, W/f]
  VaePosterior encode(const at::Tensor& x) const { return VaePosterior(moments(x)); }
  at::Tensor decode(const at::Tensor& z, std::int64_t rows = 0) const;  // [B, embed_dim, h, w] -> [B, 3, h f, w f]

  // With it: what a diffusion model works on.
  at::Tensor encode_first_stage(const at::Tensor& x, const at::Tensor& noise) const;
  at::Tensor decode_first_stage(const at::Tensor& z, std::int64_t rows = 0) const;

  const VaeConfig& config() const { return config_; }

 private:
  VaeConfig config_;
  std::optional<VaeCoder> encoder_;
  std::optional<nn::Conv2d> quant_;
  VaeCoder decoder_;
  nn::Conv2d post_quant_;
};

}  // namespace me2::models
