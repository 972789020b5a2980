#include "models/lowlevel_head.h"

#include <cmath>

#include <ATen/ATen.h>

#include "base/error.h"

namespace me2::models {
namespace {
constexpr std::int64_t kGroups = 32;
constexpr double kEps = 1e-6;
}  // namespace

LowLevelConfig LowLevelConfig::detect(const nn::Scope& s) {
  LowLevelConfig c;
  c.channels = s.shape("bnorm.weight").at(0);
  const std::int64_t flat = s.shape("blin1.weight").at(0);
  c.grid = std::llround(std::sqrt(static_cast<double>(flat) / static_cast<double>(c.channels)));
  if (c.grid * c.grid * c.channels != flat)
    throw data_error("tensor {}blin1.weight has {} rows; {} channels times a square grid expected", s.prefix(), flat, c.channels);
  c.widths.assign(static_cast<std::size_t>(s.count("bupsampler.up_blocks", "resnets.0.conv1.weight")), 0);
  if (c.widths.empty()) throw data_error("tensor {}bupsampler.up_blocks.0.resnets.0.conv1.weight is missing", s.prefix());
  for (std::size_t i = 0; i < c.widths.size(); ++i)
    c.widths[c.widths.size() - 1 - i] = s.shape(fmt::format("bupsampler.up_blocks.{}.resnets.0.conv1.weight", i)).at(0);
  c.latent_channels = s.shape("bupsampler.conv_out.weight").at(0);
  c.aux_width = s.shape("b_maps_projector.6.weight").at(0);
  return c;
}

ResnetBlock::ResnetBlock(const nn::Scope& s, std::int64_t in, std::int64_t out)
    : norm1(s.sub("norm1"), kGroups, in, kEps), conv1(s.sub("conv1"), in, out, 3, 1, 1),
      norm2(s.sub("norm2"), kGroups, out, kEps), conv2(s.sub("conv2"), out, out, 3, 1, 1) {
  if (in != out) conv_shortcut.emplace_back(s.sub("conv_shortcut"), in, out, 1);
}

at::Tensor ResnetBlock::operator()(const at::Tensor& x) const {
  const at::Tensor h = conv2(at::silu(norm2(conv1(at::silu(norm1(x))))));
  return (conv_shortcut.empty() ? x : conv_shortcut.front()(x)) + h;
}

SpatialAttention::SpatialAttention(const nn::Scope& s, std::int64_t channels)
    : group_norm(s.sub("group_norm"), kGroups, channels, kEps), to_q(s.sub("to_q"), channels, channels),
      to_k(s.sub("to_k"), channels, channels), to_v(s.sub("to_v"), channels, channels), to_out(s.sub("to_out").sub(0), channels, channels) {}

at::Tensor SpatialAttention::operator()(const at::Tensor& x) const {
  const at::Tensor h = group_norm(x).flatten(2).transpose(1, 2);  // [B, H*W, C]
  const double scale = 1 / std::sqrt(static_cast<double>(x.size(1)));
  const at::Tensor weights = at::softmax(at::matmul(to_q(h), to_k(h).transpose(1, 2)) * scale, -1);
  // Contiguous: as a view it would make all that follows channels_last, where LibTorch's group norm is several times as slow on so few channels a group.
  return to_out(at::matmul(weights, to_v(h))).transpose(1, 2).contiguous().view(x.sizes()) + x;
}

LatentDecoder::LatentDecoder(const nn::Scope& s, const LowLevelConfig& config)
    : conv_in(s.sub("conv_in"), config.channels, config.widths.back(), 3, 1, 1),
      mid_first(s.sub("mid_block.resnets").sub(0), config.widths.back(), config.widths.back()),
      mid_attention(s.sub("mid_block.attentions").sub(0), config.widths.back()),
      mid_second(s.sub("mid_block.resnets").sub(1), config.widths.back(), config.widths.back()),
      conv_norm_out(s.sub("conv_norm_out"), kGroups, config.widths.front(), kEps),
      conv_out(s.sub("conv_out"), config.widths.front(), config.latent_channels, 3, 1, 1) {
  std::int64_t in = config.widths.back();
  const auto levels = static_cast<std::int64_t>(config.widths.size());
  for (std::int64_t i = 0; i < levels; ++i) {
    const std::int64_t out = config.widths[static_cast<std::size_t>(levels - 1 - i)];
    const nn::Scope block = s.sub("up_blocks").sub(i);
    Up up{ResnetBlock(block.sub("resnets").sub(0), in, out), ResnetBlock(block.sub("resnets").sub(1), out, out), {}};
    if (i + 1 < levels) up.upsample.emplace_back(block.sub("upsamplers").sub(0).sub("conv"), out, out, 3, 1, 1);
    up_blocks.push_back(std::move(up));
    in = out;
  }
}

at::Tensor LatentDecoder::mid_block(const at::Tensor& x) const { return mid_second(mid_attention(mid_first(x))); }

at::Tensor LatentDecoder::operator()(const at::Tensor& x) const {
  at::Tensor h = mid_block(conv_in(x));
  for (const auto& up : up_blocks) {
    h = up.second(up.first(h));
    for (const auto& conv : up.upsample) h = conv(at::upsample_nearest2d(h, {h.size(2) * 2, h.size(3) * 2}));
  }
  return conv_out(at::silu(conv_norm_out(h)));
}

LowLevelHead::LowLevelHead(const nn::Scope& s, std::int64_t in, const LowLevelConfig& c)
    : config(c), blin1(s.sub("blin1"), in, c.channels * c.grid * c.grid), bnorm(s.sub("bnorm"), 1, c.channels),
      bupsampler(s.sub("bupsampler"), c), map0(s.sub("b_maps_projector").sub(0), c.channels, c.aux_width, 1, 1, 0, false),
      map1(s.sub("b_maps_projector").sub(1), 1, c.aux_width), map3(s.sub("b_maps_projector").sub(3), c.aux_width, c.aux_width, 1, 1, 0, false),
      map4(s.sub("b_maps_projector").sub(4), 1, c.aux_width), map6(s.sub("b_maps_projector").sub(6), c.aux_width, c.aux_width, 1) {}

at::Tensor LowLevelHead::maps(const at::Tensor& mixed, const nn::Training* training) const {
  const at::Tensor flat = nn::dropout(blin1(mixed), config.dropout, training);
  return bnorm(flat.reshape({mixed.size(0), config.channels, config.grid, config.grid}));
}

at::Tensor LowLevelHead::aux(const at::Tensor& maps) const {
  return map6(at::relu(map4(map3(at::relu(map1(map0(maps))))))).flatten(2).transpose(1, 2);
}

}  // namespace me2::models
