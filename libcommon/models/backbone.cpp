#include "models/backbone.h"

#include <algorithm>
#include <functional>

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include "base/error.h"
#include "nn/row_linear.h"
#include "weights/parallel.h"

namespace me2::models {
namespace {

// At seq_len 1 LayerNorm over one element returns its bias, so a block over seq_len adds a constant.
bool adds_constants_only(const BackboneConfig& config) { return config.seq_len == 1; }

at::Tensor add_block_constants(const Backbone& net, const at::Tensor& x) {
  at::Tensor out = x;
  for (const auto& block : net.mixer_blocks2) out = out + block.second(at::gelu(block.first(block.norm.bias))).to(x.scalar_type());
  return out;
}

// f(row) for every row. Rows of few multiplications go side by side, each on one thread; there are at least two parts, so that a
// row is computed inside a parallel region, by the same kernels, whatever the batch. Others have all threads to themselves.
void each_row(std::int64_t rows, std::int64_t multiplications, at::Device device, const std::function<void(std::int64_t)>& f) {
  if (multiplications > (1 << 24) || !device.is_cpu()) {
    for (std::int64_t i = 0; i < rows; ++i) f(i);
    return;
  }
  weights::parallel_for(0, std::max<std::int64_t>(rows, 2), 1, [&](std::int64_t first, std::int64_t last) {
    const c10::InferenceMode worker;
    for (std::int64_t i = first; i < std::min(last, rows); ++i) f(i);
  });
}

}  // namespace

BackboneConfig BackboneConfig::detect(const nn::Scope& s, std::int64_t token_width) {
  BackboneConfig c;
  c.hidden = s.shape("mixer_blocks1.0.0.weight").at(0);
  c.seq_len = s.shape("mixer_blocks2.0.0.weight").at(0);
  c.blocks = s.count("mixer_blocks1", "0.weight");
  c.clip = s.has("clip_proj.0.weight");
  if (!c.clip && token_width < 1) throw data_error("tensor {}clip_proj.0.weight is missing, and with it the width of the tokens", s.prefix());
  c.width = c.clip ? s.shape("clip_proj.0.weight").at(0) : token_width;
  const std::int64_t out = s.shape("backbone_linear.weight").at(0);
  if (out % c.width != 0)
    throw data_error("tensor {}backbone_linear.weight has {} rows; a multiple of the token width {} expected", s.prefix(), out, c.width);
  c.tokens = out / c.width;
  c.lowlevel = s.has("blin1.weight");
  if (c.lowlevel) c.head = LowLevelConfig::detect(s);
  return c;
}

MixerBlock::MixerBlock(const nn::Scope& s, std::int64_t width)
    : norm(s.sub(0), width), first(s.sub(1).sub(0), width, width), second(s.sub(1).sub(3), width, width) {}

at::Tensor MixerBlock::operator()(const at::Tensor& x, double dropout, const nn::Training* training) const {
  return second(nn::dropout(at::gelu(first(norm(x))), dropout, training));
}

ClipProjector::ClipProjector(const nn::Scope& s, std::int64_t width) {
  for (std::int64_t i = 0; i < 9; i += 3) {
    norms.emplace_back(s.sub(i), width);
    linears.emplace_back(s.sub(i + 2), width, width);
  }
}

at::Tensor ClipProjector::operator()(const at::Tensor& tokens) const {
  at::Tensor x = tokens;
  for (std::size_t i = 0; i < norms.size(); ++i) x = linears[i](at::gelu(norms[i](x)));
  return x;
}

Backbone::Backbone(const nn::Scope& s, const BackboneConfig& c)
    : config(c),
      mixer_blocks1([&] {
        std::vector<MixerBlock> blocks;
        for (std::int64_t k = 0; k < c.blocks; ++k) blocks.emplace_back(s.sub("mixer_blocks1").sub(k), c.hidden);
        return blocks;
      }()),
      mixer_blocks2([&] {
        std::vector<MixerBlock> blocks;
        for (std::int64_t k = 0; k < c.blocks; ++k) blocks.emplace_back(s.sub("mixer_blocks2").sub(k), c.seq_len);
        return blocks;
      }()),
      backbone_linear(s.sub("backbone_linear"), c.hidden * c.seq_len, c.tokens * c.width) {
  if (c.clip) clip_proj.emplace(s.sub("clip_proj"), c.width);
  if (c.lowlevel) lowlevel.emplace(s, c.hidden * c.seq_len, c.head);
}

at::Tensor Backbone::mix(const at::Tensor& input, const nn::Training* training) const {
  if (adds_constants_only(config) && !training) return add_block_constants(*this, input).flatten(1);
  // Fidelity: two residual streams. The one over seq_len never receives what the blocks over hidden add.
  at::Tensor x = input, residual1 = input, residual2 = input.transpose(1, 2);
  for (std::size_t k = 0; k < mixer_blocks1.size(); ++k) {
    residual1 = mixer_blocks1[k](x, config.dropout, training) + residual1;
    residual2 = mixer_blocks2[k](residual1.transpose(1, 2), config.dropout, training) + residual2;
    x = residual2.transpose(1, 2);
  }
  return x.flatten(1);
}

at::Tensor Backbone::tokens(const at::Tensor& mixed) const {
  return backbone_linear(mixed).reshape({mixed.size(0), config.tokens, config.width});
}

Backbone::Outputs Backbone::operator()(const at::Tensor& x, const nn::Training* training) const {
  const at::Tensor mixed = mix(x, training);
  Outputs out;
  out.tokens = tokens(mixed);
  if (clip_proj) out.clip = clip(out.tokens);
  if (lowlevel) {
    const at::Tensor maps = lowlevel->maps(mixed, training);
    out.aux = lowlevel->aux(maps);
    out.latent = lowlevel->latent(maps);
  }
  return out;
}

Backbone::Outputs Backbone::infer(const at::Tensor& x, bool only_clip) const {
  const c10::InferenceMode guard;
  const auto dtype = backbone_linear.weight.scalar_type();
  const std::int64_t rows = x.size(0);
  at::Tensor mixed;
  if (adds_constants_only(config)) {
    mixed = add_block_constants(*this, x).flatten(1);
  } else {
    mixed = at::empty({rows, config.seq_len * config.hidden}, x.options());
    each_row(rows, config.seq_len * config.hidden * config.hidden, x.device(),
             [&](std::int64_t i) { mixed.narrow(0, i, 1).copy_(mix(x.narrow(0, i, 1).to(dtype))); });
  }
  Outputs out;
  out.tokens = nn::row_linear(mixed, backbone_linear).reshape({rows, config.tokens, config.width});
  if (clip_proj) {
    out.clip = at::empty_like(out.tokens);
    each_row(rows, config.tokens * config.width * config.width, x.device(),
             [&](std::int64_t i) { out.clip.narrow(0, i, 1).copy_(clip(out.tokens.narrow(0, i, 1).to(dtype))); });
  }
  if (lowlevel && !only_clip) {
    const at::Tensor flat = nn::row_linear(mixed, lowlevel->blin1);
    const auto& head = lowlevel->config;
    out.latent = at::empty({rows, head.latent_channels, head.latent_size(), head.latent_size()}, flat.options());
    each_row(rows, 0, x.device(), [&](std::int64_t i) {
      const at::Tensor maps = lowlevel->bnorm(flat.narrow(0, i, 1).to(dtype).reshape({1, head.channels, head.grid, head.grid}));
      out.latent.narrow(0, i, 1).copy_(lowlevel->latent(maps));
    });
  }
  return out;
}

}  // namespace me2::models
