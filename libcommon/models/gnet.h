// GNet: an image-computable encoder of visual cortex; predicts the betas of one subject's voxels.
// Source: St-Yves et al. 2022; MindEye2 models.py GNet8_Encoder (GEncoder, Torch_LayerwiseFWRF).
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "nn/layers.h"
#include "weights/state_dict.h"

namespace me2::models {

struct GNetStage {  // BatchNorm, convolution, ReLU
  at::Tensor gamma, beta, mean, variance;
  nn::Conv2d conv;
  GNetStage(const nn::Scope& norm, const nn::Scope& conv, std::int64_t padding);
  at::Tensor operator()(const at::Tensor& x) const;
};

struct GNetEncoder {
  at::Tensor mu;  // as the file has it; broadcasts to [B, 3, S, S]
  nn::Conv2d conv1, conv2;
  GNetStage c3, c4a, c5a, c6a, c4b, c5b, c6b;
  explicit GNetEncoder(const nn::Scope& s);
  struct Output {
    at::Tensor prefilter, fmap0, fmap1;  // [B, 192, 27, 27], [B, 256, 25, 25], [B, 256, 13, 13] at 227 px
  };
  Output operator()(const at::Tensor& x) const;  // x [B, 3, 227, 227] in [0, 1]: Pillow LANCZOS of the 8-bit image, / 255
};

struct GNetReadout {  // of one subject
  at::Tensor rf0, rf1, w, b;  // [V, 25, 25], [V, 13, 13], [V, 512], [V]
  explicit GNetReadout(const nn::Scope& s);
  at::Tensor operator()(const GNetEncoder::Output& maps, const at::Tensor& voxels = {}) const;  // -> [B, V or chosen]; voxels bool [V]
};

}  // namespace me2::models
