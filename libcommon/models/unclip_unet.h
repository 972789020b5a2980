// The denoising U-Net of SDXL and unCLIP: residual blocks, and transformers that look at the condition's tokens.
// Ref: sgm modules/diffusionmodules/openaimodel.py UNetModel and modules/attention.py SpatialTransformer; names are its state dict's.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <ATen/core/Tensor.h>

#include "base/json_fwd.h"
#include "nn/conv.h"
#include "nn/layers.h"
#include "nn/scope.h"

namespace me2::models {

struct UnetConfig {  // field names as in the official yaml and the golden cases' config.json `unet`
  std::int64_t in_channels = 4, out_channels = 4, model_channels = 320, num_res_blocks = 2;
  std::vector<std::int64_t> channel_mult{1, 2, 4};
  std::vector<std::int64_t> transformer_depth{1, 2, 10};     // per level; used where the level has attention
  std::vector<std::int64_t> attention_resolutions{4, 2};     // downsampling factors that have attention
  std::int64_t num_head_channels = 64, context_dim = 1664, adm_in_channels = 1024;
  std::int64_t norm_groups = 32;  // ours: the official network knows only 32; tiny ones need fewer

  // Sizes from the shapes of a checkpoint; num_head_channels and norm_groups, which shapes cannot say, from `unet` (may be null).
  static UnetConfig detect(const nn::Scope& s, const Json& unet);
  static UnetConfig parse(const Json& unet);  // a fresh network's
  Json json() const;
  bool attends(std::size_t level) const;
};

// What the transformers read, projected once for all steps: keys and values of every cross-attention, in order of execution.
struct UnetContext {
  std::vector<std::pair<at::Tensor, at::Tensor>> keys_values;  // [B, T, channels] each
};

class UnetResBlock {
 public:
  UnetResBlock(const nn::Scope& s, std::int64_t in, std::int64_t out, std::int64_t emb, std::int64_t groups);
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& silu_emb) const;  // [B, in, H, W], [B, emb] -> [B, out, H, W]

 private:
  nn::GroupNorm in_norm_;
  nn::FastConv2d in_conv_;
  nn::Linear emb_;
  nn::GroupNorm out_norm_;
  nn::FastConv2d out_conv_;
  std::optional<nn::FastConv2d> skip_;
};

class UnetTransformerBlock {
 public:
  UnetTransformerBlock(const nn::Scope& s, std::int64_t width, std::int64_t context, std::int64_t heads);
  std::pair<at::Tensor, at::Tensor> project(const at::Tensor& context) const;
  at::Tensor operator()(at::Tensor x, const std::pair<at::Tensor, at::Tensor>& keys_values) const;  // x [B, N, width]

 private:
  nn::LayerNorm norm1_;
  nn::FastLinear q1_, k1_, v1_, out1_;
  nn::LayerNorm norm2_;
  nn::FastLinear q2_, k2_, v2_, out2_;
  nn::LayerNorm norm3_;
  nn::FastLinear gate_, down_;
  std::int64_t heads_;
};

class UnetTransformer {
 public:
  UnetTransformer(const nn::Scope& s, std::int64_t channels, std::int64_t context, std::int64_t heads, std::int64_t depth, std::int64_t groups);
  void project(const at::Tensor& context, UnetContext& out) const;
  at::Tensor operator()(const at::Tensor& x, const UnetContext& context, std::size_t& next) const;

 private:
  nn::GroupNorm norm_;
  nn::FastLinear in_;
  std::vector<UnetTransformerBlock> blocks_;
  nn::FastLinear out_;
};

class UnclipUnet {
 public:
  using Tap = std::function<void(const std::string& block, const at::Tensor& output)>;  // tests look inside

  UnclipUnet(const nn::Scope& s, const UnetConfig& config);
  // context [B, T, context_dim] (B may be 1).
  UnetContext project(const at::Tensor& context) const;
  // x [B, in_channels, H, W]; timesteps [B]; y [B, adm_in_channels] -> [B, out_channels, H, W] in x's dtype. H and W must be
  // multiples of 2^(levels - 1).
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& timesteps, const UnetContext& context, const at::Tensor& y,
                        const Tap& tap = {}) const;
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& timesteps, const at::Tensor& context, const at::Tensor& y,
                        const Tap& tap = {}) const {
    return (*this)(x, timesteps, project(context), y, tap);
  }
  const UnetConfig& config() const { return config_; }

 private:
  struct Upsample {
    nn::FastConv2d conv;
  };
  using Layer = std::variant<nn::FastConv2d, UnetResBlock, UnetTransformer, Upsample>;
  using Block = std::vector<Layer>;
  at::Tensor run(const Block& block, at::Tensor h, const at::Tensor& emb, const UnetContext& context, std::size_t& next) const;

  UnetConfig config_;
  nn::Linear time1_, time2_, label1_, label2_;
  std::vector<Block> inputs_, outputs_;
  Block middle_;
  std::optional<nn::GroupNorm> out_norm_;
  std::optional<nn::FastConv2d> out_conv_;
};

}  // namespace me2::models
