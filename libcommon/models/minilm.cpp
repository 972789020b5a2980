#include "models/minilm.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/json.h"

namespace me2::models {
namespace {

std::vector<BertLayer> make_layers(const nn::Scope& s, const BertConfig& c) {
  std::vector<BertLayer> layers;
  for (std::int64_t i = 0; i < c.layers; ++i) layers.emplace_back(s.sub(i), c.width, c.heads, c.mlp_width, c.eps);
  return layers;
}

}  // namespace

BertConfig BertConfig::detect(const nn::Scope& scope, const Json& given) {
  const Json& config = given.contains("bert") && given["bert"].is_object() ? given["bert"] : given;
  BertConfig c;
  const auto words = scope.shape("embeddings.word_embeddings.weight");
  c.vocab_size = words.at(0);
  c.width = words.at(1);
  c.positions = scope.shape("embeddings.position_embeddings.weight").at(0);
  c.types = scope.shape("embeddings.token_type_embeddings.weight").at(0);
  c.layers = scope.count("encoder.layer", "output.dense.weight");
  c.mlp_width = scope.shape("encoder.layer.0.intermediate.dense.weight").at(0);
  c.heads = config.value("num_attention_heads", std::max<std::int64_t>(1, c.width / 32));
  if (c.heads < 1 || c.width % c.heads) throw data_error("BERT: {} heads do not divide a width of {}", c.heads, c.width);
  c.eps = config.value("layer_norm_eps", c.eps);
  return c;
}

SentenceEncoder::SentenceEncoder(const nn::Scope& s, const BertConfig& c)
    : config(c),
      word(s.sub("embeddings.word_embeddings"), c.vocab_size, c.width, nn::Init::normal(0.02)),
      position(s.sub("embeddings.position_embeddings"), c.positions, c.width, nn::Init::normal(0.02)),
      type(s.sub("embeddings.token_type_embeddings"), c.types, c.width, nn::Init::normal(0.02)),
      norm(s.sub("embeddings.LayerNorm"), c.width, c.eps),
      layers(make_layers(s.sub("encoder.layer"), c)) {}

at::Tensor SentenceEncoder::hidden(const at::Tensor& ids, const at::Tensor& mask) const {
  if (ids.size(1) > config.positions) throw data_error("a sentence of {} tokens, this encoder has {} positions", ids.size(1), config.positions);
  at::Tensor x = norm(word(ids) + position.weight.narrow(0, 0, ids.size(1)) + type.weight[0]);
  const at::Tensor bias = at::zeros(mask.sizes(), x.options()).masked_fill(mask == 0, -std::numeric_limits<float>::infinity()).view({mask.size(0), 1, 1, -1});
  for (const auto& layer : layers) x = layer(x, bias);
  return x;
}

at::Tensor SentenceEncoder::operator()(const at::Tensor& ids, const at::Tensor& mask) const {
  const at::Tensor weight = mask.to(word.weight.scalar_type()).unsqueeze(-1);
  const at::Tensor mean = (hidden(ids, mask) * weight).sum(1) / weight.sum(1).clamp_min(1e-9);
  return mean / mean.norm(2, -1, true).clamp_min(1e-12);
}

SentenceEncoder load_sentence_encoder(const weights::StateDict& dict) {
  nn::Loader loader(dict.without_prefix("bert."));
  loader.ignore("pooler.");
  loader.ignore("embeddings.position_ids");
  const nn::Scope scope(loader);
  SentenceEncoder encoder(scope, BertConfig::detect(scope, dict.config()));
  loader.finish();
  return encoder;
}

}  // namespace me2::models
