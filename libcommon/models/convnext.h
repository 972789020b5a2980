// The ConvNeXt image tower whose features the low-level head's auxiliary output is aligned to (teacher of the blurry branch).
// Source: MindEye2 autoencoder/convnext.py (ConvnextXL): ConvNeXt without layer scale + projector.
#pragma once
#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "nn/layers.h"

namespace me2::models {

struct ConvNextConfig {
  std::vector<std::int64_t> dims, depths;
  std::vector<std::int64_t> projector;  // widths of its three linear layers
  static ConvNextConfig detect(const nn::Scope& scope);
};

struct ConvNext {
  struct Block {  // depthwise 7x7, LayerNorm, x4 MLP with GELU, residual
    nn::Conv2d dwconv;
    nn::LayerNorm norm;
    nn::Linear pwconv1, pwconv2;
    Block(const nn::Scope& s, std::int64_t dim);
    at::Tensor operator()(const at::Tensor& x) const;
  };
  struct Output {
    at::Tensor tokens;  // [B, h*w, dims.back()] after the final LayerNorm
    at::Tensor embeds;  // [B, h*w, projector.back()] : `cnx_feature`
  };
  ConvNextConfig config;
  std::vector<nn::Conv2d> downsample;          // the stem and three 2x2 strided convolutions
  std::vector<nn::LayerNorm> downsample_norm;  // after the stem, before the others; over channels
  std::vector<std::vector<Block>> stages;
  nn::LayerNorm norm;
  nn::Linear projector0;
  nn::LayerNorm projector1;
  nn::Linear projector3;
  nn::LayerNorm projector4;
  nn::Linear projector6;
  ConvNext(const nn::Scope& s, const ConvNextConfig& config);
  static at::Tensor normalise(const at::Tensor& images);  // [0, 1] -> what the tower expects
  at::Tensor stem(const at::Tensor& x) const;             // [B, dims[0], H/4, W/4]
  at::Tensor stage(std::size_t i, const at::Tensor& x) const;
  Output operator()(const at::Tensor& images) const;      // f32 [B, 3, H, W] in [0, 1]
};

}  // namespace me2::models
