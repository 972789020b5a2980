#include "models/clip_text.h"

#include <ATen/ATen.h>

#include "base/json.h"

namespace me2::models {

ClipTextConfig ClipTextConfig::detect(const nn::Scope& s, const Json& config) {
  ClipTextConfig c;
  c.vocab_size = s.shape("embeddings.token_embedding.weight").at(0);
  c.width = s.shape("embeddings.token_embedding.weight").at(1);
  c.positions = s.shape("embeddings.position_embedding.weight").at(0);
  c.layers = s.count("encoder.layers", "layer_norm1.weight");
  c.mlp_width = s.shape("encoder.layers.0.mlp.fc1.weight").at(0);
  const Json none = Json::object();
  const Json& given = config.contains("clip_text") ? config.at("clip_text") : config.contains("clip_l") ? config.at("clip_l") : none;
  c.heads = given.value("num_attention_heads", std::max<std::int64_t>(1, c.width / 64));
  c.activation = given.value("hidden_act", std::string("quick_gelu")) == "gelu" ? Activation::gelu : Activation::quick_gelu;
  c.eps = given.value("layer_norm_eps", 1e-5);
  return c;
}

ClipText::Layer::Layer(const nn::Scope& s, const ClipTextConfig& c)
    : layer_norm1(s.sub("layer_norm1"), c.width, c.eps),
      q(s.sub("self_attn").sub("q_proj"), c.width, c.width),
      k(s.sub("self_attn").sub("k_proj"), c.width, c.width),
      v(s.sub("self_attn").sub("v_proj"), c.width, c.width),
      out(s.sub("self_attn").sub("out_proj"), c.width, c.width),
      layer_norm2(s.sub("layer_norm2"), c.width, c.eps),
      fc1(s.sub("mlp").sub("fc1"), c.width, c.mlp_width),
      fc2(s.sub("mlp").sub("fc2"), c.mlp_width, c.width) {}

namespace {
std::vector<ClipText::Layer> make_layers(const nn::Scope& s, const ClipTextConfig& c) {
  std::vector<ClipText::Layer> layers;
  layers.reserve(c.layers);
  for (std::int64_t i = 0; i < c.layers; ++i) layers.emplace_back(s.sub(i), c);
  return layers;
}
}  // namespace

ClipText::ClipText(const nn::Scope& s, const ClipTextConfig& c)
    : config(c),
      token_embedding(s.sub("embeddings").sub("token_embedding"), c.vocab_size, c.width, nn::Init::normal(0.02)),
      position_embedding(s.sub("embeddings").sub("position_embedding"), c.positions, c.width, nn::Init::normal(0.02)),
      layers(make_layers(s.sub("encoder").sub("layers"), c)),
      final_layer_norm(s.sub("final_layer_norm"), c.width, c.eps) {}

ClipText::Output ClipText::operator()(const at::Tensor& ids) const {
  const auto B = ids.size(0), L = ids.size(1), W = config.width, H = config.heads;
  const auto heads = [&](const at::Tensor& x) { return x.view({B, L, H, W / H}).transpose(1, 2); };
  Output out;
  auto h = token_embedding(ids) + position_embedding.weight.slice(0, 0, L);
  out.hidden.push_back(h);
  for (const auto& layer : layers) {
    const auto x = layer.layer_norm1(h);
    // Causal only: the official encoder has no padding mask.
    const auto mixed = at::scaled_dot_product_attention(heads(layer.q(x)), heads(layer.k(x)), heads(layer.v(x)), {}, 0.0, true);
    h = h + layer.out(mixed.transpose(1, 2).reshape({B, L, W}));
    const auto m = layer.fc1(layer.layer_norm2(h));
    h = h + layer.fc2(config.activation == Activation::gelu ? at::gelu(m) : m * at::sigmoid(1.702 * m));
    out.hidden.push_back(h);
  }
  out.last_hidden_state = final_layer_norm(h);
  out.pooled = out.last_hidden_state.index({at::arange(B, ids.options()), ids.argmax(-1)});
  return out;
}

}  // namespace me2::models
