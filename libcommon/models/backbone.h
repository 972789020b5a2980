// The MindEye2 backbone: latent -> CLIP-shaped tokens, through mixer blocks with two interleaved residual streams
// (paper, section 2.2; reference: models.py BrainNetwork). Heads: the projector of the contrastive loss (retrieval) and,
// when the checkpoint has one, the low-level head.
#pragma once
#include <optional>
#include <vector>

#include "models/lowlevel_head.h"
#include "nn/dropout.h"
#include "nn/layers.h"

namespace me2::models {

struct BackboneConfig {
  std::int64_t hidden = 4096, seq_len = 1, blocks = 4;
  std::int64_t tokens = 256, width = 1664;  // of the CLIP embedding: T and D
  double dropout = .15;
  bool clip = true;      // build clip_proj
  bool lowlevel = true;  // build the low-level head
  LowLevelConfig head;
  // From the shapes of a checkpoint. `token_width`: of the tokens, needed where there is no retrieval head to tell it (0: not known).
  static BackboneConfig detect(const nn::Scope& s, std::int64_t token_width = 0);
};

struct MixerBlock {  // LayerNorm, Linear, GELU(erf), Dropout, Linear over the last axis, of `width`
  nn::LayerNorm norm;
  nn::Linear first, second;
  MixerBlock(const nn::Scope& s, std::int64_t width);
  at::Tensor operator()(const at::Tensor& x, double dropout = 0, const nn::Training* training = nullptr) const;
};

struct ClipProjector {  // clip_proj: three times LayerNorm, GELU(erf), Linear, of width D; it starts with the norm
  std::vector<nn::LayerNorm> norms;
  std::vector<nn::Linear> linears;
  ClipProjector(const nn::Scope& s, std::int64_t width);
  at::Tensor operator()(const at::Tensor& tokens) const;  // [B, T, D] -> [B, T, D], not normalised
};

struct Backbone {
  BackboneConfig config;
  std::vector<MixerBlock> mixer_blocks1, mixer_blocks2;  // over hidden, over seq_len
  nn::Linear backbone_linear;
  std::optional<ClipProjector> clip_proj;
  std::optional<LowLevelHead> lowlevel;

  Backbone(const nn::Scope& s, const BackboneConfig& config);

  // x [B, seq_len, hidden] -> [B, seq_len * hidden]. At seq_len 1 mixer_blocks1 cannot influence the result and is computed
  // only in a training pass, where the reference's optimizer sees its (rounding-noise) gradient.
  at::Tensor mix(const at::Tensor& x, const nn::Training* training = nullptr) const;
  at::Tensor tokens(const at::Tensor& mixed) const;  // [B, seq_len * hidden] -> [B, T, D]: the prior's condition, not normalised
  at::Tensor clip(const at::Tensor& tokens) const { return (*clip_proj)(tokens); }

  struct Outputs {
    at::Tensor tokens, clip, latent, aux;  // clip, latent and aux undefined without their heads
  };
  Outputs operator()(const at::Tensor& x, const nn::Training* training = nullptr) const;

  // The same without a graph and without aux, computed so that a row's bytes do not depend on the rows beside it: samples go
  // one by one through the convolutional and token-wise parts, and the large linear layers use nn::row_linear.
  // Everything is returned in float. `only_clip`: latent is not computed.
  Outputs infer(const at::Tensor& x, bool only_clip = false) const;
};

}  // namespace me2::models
