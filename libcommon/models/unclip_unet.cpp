#include "models/unclip_unet.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "base/error.h"
#include "base/json.h"
#include "nn/attention.h"
#include "nn/fused.h"
#include "nn/timestep_embedding.h"

namespace me2::models {
namespace {

using nn::Scope;

std::int64_t field(const Json& unet, const char* name, std::int64_t otherwise) {
  if (!unet.is_object() || !unet.contains(name) || !unet[name].is_number()) return otherwise;
  return unet[name].get<std::int64_t>();
}

std::vector<std::int64_t> list(const Json& unet, const char* name, std::size_t levels, std::vector<std::int64_t> otherwise) {
  if (!unet.is_object() || !unet.contains(name)) return otherwise;
  if (unet[name].is_number()) return std::vector<std::int64_t>(levels, unet[name].get<std::int64_t>());
  return unet[name].get<std::vector<std::int64_t>>();
}

}  // namespace

bool UnetConfig::attends(std::size_t level) const {
  return std::count(attention_resolutions.begin(), attention_resolutions.end(), std::int64_t{1} << level) > 0;
}

UnetConfig UnetConfig::parse(const Json& unet) {
  UnetConfig c;
  c.in_channels = field(unet, "in_channels", c.in_channels);
  c.out_channels = field(unet, "out_channels", c.out_channels);
  c.model_channels = field(unet, "model_channels", c.model_channels);
  c.num_res_blocks = field(unet, "num_res_blocks", c.num_res_blocks);
  c.channel_mult = list(unet, "channel_mult", 0, c.channel_mult);
  c.transformer_depth = list(unet, "transformer_depth", c.channel_mult.size(), c.transformer_depth);
  c.attention_resolutions = list(unet, "attention_resolutions", 0, c.attention_resolutions);
  c.num_head_channels = field(unet, "num_head_channels", c.num_head_channels);
  c.context_dim = field(unet, "context_dim", c.context_dim);
  c.adm_in_channels = field(unet, "adm_in_channels", c.adm_in_channels);
  c.norm_groups = field(unet, "norm_groups", c.norm_groups);
  if (c.channel_mult.empty() || c.transformer_depth.size() != c.channel_mult.size())
    throw data_error("config.json: unet: transformer_depth has {} entries, channel_mult has {}", c.transformer_depth.size(),
                     c.channel_mult.size());
  for (const auto m : c.channel_mult) {
    const std::int64_t channels = m * c.model_channels;
    if (channels <= 0 || channels % c.norm_groups || channels % c.num_head_channels)
      throw data_error("config.json: unet: {} channels do not divide into {} norm groups and heads of {}", channels, c.norm_groups,
                       c.num_head_channels);
  }
  return c;
}

Json UnetConfig::json() const {
  return {{"in_channels", in_channels}, {"out_channels", out_channels}, {"model_channels", model_channels},
          {"num_res_blocks", num_res_blocks}, {"channel_mult", channel_mult}, {"transformer_depth", transformer_depth},
          {"attention_resolutions", attention_resolutions}, {"num_head_channels", num_head_channels}, {"context_dim", context_dim},
          {"adm_in_channels", adm_in_channels}, {"norm_groups", norm_groups}};
}

UnetConfig UnetConfig::detect(const Scope& s, const Json& unet) {
  UnetConfig c;
  const auto first = s.shape("input_blocks.0.0.weight");
  c.model_channels = first.at(0);
  c.in_channels = first.at(1);
  c.out_channels = s.shape("out.2.weight").at(0);
  c.adm_in_channels = s.shape("label_emb.0.0.weight").at(1);
  c.channel_mult.clear();
  c.transformer_depth.clear();
  c.attention_resolutions.clear();
  std::int64_t in_level = 0;
  for (std::int64_t i = 1;; ++i) {
    const Scope block = s.sub("input_blocks").sub(i);
    if (block.has("0.op.weight")) {  // the end of a level
      in_level = 0;
      continue;
    }
    if (!block.has("0.in_layers.2.weight")) break;
    if (in_level++ == 0) {
      c.channel_mult.push_back(block.shape("0.in_layers.2.weight").at(0) / c.model_channels);
      const std::int64_t depth = block.sub("1").count("transformer_blocks", "norm1.weight");
      c.transformer_depth.push_back(depth);
      if (depth) c.attention_resolutions.push_back(std::int64_t{1} << (c.channel_mult.size() - 1));
    }
    c.num_res_blocks = in_level;
  }
  // A level without attention leaves no trace of its depth, except the last one: the middle block has the last level's.
  if (const auto depth = s.sub("middle_block.1").count("transformer_blocks", "norm1.weight"); depth && !c.transformer_depth.empty())
    c.transformer_depth.back() = depth;
  c.context_dim = s.shape("middle_block.1.transformer_blocks.0.attn2.to_k.weight").at(1);
  c.num_head_channels = field(unet, "num_head_channels", c.num_head_channels);
  c.norm_groups = field(unet, "norm_groups", c.norm_groups);
  return c;
}

UnetResBlock::UnetResBlock(const Scope& s, std::int64_t in, std::int64_t out, std::int64_t emb, std::int64_t groups)
    : in_norm_(s.sub("in_layers.0"), groups, in), in_conv_(s.sub("in_layers.2"), in, out, 3, 1, 1), emb_(s.sub("emb_layers.1"), emb, out),
      out_norm_(s.sub("out_layers.0"), groups, out), out_conv_(s.sub("out_layers.3"), out, out, 3, 1, 1) {
  if (in != out) skip_.emplace(s.sub("skip_connection"), in, out, 1);
}

at::Tensor UnetResBlock::operator()(const at::Tensor& x, const at::Tensor& silu_emb) const {
  const at::Tensor h = nn::sum_of(in_conv_(nn::norm_silu(in_norm_, x)), emb_(silu_emb).unsqueeze(-1).unsqueeze(-1));
  return nn::sum_of(out_conv_(nn::norm_silu(out_norm_, h)), skip_ ? (*skip_)(x) : x);
}

UnetTransformerBlock::UnetTransformerBlock(const Scope& s, std::int64_t width, std::int64_t context, std::int64_t heads)
    : norm1_(s.sub("norm1"), width), q1_(s.sub("attn1.to_q"), width, width, false), k1_(s.sub("attn1.to_k"), width, width, false),
      v1_(s.sub("attn1.to_v"), width, width, false), out1_(s.sub("attn1.to_out.0"), width, width), norm2_(s.sub("norm2"), width),
      q2_(s.sub("attn2.to_q"), width, width, false), k2_(s.sub("attn2.to_k"), context, width, false),
      v2_(s.sub("attn2.to_v"), context, width, false), out2_(s.sub("attn2.to_out.0"), width, width), norm3_(s.sub("norm3"), width),
      gate_(s.sub("ff.net.0.proj"), width, 8 * width), down_(s.sub("ff.net.2"), 4 * width, width), heads_(heads) {}

std::pair<at::Tensor, at::Tensor> UnetTransformerBlock::project(const at::Tensor& context) const { return {k2_(context), v2_(context)}; }

at::Tensor UnetTransformerBlock::operator()(at::Tensor x, const std::pair<at::Tensor, at::Tensor>& keys_values) const {
  at::Tensor n = norm1_(x);
  x = nn::sum_of(out1_(nn::attention(q1_(n), k1_(n), v1_(n), heads_)), x);
  n = norm2_(x);
  x = nn::sum_of(out2_(nn::attention(q2_(n), keys_values.first, keys_values.second, heads_)), x);
  return nn::sum_of(down_(nn::geglu(gate_(norm3_(x)))), x);
}

UnetTransformer::UnetTransformer(const Scope& s, std::int64_t channels, std::int64_t context, std::int64_t heads, std::int64_t depth,
                                 std::int64_t groups)
    : norm_(s.sub("norm"), groups, channels, 1e-6), in_(s.sub("proj_in"), channels, channels), out_(s.sub("proj_out"), channels, channels) {
  for (std::int64_t i = 0; i < depth; ++i) blocks_.emplace_back(s.sub("transformer_blocks").sub(i), channels, context, heads);
}

void UnetTransformer::project(const at::Tensor& context, UnetContext& out) const {
  for (const auto& block : blocks_) out.keys_values.push_back(block.project(context));
}

at::Tensor UnetTransformer::operator()(const at::Tensor& x, const UnetContext& context, std::size_t& next) const {
  const auto batch = x.size(0), channels = x.size(1), height = x.size(2), width = x.size(3);
  at::Tensor h = norm_(x).permute({0, 2, 3, 1}).reshape({batch, height * width, channels});  // a view when x is channels_last
  h = in_(h);
  for (const auto& block : blocks_) h = block(h, context.keys_values.at(next++));
  h = out_(h);
  return nn::sum_of(h.view({batch, height, width, channels}).permute({0, 3, 1, 2}), x);
}

UnclipUnet::UnclipUnet(const Scope& s, const UnetConfig& c)
    : config_(c), time1_(s.sub("time_embed.0"), c.model_channels, 4 * c.model_channels),
      time2_(s.sub("time_embed.2"), 4 * c.model_channels, 4 * c.model_channels),
      label1_(s.sub("label_emb.0.0"), c.adm_in_channels, 4 * c.model_channels),
      label2_(s.sub("label_emb.0.2"), 4 * c.model_channels, 4 * c.model_channels) {
  const std::int64_t emb = 4 * c.model_channels, groups = c.norm_groups;
  const std::size_t levels = c.channel_mult.size();
  std::int64_t channels = c.model_channels;
  std::vector<std::int64_t> skips;
  const auto input = [&] { return s.sub("input_blocks").sub(static_cast<std::int64_t>(inputs_.size())); };
  const auto transformer = [&](const Scope& t, std::size_t level) {
    return UnetTransformer(t, channels, c.context_dim, channels / c.num_head_channels, c.transformer_depth[level], groups);
  };
  {
    Block block;
    block.emplace_back(nn::FastConv2d(input().sub("0"), c.in_channels, channels, 3, 1, 1));
    inputs_.push_back(std::move(block));
    skips.push_back(channels);
  }
  for (std::size_t level = 0; level < levels; ++level) {
    const std::int64_t out = c.channel_mult[level] * c.model_channels;
    for (std::int64_t i = 0; i < c.num_res_blocks; ++i) {
      Block block;
      block.emplace_back(UnetResBlock(input().sub("0"), channels, out, emb, groups));
      channels = out;
      if (c.attends(level)) block.emplace_back(transformer(input().sub("1"), level));
      inputs_.push_back(std::move(block));
      skips.push_back(channels);
    }
    if (level + 1 < levels) {
      Block block;
      block.emplace_back(nn::FastConv2d(input().sub("0.op"), channels, channels, 3, 2, 1));
      inputs_.push_back(std::move(block));
      skips.push_back(channels);
    }
  }
  middle_.emplace_back(UnetResBlock(s.sub("middle_block.0"), channels, channels, emb, groups));
  middle_.emplace_back(transformer(s.sub("middle_block.1"), levels - 1));
  middle_.emplace_back(UnetResBlock(s.sub("middle_block.2"), channels, channels, emb, groups));
  for (std::size_t level = levels; level-- > 0;) {
    const std::int64_t out = c.channel_mult[level] * c.model_channels;
    for (std::int64_t i = 0; i <= c.num_res_blocks; ++i) {
      const Scope b = s.sub("output_blocks").sub(static_cast<std::int64_t>(outputs_.size()));
      Block block;
      block.emplace_back(UnetResBlock(b.sub("0"), channels + skips.back(), out, emb, groups));
      skips.pop_back();
      channels = out;
      if (c.attends(level)) block.emplace_back(transformer(b.sub("1"), level));
      if (level > 0 && i == c.num_res_blocks)
        block.emplace_back(Upsample{nn::FastConv2d(b.sub(static_cast<std::int64_t>(block.size())).sub("conv"), channels, channels, 3, 1, 1)});
      outputs_.push_back(std::move(block));
    }
  }
  out_norm_.emplace(s.sub("out.0"), groups, channels);
  out_conv_.emplace(s.sub("out.2"), channels, c.out_channels, 3, 1, 1);
}

UnetContext UnclipUnet::project(const at::Tensor& context) const {
  const at::Tensor tokens = context.to(time1_.weight.scalar_type());
  UnetContext out;
  const auto visit = [&](const Block& block) {
    for (const auto& layer : block)
      if (const auto* t = std::get_if<UnetTransformer>(&layer)) t->project(tokens, out);
  };
  for (const auto& block : inputs_) visit(block);
  visit(middle_);
  for (const auto& block : outputs_) visit(block);
  return out;
}

at::Tensor UnclipUnet::run(const Block& block, at::Tensor h, const at::Tensor& emb, const UnetContext& context, std::size_t& next) const {
  for (const auto& layer : block) {
    if (const auto* conv = std::get_if<nn::FastConv2d>(&layer)) h = (*conv)(h);
    else if (const auto* res = std::get_if<UnetResBlock>(&layer)) h = (*res)(h, emb);
    else if (const auto* transformer = std::get_if<UnetTransformer>(&layer)) h = (*transformer)(h, context, next);
    else h = std::get<Upsample>(layer).conv(at::upsample_nearest2d(h, {2 * h.size(2), 2 * h.size(3)}));
  }
  return h;
}

at::Tensor UnclipUnet::operator()(const at::Tensor& x, const at::Tensor& timesteps, const UnetContext& context, const at::Tensor& y,
                                  const Tap& tap) const {
  const auto tell = [&](const std::string& name, const at::Tensor& t) {
    if (tap) tap(name, t);
  };
  const at::ScalarType dtype = time1_.weight.scalar_type();
  const at::Tensor time = time2_(at::silu(time1_(nn::timestep_embedding(timesteps, config_.model_channels).to(dtype))));
  tell("time_embed", time);
  const at::Tensor label = label2_(at::silu(label1_(y.to(dtype))));
  tell("label_emb", label);
  const at::Tensor emb = at::silu(time + label);  // every block asks for its SiLU
  at::Tensor h = x.to(dtype).contiguous(at::MemoryFormat::ChannelsLast);
  std::vector<at::Tensor> skips;
  std::size_t next = 0;
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    h = run(inputs_[i], h, emb, context, next);
    tell(fmt::format("input_blocks.{}", i), h);
    skips.push_back(h);
  }
  h = run(middle_, h, emb, context, next);
  tell("middle_block", h);
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    h = at::cat({h, skips.back()}, 1);
    skips.pop_back();
    h = run(outputs_[i], h, emb, context, next);
    tell(fmt::format("output_blocks.{}", i), h);
  }
  return (*out_conv_)(nn::norm_silu(*out_norm_, h)).to(x.scalar_type());
}

}  // namespace me2::models
