#include "models/vae.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "base/error.h"
#include "base/json.h"
#include "nn/attention.h"
#include "nn/fused.h"
#include "weights/identify.h"

namespace me2::models {
namespace {

using nn::Scope;

struct Names {  // under one scope "encoder" or "decoder"
  bool diffusers;
  bool decodes;
  std::int64_t levels;
  std::string level(std::int64_t step) const {  // step: order of execution
    if (diffusers) return fmt::format("{}_blocks.{}", decodes ? "up" : "down", step);
    // sgm counts the decoder's levels from the highest resolution, which is executed last.
    return decodes ? fmt::format("up.{}", levels - 1 - step) : fmt::format("down.{}", step);
  }
  std::string block(std::int64_t step, std::int64_t i) const { return fmt::format("{}.{}.{}", level(step), diffusers ? "resnets" : "block", i); }
  std::string resample(std::int64_t step) const {
    if (diffusers) return level(step) + (decodes ? ".upsamplers.0.conv" : ".downsamplers.0.conv");
    return level(step) + (decodes ? ".upsample.conv" : ".downsample.conv");
  }
  std::string middle(std::int64_t i) const { return diffusers ? fmt::format("mid_block.resnets.{}", i) : fmt::format("mid.block_{}", i + 1); }
  std::string attention() const { return diffusers ? "mid_block.attentions.0" : "mid.attn_1"; }
  std::string out_norm() const { return diffusers ? "conv_norm_out" : "norm_out"; }
};

bool by_strips(const at::Tensor& x, std::int64_t rows) { return rows > 0 && x.size(2) > rows && !c10::GradMode::is_enabled(); }

// conv(transform(x)) over strips of output rows, added to `onto` where that is given. `strip(first, last)` gives rows [first, last) of the convolution's input, which
// has `height` rows; the kernel is 3x3 with one row of zeros beyond each edge.
template <class Strip>
at::Tensor conv_by_strips(const nn::FastConv2d& conv, std::int64_t height, std::int64_t rows, const Strip& strip, const at::Tensor& onto = {}) {
  at::Tensor out = onto;
  for (std::int64_t first = 0; first < height; first += rows) {
    const std::int64_t last = std::min(first + rows, height);
    at::Tensor in = strip(std::max<std::int64_t>(first - 1, 0), std::min(last + 1, height));
    if (first == 0 || last == height) in = at::constant_pad_nd(in, {0, 0, first == 0, last == height});
    const at::Tensor piece = conv.without_row_padding(in);
    if (!out.defined())
      out = at::empty({piece.size(0), piece.size(1), height, piece.size(3)}, piece.options(), at::MemoryFormat::ChannelsLast);
    at::Tensor place = out.slice(2, first, last);
    onto.defined() ? place.add_(piece) : place.copy_(piece);
  }
  return out;
}

// conv(nn::silu_of(norm(x))): whole, or by strips with the statistics of the whole map.
at::Tensor norm_conv(const nn::GroupNorm& norm, const nn::FastConv2d& conv, const at::Tensor& x, std::int64_t rows, const at::Tensor& onto = {}) {
  if (!by_strips(x, rows)) return conv(nn::norm_silu(norm, x));
  const auto batch = x.size(0), channels = x.size(1), height = x.size(2), width = x.size(3);
  // Moments per row band in f32, combined in f64: no copy of x larger than a band.
  at::Tensor total = at::zeros({batch, norm.groups}, at::TensorOptions().dtype(at::kDouble).device(x.device())), squares = total.clone();
  const auto band = [&](std::int64_t first) {
    return x.slice(2, first, std::min(first + rows, height)).to(at::kFloat).permute({0, 2, 3, 1}).reshape({batch, -1, norm.groups, channels / norm.groups});
  };
  const double count = static_cast<double>(channels / norm.groups * height * width);
  for (std::int64_t first = 0; first < height; first += rows) total += band(first).sum({1, 3}).to(at::kDouble);
  const at::Tensor mean = (total / count);
  for (std::int64_t first = 0; first < height; first += rows)
    squares += (band(first) - mean.to(at::kFloat).view({batch, 1, norm.groups, 1})).square_().sum({1, 3}).to(at::kDouble);
  const at::Tensor scale = (squares / count + norm.eps).rsqrt().repeat_interleave(channels / norm.groups, 1) * norm.weight.to(at::kDouble);
  const at::Tensor shift = norm.bias.to(at::kDouble) - mean.repeat_interleave(channels / norm.groups, 1) * scale;
  const at::Tensor a = scale.to(x.scalar_type()).view({batch, channels, 1, 1}), b = shift.to(x.scalar_type()).view({batch, channels, 1, 1});
  return conv_by_strips(conv, height, rows, [&](std::int64_t first, std::int64_t last) {
    return at::silu_((x.slice(2, first, last) * a).add_(b));
  }, onto);
}

at::Tensor upsample_conv(const nn::FastConv2d& conv, const at::Tensor& x, std::int64_t rows) {
  const auto height = 2 * x.size(2), width = 2 * x.size(3);
  if (rows <= 0 || height <= rows || c10::GradMode::is_enabled()) return conv(at::upsample_nearest2d(x, {height, width}));
  return conv_by_strips(conv, height, rows, [&](std::int64_t first, std::int64_t last) {
    const std::int64_t from = first / 2, to = (last + 1) / 2;
    return at::upsample_nearest2d(x.slice(2, from, to), {2 * (to - from), width}).slice(2, first - 2 * from, last - 2 * from);
  });
}

at::Tensor downsample_conv(const nn::FastConv2d& conv, const at::Tensor& x) {
  return conv(at::constant_pad_nd(x, {0, 1, 0, 1}));  // Fidelity: right and bottom only
}

double number(const Json& config, const char* name, double otherwise) {
  return config.is_object() && config.contains(name) && config[name].is_number() ? config[name].get<double>() : otherwise;
}

}  // namespace

VaeConfig VaeConfig::parse(const Json& config) {
  VaeConfig c;
  const Json dd = config.is_object() && config.contains("ddconfig") ? config["ddconfig"] : Json::object();
  const auto ch = static_cast<std::int64_t>(number(dd, "ch", 128));
  if (dd.contains("ch_mult")) {
    c.channels.clear();
    for (const auto& m : dd["ch_mult"]) c.channels.push_back(ch * m.get<std::int64_t>());
  }
  c.blocks = static_cast<std::int64_t>(number(dd, "num_res_blocks", 2));
  c.z_channels = static_cast<std::int64_t>(number(dd, "z_channels", 4));
  c.image_channels = static_cast<std::int64_t>(number(dd, "in_channels", 3));
  c.groups = static_cast<std::int64_t>(number(dd, "norm_groups", 32));
  c.embed_dim = static_cast<std::int64_t>(number(config, "embed_dim", static_cast<double>(c.z_channels)));
  c.scale_factor = number(config, "scale_factor", c.scale_factor);
  if (c.channels.empty()) throw data_error("config.json: ddconfig: ch_mult is empty");
  for (const auto channels : c.channels)
    if (channels <= 0 || c.groups <= 0 || channels % c.groups)
      throw data_error("config.json: ddconfig: {} channels do not divide into {} norm groups", channels, c.groups);
  return c;
}

Json VaeConfig::json() const {
  std::vector<std::int64_t> mult;
  for (const auto c : channels) mult.push_back(c / channels.front());
  return {{"ddconfig",
           {{"ch", channels.front()}, {"ch_mult", mult}, {"num_res_blocks", blocks}, {"z_channels", z_channels},
            {"in_channels", image_channels}, {"out_ch", image_channels}, {"double_z", true}, {"norm_groups", groups}}},
          {"embed_dim", embed_dim},
          {"scale_factor", scale_factor}};
}

VaeConfig VaeConfig::detect(const Scope& s, const Json& config) {
  VaeConfig c;
  c.diffusers_names = s.has("decoder.mid_block.resnets.0.conv1.weight");
  const auto post = s.shape("post_quant_conv.weight");
  c.z_channels = post.at(0);
  c.embed_dim = post.at(1);
  c.image_channels = s.shape("decoder.conv_out.weight").at(0);
  const auto level_name = [&](std::int64_t i) { return c.diffusers_names ? fmt::format("up_blocks.{}.resnets", i) : fmt::format("up.{}.block", i); };
  const Scope decoder = s.sub("decoder");
  c.channels.clear();
  while (decoder.has(level_name(static_cast<std::int64_t>(c.channels.size())) + ".0.conv1.weight"))
    c.channels.push_back(decoder.shape(level_name(static_cast<std::int64_t>(c.channels.size())) + ".0.conv1.weight").at(0));
  if (c.channels.empty()) throw data_error("{}decoder: no levels found: not an autoencoder of the kind SDXL uses", s.prefix());
  c.blocks = decoder.count(level_name(0), "conv1.weight") - 1;
  if (c.diffusers_names) std::reverse(c.channels.begin(), c.channels.end());
  const Json dd = config.is_object() && config.contains("ddconfig") ? config["ddconfig"] : Json::object();
  c.groups = static_cast<std::int64_t>(number(dd, "norm_groups", number(config, "norm_num_groups", 32)));
  c.scale_factor = number(config, "scale_factor", number(config, "scaling_factor", c.diffusers_names ? 0.18215 : 0.13025));
  return c;
}

VaeResnet::VaeResnet(const Scope& s, std::int64_t in, std::int64_t out, const VaeConfig& config)
    : norm1_(s.sub("norm1"), config.groups, in, 1e-6), conv1_(s.sub("conv1"), in, out, 3, 1, 1),
      norm2_(s.sub("norm2"), config.groups, out, 1e-6), conv2_(s.sub("conv2"), out, out, 3, 1, 1) {
  if (in != out) shortcut_.emplace(s.sub(config.diffusers_names ? "conv_shortcut" : "nin_shortcut"), in, out, 1);
}

at::Tensor VaeResnet::operator()(at::Tensor x, std::int64_t rows) const {
  at::Tensor h = norm_conv(norm1_, conv1_, x, rows);
  if (by_strips(x, rows)) {  // in x's own memory, which the caller has given up: its first channels become the shortcut, then the sum
    if (shortcut_ && h.size(1) <= x.size(1)) {
      for (std::int64_t first = 0; first < x.size(2); first += rows) {
        const at::Tensor strip = x.slice(2, first, std::min(first + rows, x.size(2)));
        strip.narrow(1, 0, h.size(1)).copy_((*shortcut_)(strip));
      }
      x = x.narrow(1, 0, h.size(1));
    } else if (shortcut_) {
      x = (*shortcut_)(x);
    }
    norm_conv(norm2_, conv2_, h, rows, x);
    h.reset();
    return x.contiguous(at::MemoryFormat::ChannelsLast);
  }
  if (shortcut_) x = (*shortcut_)(x);
  return nn::sum_of(norm_conv(norm2_, conv2_, h, rows), x);
}

VaeAttention::VaeAttention(const Scope& s, std::int64_t channels, const VaeConfig& config)
    : norm_(s.sub(config.diffusers_names ? "group_norm" : "norm"), config.groups, channels, 1e-6) {
  const char* sgm[] = {"q", "k", "v", "proj_out"};
  const char* diffusers[] = {"to_q", "to_k", "to_v", "to_out.0"};
  for (int i = 0; i < 4; ++i) {
    const Scope t = s.sub(config.diffusers_names ? diffusers[i] : sgm[i]);
    const nn::Shape shape = config.diffusers_names ? nn::Shape{channels, channels} : nn::Shape{channels, channels, 1, 1};
    weight_[i] = t.param("weight", shape, nn::Init::fan_in(channels));
    bias_[i] = t.param("bias", {channels}, nn::Init::fan_in(channels));
  }
}

at::Tensor VaeAttention::operator()(const at::Tensor& x) const {
  const auto batch = x.size(0), channels = x.size(1), height = x.size(2), width = x.size(3);
  const at::Tensor n = norm_(x).permute({0, 2, 3, 1}).reshape({batch, height * width, channels});
  const auto linear = [&](int i, const at::Tensor& t) { return at::linear(t, weight_[i].view({channels, channels}), bias_[i]); };
  const at::Tensor h = linear(3, nn::attention(linear(0, n), linear(1, n), linear(2, n), 1));
  return nn::sum_of(h.view({batch, height, width, channels}).permute({0, 3, 1, 2}), x);
}

VaeCoder VaeCoder::encoder(const Scope& s, const VaeConfig& config) { return VaeCoder(s, config, false); }
VaeCoder VaeCoder::decoder(const Scope& s, const VaeConfig& config) { return VaeCoder(s, config, true); }

VaeCoder::VaeCoder(const Scope& s, const VaeConfig& c, bool decodes)
    : in_(s.sub("conv_in"), decodes ? c.z_channels : c.image_channels, decodes ? c.channels.back() : c.channels.front(), 3, 1, 1) {
  const auto levels = static_cast<std::int64_t>(c.channels.size());
  const Names names{c.diffusers_names, decodes, levels};
  std::int64_t channels = decodes ? c.channels.back() : c.channels.front();
  for (std::int64_t step = 0; step < levels; ++step) {
    const std::int64_t out = c.channels[decodes ? levels - 1 - step : step];
    Level level;
    for (std::int64_t i = 0; i < c.blocks + decodes; ++i) {
      level.blocks.emplace_back(s.sub(names.block(step, i)), channels, out, c);
      channels = out;
    }
    if (step + 1 < levels)
      level.resample.emplace(s.sub(names.resample(step)), channels, channels, 3, decodes ? 1 : 2, decodes ? 1 : 0);
    levels_.push_back(std::move(level));
  }
  const std::int64_t lowest = c.channels.back();
  middle_.emplace_back(s.sub(names.middle(0)), lowest, lowest, c);
  attention_.emplace(s.sub(names.attention()), lowest, c);
  middle_.emplace_back(s.sub(names.middle(1)), lowest, lowest, c);
  out_norm_.emplace(s.sub(names.out_norm()), c.groups, channels, 1e-6);
  out_.emplace(s.sub("conv_out"), channels, decodes ? c.image_channels : 2 * c.z_channels, 3, 1, 1);
}

at::Tensor VaeCoder::encode(const at::Tensor& x) const {
  at::Tensor h = in_(x.contiguous(at::MemoryFormat::ChannelsLast));
  for (const auto& level : levels_) {
    for (const auto& block : level.blocks) h = block(std::move(h), 0);
    if (level.resample) h = downsample_conv(*level.resample, h);
  }
  h = middle_[1]((*attention_)(middle_[0](std::move(h), 0)), 0);
  return norm_conv(*out_norm_, *out_, h, 0);
}

at::Tensor VaeCoder::decode(const at::Tensor& z, std::int64_t rows) const {
  at::Tensor h = in_(z.contiguous(at::MemoryFormat::ChannelsLast));
  h = middle_[1]((*attention_)(middle_[0](std::move(h), rows)), rows);
  for (const auto& level : levels_) {
    for (const auto& block : level.blocks) h = block(std::move(h), rows);
    if (level.resample) h = upsample_conv(*level.resample, h, rows);
  }
  return norm_conv(*out_norm_, *out_, h, rows);
}

VaePosterior::VaePosterior(const at::Tensor& moments) {
  const auto halves = moments.chunk(2, 1);
  mean = halves[0];
  logvar = halves[1].clamp(-30, 20);
}
at::Tensor VaePosterior::sample(const at::Tensor& noise) const { return mean + at::exp(0.5 * logvar) * noise; }
at::Tensor VaePosterior::kl() const { return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum({1, 2, 3}); }

Vae::Vae(const Scope& s, const VaeConfig& config, Parts parts)
    : config_(config), decoder_(VaeCoder::decoder(s.sub("decoder"), config)),
      post_quant_(s.sub("post_quant_conv"), config.embed_dim, config.z_channels, 1) {
  if (parts == Parts::decoder) return;
  encoder_.emplace(VaeCoder::encoder(s.sub("encoder"), config));
  quant_.emplace(s.sub("quant_conv"), 2 * config.z_channels, 2 * config.embed_dim, 1);
}

Vae Vae::open(const weights::StateDict& dict, Parts parts, at::ScalarType dtype, at::Device device) {
  nn::Loader loader(weights::part_with(dict, "post_quant_conv.weight"), dtype, device);
  if (parts == Parts::decoder)
    for (const auto* part : {"encoder.", "quant_conv."}) loader.ignore(part);
  loader.ignore("loss.");  // a training leftover of official autoencoders
  const Scope scope(loader);
  Vae vae(scope, VaeConfig::detect(scope, dict.config()), parts);
  loader.finish();
  return vae;
}

at::Tensor Vae::moments(const at::Tensor& x) const {
  if (!encoder_) throw Error(Exit::internal, "this autoencoder was opened for decoding only");
  const auto f = config_.factor();
  if (x.size(2) % f || x.size(3) % f) throw data_error("images of {}x{} pixels do not divide into latent cells of {}x{}", x.size(2), x.size(3), f, f);
  return (*quant_)(encoder_->encode(x.to(quant_->weight.scalar_type())));
}

at::Tensor Vae::decode(const at::Tensor& z, std::int64_t rows) const {
  return decoder_.decode(post_quant_(z.to(post_quant_.weight.scalar_type())), rows).contiguous();
}

at::Tensor Vae::encode_first_stage(const at::Tensor& x, const at::Tensor& noise) const {
  return config_.scale_factor * encode(x).sample(noise);
}
at::Tensor Vae::decode_first_stage(const at::Tensor& z, std::int64_t rows) const { return decode(z / config_.scale_factor, rows); }

}  // namespace me2::models
