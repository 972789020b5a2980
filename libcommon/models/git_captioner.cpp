#include "models/git_captioner.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/json.h"

namespace me2::models {
namespace {

nn::Init normal() { return nn::Init::normal(0.02); }

std::vector<BertLayer> make_layers(const nn::Scope& s, const GitConfig& c) {
  std::vector<BertLayer> layers;
  for (std::int64_t i = 0; i < c.layers; ++i) layers.emplace_back(s.sub(i), c.width, c.heads, c.mlp_width, c.eps);
  return layers;
}

}  // namespace

GitConfig GitConfig::detect(const nn::Scope& scope, const Json& config) {
  GitConfig c;
  const auto words = scope.shape("git.embeddings.word_embeddings.weight");
  c.vocab_size = words.at(0);
  c.width = words.at(1);
  c.layers = scope.count("git.encoder.layer", "output.dense.weight");
  c.mlp_width = scope.shape("git.encoder.layer.0.intermediate.dense.weight").at(0);
  c.positions = scope.shape("git.embeddings.position_embeddings.weight").at(0);
  c.image_width = scope.shape("git.visual_projection.visual_projection.0.weight").at(1);
  c.has_position_ids = scope.has("git.embeddings.position_ids");
  c.heads = config.value("num_attention_heads", std::max<std::int64_t>(1, c.width / 64));
  if (c.heads < 1 || c.width % c.heads) throw data_error("GIT: {} heads do not divide a width of {}", c.heads, c.width);
  c.eps = config.value("layer_norm_eps", c.eps);
  if (config.contains("vision_config") && config["vision_config"].is_object()) c.visual_eps = config["vision_config"].value("layer_norm_eps", c.visual_eps);
  const auto id = [&](const char* name, std::int64_t& value) {
    if (config.contains(name) && config[name].is_number_integer()) value = config[name].get<std::int64_t>();
    if (value < 0 || value >= c.vocab_size) throw data_error("GIT: {} {} is not in a vocabulary of {}", name, value, c.vocab_size);
  };
  id("bos_token_id", c.bos);
  id("eos_token_id", c.eos);
  id("pad_token_id", c.pad);
  return c;
}

GitCaptioner::GitCaptioner(const nn::Scope& s, const GitConfig& c)
    : config(c),
      word(s.sub("git.embeddings.word_embeddings"), c.vocab_size, c.width, normal()),
      position(s.sub("git.embeddings.position_embeddings"), c.positions, c.width, normal()),
      text_norm(s.sub("git.embeddings.LayerNorm"), c.width, c.eps),
      layers(make_layers(s.sub("git.encoder.layer"), c)),
      visual(s.sub("git.visual_projection.visual_projection.0"), c.image_width, c.width, true, normal(), nn::Init::zeros()),
      visual_norm(s.sub("git.visual_projection.visual_projection.1"), c.width, c.visual_eps),
      output(s.sub("output"), c.width, c.vocab_size, true, normal(), nn::Init::zeros()) {
  if (c.has_position_ids) s.buffer("git.embeddings.position_ids", {1, c.positions});  // 0, 1, 2, ...: not used
}

at::Tensor GitCaptioner::embed(const at::Tensor& features, const at::Tensor& ids) const {
  const at::Tensor text = text_norm(word(ids) + position.weight.narrow(0, 0, ids.size(1)));
  return at::cat({visual_norm(visual(features)), text}, 1);
}

at::Tensor GitCaptioner::logits(const at::Tensor& features, const at::Tensor& ids, std::vector<at::Tensor>* hidden) const {
  const std::int64_t v = features.size(1), t = ids.size(1);
  at::Tensor mask = at::full({v + t, v + t}, -std::numeric_limits<float>::infinity(), at::TensorOptions().dtype(at::kFloat).device(features.device()));
  mask.triu_(1);
  mask.narrow(1, 0, v).zero_();
  mask.narrow(0, 0, v).narrow(1, v, t).fill_(-std::numeric_limits<float>::infinity());
  at::Tensor x = embed(features, ids);
  mask = mask.to(x.scalar_type());
  for (const auto& layer : layers) {
    x = layer(x, mask);
    if (hidden) hidden->push_back(x);
  }
  return output(x);
}

struct GitCaptioner::Cache {
  struct Layer {
    at::Tensor visual_key, visual_value;  // [B, heads, V, d]
    at::Tensor text_key, text_value;      // [B * beams, heads, max_length, d]
  };
  std::vector<Layer> layers;
  std::int64_t beams, filled = 0;
};

GitCaptioner::Cache GitCaptioner::start(const at::Tensor& features, std::int64_t beams, std::int64_t max_length) const {
  if (features.size(2) != config.image_width)
    throw data_error("GIT takes image tokens of width {}, these have {}: a converter is needed between them", config.image_width, features.size(2));
  if (max_length > config.positions) throw usage_error("captions of {} tokens asked for; this GIT has {} positions", max_length, config.positions);
  Cache cache{{}, beams};
  at::Tensor x = visual_norm(visual(features));
  const std::int64_t rows = features.size(0) * beams, d = config.width / config.heads;
  for (const auto& layer : layers) {
    const at::Tensor q = layer.split(layer.query(x)), k = layer.split(layer.key(x)).contiguous(), v = layer.split(layer.value(x)).contiguous();
    cache.layers.push_back({k, v, at::empty({rows, config.heads, max_length, d}, x.options()), at::empty({rows, config.heads, max_length, d}, x.options())});
    if (cache.layers.size() < layers.size()) x = layer.finish(x, at::scaled_dot_product_attention(q, k, v));  // nothing reads the last layer's
  }
  return cache;
}

at::Tensor GitCaptioner::step(Cache& cache, const at::Tensor& ids) const {
  const std::int64_t rows = ids.size(0), batch = rows / cache.beams, d = config.width / config.heads;
  const double scale = 1.0 / std::sqrt(static_cast<double>(d));
  at::Tensor x = text_norm(word(ids) + position.weight[cache.filled]).unsqueeze(1);  // [rows, 1, width]
  const std::int64_t length = ++cache.filled;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const BertLayer& layer = layers[i];
    Cache::Layer& kept = cache.layers[i];
    const at::Tensor q = layer.split(layer.query(x)) * scale;  // [rows, heads, 1, d]
    kept.text_key.select(2, length - 1).copy_(layer.split(layer.key(x)).select(2, 0));
    kept.text_value.select(2, length - 1).copy_(layer.split(layer.value(x)).select(2, 0));
    // The beams of a sample share its visual keys: one product for all of them.
    const at::Tensor grouped = q.view({batch, cache.beams, config.heads, d}).transpose(1, 2);  // [B, heads, beams, d]
    const at::Tensor to_visual = at::matmul(grouped, kept.visual_key.transpose(2, 3)).transpose(1, 2).reshape({rows, config.heads, 1, -1});
    const at::Tensor to_text = at::matmul(q, kept.text_key.narrow(2, 0, length).transpose(2, 3));
    const at::Tensor weights = at::softmax(at::cat({to_visual, to_text}, -1), -1);
    const std::int64_t v = to_visual.size(-1);
    const at::Tensor visual_weights = weights.narrow(-1, 0, v).reshape({batch, cache.beams, config.heads, v}).transpose(1, 2);
    const at::Tensor from_visual = at::matmul(visual_weights, kept.visual_value).transpose(1, 2).reshape({rows, config.heads, 1, d});
    const at::Tensor from_text = at::matmul(weights.narrow(-1, v, length), kept.text_value.narrow(2, 0, length));
    x = layer.finish(x, from_visual + from_text);
  }
  return output(x.select(1, 0));
}

GitCaptioner::Generated GitCaptioner::greedy(const at::Tensor& features, std::int64_t max_length, bool keep_logits) const {
  const std::int64_t rows = features.size(0);
  const auto longs = at::TensorOptions().dtype(at::kLong).device(features.device());
  at::Tensor last = at::full({rows}, config.bos, longs), finished = at::zeros({rows}, longs.dtype(at::kBool));
  std::vector<at::Tensor> ids{last}, steps;
  Cache cache = start(features, 1, max_length);
  while (static_cast<std::int64_t>(ids.size()) < max_length) {
    const at::Tensor logits = step(cache, last);
    if (keep_logits) steps.push_back(logits);
    last = at::where(finished, at::full({}, config.pad, longs), logits.argmax(-1));
    ids.push_back(last);
    finished = finished.logical_or(last == config.eos);
    if (finished.all().item<bool>()) break;
  }
  return {at::stack(ids, 1), steps.empty() ? at::Tensor() : at::stack(steps)};
}

namespace {

struct Hypothesis {
  std::vector<std::int64_t> ids;
  double score;
};

struct Finished {  // the best `size` complete captions of one sample
  std::size_t size;
  std::vector<Hypothesis> kept;
  bool done = false;
  double worst() const {
    double w = std::numeric_limits<double>::infinity();
    for (const auto& h : kept) w = std::min(w, h.score);
    return w;
  }
  void add(std::vector<std::int64_t> ids, double sum) {
    const double score = sum / static_cast<double>(ids.size() - 1);  // bos is not counted; eos is not in `ids` but counts in its place
    if (kept.size() == size && score <= worst()) return;
    kept.push_back({std::move(ids), score});
    if (kept.size() > size)
      kept.erase(std::min_element(kept.begin(), kept.end(), [](const auto& a, const auto& b) { return a.score < b.score; }));
  }
};

}  // namespace

at::Tensor GitCaptioner::beam(const at::Tensor& features, std::int64_t beams, std::int64_t max_length) const {
  const std::int64_t batch = features.size(0), rows = batch * beams;
  if (beams < 1 || 2 * beams > config.vocab_size) throw usage_error("{} beams over a vocabulary of {}", beams, config.vocab_size);
  const auto longs = at::TensorOptions().dtype(at::kLong);
  std::vector<std::vector<std::int64_t>> ids(rows, {config.bos});
  std::vector<double> scores(rows);
  for (std::int64_t r = 0; r < rows; ++r) scores[r] = r % beams == 0 ? 0 : -1e9;  // the beams start equal: only the first counts
  std::vector<Finished> finished(batch, Finished{static_cast<std::size_t>(beams), {}, false});
  Cache cache = start(features, beams, max_length);
  for (std::int64_t length = 1; length < max_length; ++length) {
    std::vector<std::int64_t> newest;
    for (const auto& row : ids) newest.push_back(row.back());
    const at::Tensor logits = step(cache, at::tensor(newest, longs).to(features.device())).to(at::kFloat);
    const at::Tensor sums = at::log_softmax(logits, -1) + at::tensor(scores, at::kDouble).to(at::kFloat).to(logits.device()).unsqueeze(1);
    const auto [values, indices] = sums.view({batch, beams * config.vocab_size}).topk(2 * beams, 1);
    const at::Tensor value = values.cpu().contiguous(), index = indices.cpu().contiguous();
    std::vector<std::int64_t> from(rows);
    std::vector<std::vector<std::int64_t>> next(rows);
    for (std::int64_t b = 0; b < batch; ++b) {
      const float* v = value.const_data_ptr<float>() + b * 2 * beams;
      const std::int64_t* k = index.const_data_ptr<std::int64_t>() + b * 2 * beams;
      std::int64_t taken = 0;
      if (finished[b].done) {
        for (; taken < beams; ++taken) {
          from[b * beams + taken] = b * beams;
          next[b * beams + taken] = ids[b * beams];
          next[b * beams + taken].push_back(config.pad);
          scores[b * beams + taken] = 0;
        }
        continue;
      }
      for (std::int64_t rank = 0; rank < 2 * beams && taken < beams; ++rank) {
        const std::int64_t row = b * beams + k[rank] / config.vocab_size, token = k[rank] % config.vocab_size;
        if (token == config.eos) {
          if (rank < beams) {
            auto complete = ids[row];
            complete.push_back(token);
            finished[b].add(std::move(complete), v[rank]);
          }
          continue;
        }
        from[b * beams + taken] = row;
        next[b * beams + taken] = ids[row];
        next[b * beams + taken].push_back(token);
        scores[b * beams + taken] = v[rank];
        ++taken;
      }
      // Nothing still growing can do better than the best sum at today's length.
      finished[b].done = finished[b].kept.size() == static_cast<std::size_t>(beams) && finished[b].worst() >= v[0] / static_cast<double>(length);
    }
    ids = std::move(next);
    if (std::all_of(finished.begin(), finished.end(), [](const auto& f) { return f.done; })) break;
    const at::Tensor order = at::tensor(from, longs).to(features.device());
    for (auto& layer : cache.layers) {
      layer.text_key = layer.text_key.index_select(0, order);
      layer.text_value = layer.text_value.index_select(0, order);
    }
  }
  std::int64_t longest = 0;
  std::vector<std::vector<std::int64_t>> best(batch);
  for (std::int64_t b = 0; b < batch; ++b) {
    if (!finished[b].done)
      for (std::int64_t r = b * beams; r < (b + 1) * beams; ++r) finished[b].add(ids[r], scores[r]);
    best[b] = std::max_element(finished[b].kept.begin(), finished[b].kept.end(), [](const auto& x, const auto& y) { return x.score < y.score; })->ids;
    longest = std::max<std::int64_t>(longest, static_cast<std::int64_t>(best[b].size()));
  }
  at::Tensor out = at::full({batch, longest}, config.pad, longs);
  for (std::int64_t b = 0; b < batch; ++b)
    std::copy(best[b].begin(), best[b].end(), out.mutable_data_ptr<std::int64_t>() + b * longest);
  return out;
}

}  // namespace me2::models
