// CLIP converter: OpenCLIP bigG tokens -> the CLIP ViT-L tokens GIT was trained on. linear1 mixes over tokens, linear2 over features.
// Source: CLIPConverter in MindEye2's recon_inference notebook; official file bigG_to_L_epoch8.pth (key model_state_dict).
#pragma once
#include <ATen/core/Tensor.h>

#include "nn/layers.h"

namespace me2::models {

struct ClipConverterConfig {
  std::int64_t tokens_in = 256, tokens_out = 257, width_in = 1664, width_out = 1024;
  static ClipConverterConfig detect(const nn::Scope& scope);  // all from shapes
};

struct ClipConverter {
  nn::Linear linear1, linear2;
  ClipConverter(const nn::Scope& s, const ClipConverterConfig& c);
  at::Tensor operator()(const at::Tensor& x) const;  // [B, tokens_in, width_in] -> [B, tokens_out, width_out]
};

}  // namespace me2::models
