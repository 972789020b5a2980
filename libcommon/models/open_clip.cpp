#include "models/open_clip.h"

#include <ATen/ATen.h>

#include <cmath>

#include "base/error.h"
#include "base/json.h"
#include "vision/resize.h"

namespace me2::models {
namespace {

double inverse_root(std::int64_t n) { return 1 / std::sqrt(static_cast<double>(n)); }

std::int64_t square_root(std::int64_t n, const std::string& what) {
  const auto root = static_cast<std::int64_t>(std::llround(std::sqrt(static_cast<double>(n))));
  if (root * root != n) throw data_error("{}: {} patches are not a square grid", what, n);
  return root;
}

const Json* find(const Json& config, const char* part) {
  const auto outer = config.find("open_clip");
  if (outer == config.end()) return nullptr;
  const auto inner = outer->find(part);
  return inner == outer->end() ? nullptr : &*inner;
}

Activation activation_of(const Json& config) {
  const auto outer = config.find("open_clip");
  return outer != config.end() && outer->value("quick_gelu", false) ? Activation::quick_gelu : Activation::gelu;
}

at::Tensor activate(const at::Tensor& x, Activation activation) {
  return activation == Activation::gelu ? at::gelu(x) : x * at::mul(x, 1.702).sigmoid_();
}

std::vector<ResidualAttentionBlock> make_blocks(const nn::Scope& s, std::int64_t layers, std::int64_t width, std::int64_t heads,
                                                std::int64_t mlp_width, Activation activation) {
  std::vector<ResidualAttentionBlock> blocks;
  blocks.reserve(layers);
  for (std::int64_t i = 0; i < layers; ++i) blocks.emplace_back(s.sub(i), width, heads, mlp_width, layers, activation);
  return blocks;
}

}  // namespace

OpenClipVisionConfig OpenClipVisionConfig::detect(const nn::Scope& s, const Json& config) {
  OpenClipVisionConfig c;
  const auto conv = s.shape("conv1.weight");
  c.width = conv.at(0);
  c.patch_size = conv.at(3);
  c.image_size = square_root(s.shape("positional_embedding").at(0) - 1, s.prefix() + "positional_embedding") * c.patch_size;
  c.layers = s.count("transformer.resblocks", "ln_1.weight");
  c.mlp_width = s.shape("transformer.resblocks.0.mlp.c_fc.weight").at(0);
  c.embed_dim = s.shape("proj").at(1);
  const Json* vision = find(config, "vision_cfg");
  const std::int64_t by_width = c.width == 1664 ? 104 : 64;
  c.heads = c.width / (vision ? vision->value("head_width", by_width) : by_width);
  c.activation = activation_of(config);
  return c;
}

OpenClipVisionConfig OpenClipVisionConfig::from_json(const Json& config) {
  const Json* vision = find(config, "vision_cfg");
  if (!vision) throw data_error("config: open_clip.vision_cfg is missing");
  OpenClipVisionConfig c;
  c.image_size = vision->at("image_size");
  c.patch_size = vision->at("patch_size");
  c.width = vision->at("width");
  c.layers = vision->at("layers");
  c.heads = c.width / vision->value("head_width", std::int64_t{64});
  c.mlp_width = static_cast<std::int64_t>(static_cast<double>(c.width) * vision->value("mlp_ratio", 4.0));
  c.embed_dim = config.at("open_clip").at("embed_dim");
  c.activation = activation_of(config);
  return c;
}

OpenClipTextConfig OpenClipTextConfig::detect(const nn::Scope& s, const Json& config) {
  OpenClipTextConfig c;
  c.vocab_size = s.shape("token_embedding.weight").at(0);
  c.width = s.shape("token_embedding.weight").at(1);
  c.context_length = s.shape("positional_embedding").at(0);
  c.layers = s.count("transformer.resblocks", "ln_1.weight");
  c.mlp_width = s.shape("transformer.resblocks.0.mlp.c_fc.weight").at(0);
  c.embed_dim = s.shape("text_projection").at(1);
  const Json* text = find(config, "text_cfg");
  const auto by_width = std::max<std::int64_t>(1, c.width / 64);
  c.heads = text ? text->value("heads", by_width) : by_width;
  c.activation = activation_of(config);
  return c;
}

OpenClipTextConfig OpenClipTextConfig::from_json(const Json& config) {
  const Json* text = find(config, "text_cfg");
  if (!text) throw data_error("config: open_clip.text_cfg is missing");
  OpenClipTextConfig c;
  c.context_length = text->value("context_length", std::int64_t{77});
  c.vocab_size = text->at("vocab_size");
  c.width = text->at("width");
  c.layers = text->at("layers");
  c.heads = text->at("heads");
  c.mlp_width = 4 * c.width;
  c.embed_dim = config.at("open_clip").at("embed_dim");
  c.activation = activation_of(config);
  return c;
}

// Deviations of a fresh block as open_clip initialises them.
ResidualAttentionBlock::ResidualAttentionBlock(const nn::Scope& s, std::int64_t width, std::int64_t heads, std::int64_t mlp_width,
                                               std::int64_t layers, Activation activation)
    : ln_1(s.sub("ln_1"), width),
      in_proj_weight(s.param("attn.in_proj_weight", {3 * width, width}, nn::Init::normal(inverse_root(width)))),
      in_proj_bias(s.param("attn.in_proj_bias", {3 * width})),
      out_proj(s.sub("attn").sub("out_proj"), width, width, true, nn::Init::normal(inverse_root(2 * layers * width)), nn::Init::zeros()),
      ln_2(s.sub("ln_2"), width),
      c_fc(s.sub("mlp").sub("c_fc"), width, mlp_width, true, nn::Init::normal(inverse_root(2 * width)), nn::Init::zeros()),
      c_proj(s.sub("mlp").sub("c_proj"), mlp_width, width, true, nn::Init::normal(inverse_root(2 * layers * width)), nn::Init::zeros()),
      heads(heads),
      activation(activation) {
  if (heads < 1 || width % heads != 0) throw data_error("{}: width {} is no multiple of {} heads", s.prefix(), width, heads);
}

at::Tensor ResidualAttentionBlock::operator()(const at::Tensor& x, bool causal) const {
  const auto B = x.size(0), N = x.size(1), W = x.size(2);
  // [B, N, 3, H, d] -> three of [B, H, N, d]
  const auto qkv = at::linear(ln_1(x), in_proj_weight, in_proj_bias).view({B, N, 3, heads, W / heads}).permute({2, 0, 3, 1, 4});
  const auto mixed = at::scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], {}, 0.0, causal).transpose(1, 2).reshape({B, N, W});
  const auto y = x + out_proj(mixed);
  return y + c_proj(activate(c_fc(ln_2(y)), activation));
}

at::Tensor ResidualAttentionBlock::first(const at::Tensor& x) const {
  const auto B = x.size(0), W = x.size(2);
  const auto normed = ln_1(x);
  const auto split = [&](const at::Tensor& t, std::int64_t parts) { return t.view({B, t.size(1), parts, heads, W / heads}).permute({2, 0, 3, 1, 4}); };
  const auto q = split(at::linear(normed.slice(1, 0, 1), in_proj_weight.slice(0, 0, W), in_proj_bias.slice(0, 0, W)), 1);
  const auto kv = split(at::linear(normed, in_proj_weight.slice(0, W), in_proj_bias.slice(0, W)), 2);
  const auto mixed = at::scaled_dot_product_attention(q[0], kv[0], kv[1]).transpose(1, 2).reshape({B, 1, W});
  const auto y = x.slice(1, 0, 1) + out_proj(mixed);
  return y + c_proj(activate(c_fc(ln_2(y)), activation));
}

OpenClipVision::OpenClipVision(const nn::Scope& s, const OpenClipVisionConfig& c)
    : config(c),
      conv1(s.sub("conv1"), 3, c.width, c.patch_size, c.patch_size, 0, false),
      class_embedding(s.param("class_embedding", {c.width}, nn::Init::normal(inverse_root(c.width)))),
      positional_embedding(s.param("positional_embedding", {1 + (c.image_size / c.patch_size) * (c.image_size / c.patch_size), c.width},
                                   nn::Init::normal(inverse_root(c.width)))),
      proj(s.param("proj", {c.width, c.embed_dim}, nn::Init::normal(inverse_root(c.width)))),
      ln_pre(s.sub("ln_pre"), c.width),
      blocks(make_blocks(s.sub("transformer").sub("resblocks"), c.layers, c.width, c.heads, c.mlp_width, c.activation)),
      ln_post(s.sub("ln_post"), c.width) {}

at::Tensor OpenClipVision::embedded(const at::Tensor& x) const {
  const auto h = conv1(x).flatten(2).transpose(1, 2);
  return ln_pre(at::cat({class_embedding.expand({x.size(0), 1, config.width}), h}, 1) + positional_embedding);
}

at::Tensor OpenClipVision::pooled(const at::Tensor& x) const {
  auto h = embedded(x);
  for (std::size_t i = 0; i + 1 < blocks.size(); ++i) h = blocks[i](h, false);
  return at::matmul(ln_post(blocks.back().first(h)).select(1, 0), proj);
}

OpenClipVision::Output OpenClipVision::operator()(const at::Tensor& x, const Probe& probe) const {
  auto h = embedded(x);
  if (probe) probe("ln_pre", h);
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    h = blocks[i](h, false);
    if (probe) probe("block" + std::to_string(i), h);
  }
  h = ln_post(h);
  return {h.slice(1, 1), at::matmul(h.select(1, 0), proj)};
}

OpenClipText::OpenClipText(const nn::Scope& s, const OpenClipTextConfig& c)
    : config(c),
      token_embedding(s.sub("token_embedding"), c.vocab_size, c.width, nn::Init::normal(0.02)),
      positional_embedding(s.param("positional_embedding", {c.context_length, c.width}, nn::Init::normal(0.01))),
      text_projection(s.param("text_projection", {c.width, c.embed_dim}, nn::Init::normal(inverse_root(c.width)))),
      blocks(make_blocks(s.sub("transformer").sub("resblocks"), c.layers, c.width, c.heads, c.mlp_width, c.activation)),
      ln_final(s.sub("ln_final"), c.width) {}

OpenClipText::Output OpenClipText::operator()(const at::Tensor& ids) const {
  auto h = token_embedding(ids) + positional_embedding.slice(0, 0, ids.size(1));
  Output out;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    if (i + 1 == blocks.size()) out.penultimate = h;
    h = blocks[i](h, true);
  }
  out.last = h;
  out.pooled = at::matmul(ln_final(h).index({at::arange(ids.size(0), ids.options()), ids.argmax(-1)}), text_projection);
  return out;
}

at::Tensor clip_pixels(const at::Tensor& images, std::int64_t size, bool squeeze) {
  const auto resized = vision::kornia_resize_bicubic(images, size, size);
  return vision::normalize(squeeze ? (resized + 1) / 2 : resized, vision::kClipMean, vision::kClipStd);
}

}  // namespace me2::models
