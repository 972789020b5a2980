// The low-level head of the backbone: mixed latent -> SD-VAE latent (scaled by 0.18215), and, for the auxiliary training loss,
// maps aligned with ConvNeXt features (MindEye2 paper, section 2.4; reference: models.py BrainNetwork, blurry branch;
// the decoder is diffusers' Decoder of three UpDecoderBlock2D, layers_per_block 1).
#pragma once
#include <vector>

#include "nn/dropout.h"
#include "nn/layers.h"

namespace me2::models {

struct LowLevelConfig {
  std::int64_t channels = 64;                      // of the maps that bnorm normalises
  std::int64_t grid = 7;                           // their height and width; the latent has grid * 2^(levels - 1) = 28
  std::vector<std::int64_t> widths{32, 64, 128};   // decoder widths, outermost first; multiples of 32 (GroupNorm of 32 groups)
  std::int64_t latent_channels = 4;
  std::int64_t aux_width = 512;                    // of the ConvNeXt features
  double dropout = .3;
  std::int64_t latent_size() const { return grid << (widths.size() - 1); }
  static LowLevelConfig detect(const nn::Scope& s);  // from the shapes of a checkpoint; Exit::data when they do not fit each other
};

struct ResnetBlock {  // norm1, SiLU, conv1, norm2, SiLU, conv2, plus the input; x [B, in, H, W] -> [B, out, H, W]
  nn::GroupNorm norm1;
  nn::Conv2d conv1;
  nn::GroupNorm norm2;
  nn::Conv2d conv2;
  std::vector<nn::Conv2d> conv_shortcut;  // none or one: 1x1 where the number of channels changes
  ResnetBlock(const nn::Scope& s, std::int64_t in, std::int64_t out);
  at::Tensor operator()(const at::Tensor& x) const;
};

struct SpatialAttention {  // one head as wide as the channels; x [B, C, H, W]
  nn::GroupNorm group_norm;
  nn::Linear to_q, to_k, to_v, to_out;
  SpatialAttention(const nn::Scope& s, std::int64_t channels);
  at::Tensor operator()(const at::Tensor& x) const;
};

struct LatentDecoder {  // "bupsampler": [B, channels, grid, grid] -> [B, latent_channels, latent_size, latent_size]
  struct Up {
    ResnetBlock first, second;
    std::vector<nn::Conv2d> upsample;  // none or one: nearest x2, then this convolution
  };
  nn::Conv2d conv_in;
  ResnetBlock mid_first;
  SpatialAttention mid_attention;
  ResnetBlock mid_second;
  std::vector<Up> up_blocks;
  nn::GroupNorm conv_norm_out;
  nn::Conv2d conv_out;
  LatentDecoder(const nn::Scope& s, const LowLevelConfig& config);
  at::Tensor mid_block(const at::Tensor& x) const;
  at::Tensor operator()(const at::Tensor& x) const;
};

struct LowLevelHead {
  LowLevelConfig config;
  nn::Linear blin1;
  nn::GroupNorm bnorm;
  LatentDecoder bupsampler;
  nn::Conv2d map0;  // b_maps_projector.0, .1, .3, .4, .6
  nn::GroupNorm map1;
  nn::Conv2d map3;
  nn::GroupNorm map4;
  nn::Conv2d map6;

  // s: the backbone's scope; in: width of the mixed latent (hidden * seq_len).
  LowLevelHead(const nn::Scope& s, std::int64_t in, const LowLevelConfig& config);
  at::Tensor maps(const at::Tensor& mixed, const nn::Training* training = nullptr) const;  // [B, in] -> [B, channels, grid, grid]
  at::Tensor latent(const at::Tensor& maps) const { return bupsampler(maps); }             // -> [B, latent_channels, size, size]
  at::Tensor aux(const at::Tensor& maps) const;                                            // -> [B, grid * grid, aux_width]
};

}  // namespace me2::models
