#include "models/prior_network.h"

#include <cmath>

#include <ATen/ATen.h>

#include "base/error.h"

namespace me2::models {
namespace {

constexpr double kCosineScale = 16;  // logits are 16 times the cosine of query and key

at::Tensor l2_normalised(const at::Tensor& x) { return x / x.norm(2, {-1}, true).clamp_min(1e-12); }

// The first 2 * pairs features of x [..., N, d] turn by position; the rest stays.
at::Tensor rotate(const at::Tensor& x, const RotaryTable& table) {
  const std::int64_t pairs = table.cos.size(-1), width = x.size(-1);
  const at::Tensor turning = x.narrow(-1, 0, 2 * pairs).unflatten(-1, {pairs, 2});
  const at::Tensor a = turning.select(-1, 0), b = turning.select(-1, 1);
  const at::Tensor turned = at::stack({a * table.cos - b * table.sin, b * table.cos + a * table.sin}, -1).flatten(-2);
  return width == 2 * pairs ? turned : at::cat({turned, x.narrow(-1, 2 * pairs, width - 2 * pairs)}, -1);
}

}  // namespace

PriorNetworkConfig PriorNetworkConfig::detect(const nn::Scope& s) {
  PriorNetworkConfig c;
  const auto query = s.shape("learned_query");
  c.tokens = query.at(0);
  c.width = query.at(1);
  const nn::Scope transformer = s.sub("causal_transformer");
  c.depth = transformer.count("layers", "0.null_kv");
  if (c.depth == 0) throw data_error("tensor {}layers.0.0.null_kv is missing", transformer.prefix());
  c.dim_head = transformer.shape("layers.0.0.null_kv").at(1);
  const std::int64_t projected = transformer.shape("layers.0.0.to_q.weight").at(0);
  if (projected % c.dim_head != 0)
    throw data_error("tensor {}layers.0.0.to_q.weight has {} rows; a multiple of the head width {} expected", transformer.prefix(), projected, c.dim_head);
  c.heads = projected / c.dim_head;
  c.inner = transformer.shape("layers.0.1.5.weight").at(1);
  c.buckets = transformer.shape("rel_pos_bias.relative_attention_bias.weight").at(0);
  return c;
}

GainNorm::GainNorm(const nn::Scope& s, std::int64_t width, double eps) : g(s.param("g", {width}, nn::Init::ones().in_float())), eps(eps) {}
at::Tensor GainNorm::operator()(const at::Tensor& x) const { return at::layer_norm(x.to(g.scalar_type()), g.sizes(), g, {}, eps); }

PriorAttention::PriorAttention(const nn::Scope& s, const PriorNetworkConfig& c)
    : norm(s.sub("norm"), c.width), to_q(s.sub("to_q"), c.width, c.heads * c.dim_head, false),
      to_kv(s.sub("to_kv"), c.width, 2 * c.dim_head, false), null_kv(s.param("null_kv", {2, c.dim_head}, nn::Init::normal(1))),
      freqs(s.buffer("rotary_emb.freqs", {std::min<std::int64_t>(32, c.dim_head) / 2})),
      to_out(s.sub("to_out").sub(0), c.heads * c.dim_head, c.width, false), out_norm(s.sub("to_out").sub(1), c.width, c.out_norm_eps),
      heads(c.heads) {
  if (!s.source().knows_shapes() && !freqs.is_meta()) {
    const std::int64_t rotating = 2 * freqs.size(0);
    freqs.copy_(at::pow(10000, at::arange(0, rotating, 2, at::kFloat) / static_cast<double>(rotating)).reciprocal());
  }
}

RotaryTable PriorAttention::rotary(std::int64_t positions) const {
  const at::Tensor angle = at::outer(at::arange(positions, freqs.options()), freqs);
  return {angle.cos(), angle.sin()};
}

at::Tensor PriorAttention::operator()(const at::Tensor& x, const at::Tensor& bias) const {
  const std::int64_t batch = x.size(0), n = x.size(1), d = null_kv.size(1);
  const at::Tensor h = norm(x).to(to_q.weight.scalar_type());
  const at::Tensor kv = to_kv(h);
  at::Tensor q = to_q(h).view({batch, n, heads, d}).transpose(1, 2);  // [B, H, N, d]
  at::Tensor k = kv.narrow(-1, 0, d), v = kv.narrow(-1, d, d);         // [B, N, d]
  const RotaryTable table = rotary(n);
  q = rotate(q, table);
  k = rotate(k, table);
  k = at::cat({null_kv[0].expand({batch, 1, d}), k}, 1);  // the null key is not rotated
  v = at::cat({null_kv[1].expand({batch, 1, d}), v}, 1);
  const double root = std::sqrt(kCosineScale);  // the reference's further factor 16 on q cancels in the normalisation
  q = l2_normalised(q) * root;
  k = l2_normalised(k) * root;
  const at::Tensor logits = at::matmul(q.reshape({batch, heads * n, d}), k.transpose(1, 2)).view({batch, heads, n, n + 1}) + bias;
  const at::Tensor weights = at::softmax(logits, -1, at::kFloat).to(v.scalar_type());
  const at::Tensor out = at::matmul(weights.view({batch, heads * n, n + 1}), v).view({batch, heads, n, d});
  return out_norm(to_out(out.transpose(1, 2).reshape({batch, n, heads * d}).to(to_out.weight.scalar_type())));
}

PriorFeedForward::PriorFeedForward(const nn::Scope& s, const PriorNetworkConfig& c)
    : norm(s.sub(0), c.width), up(s.sub(1), c.width, 2 * c.inner, false), down(s.sub(5), c.inner, c.width, false) {}

at::Tensor PriorFeedForward::operator()(const at::Tensor& x) const {
  const auto parts = up(norm(x).to(up.weight.scalar_type())).chunk(2, -1);
  return down(parts[0] * at::silu(parts[1]));
}

PriorKeep PriorKeep::none(std::int64_t batch, at::Device device) {
  const at::Tensor drop = at::zeros({batch}, at::TensorOptions().dtype(at::kBool).device(device));
  return {drop, drop};
}

PriorNetwork::PriorNetwork(const nn::Scope& s, const PriorNetworkConfig& c)
    : config(c), learned_query(s.param("learned_query", {c.tokens, c.width}, nn::Init::normal(1 / std::sqrt(static_cast<double>(c.width))))),
      null_brain_embeds(s.param("null_brain_embeds", {c.tokens, c.width}, nn::Init::normal(1))),
      null_image_embed(s.param("null_image_embed", {c.tokens, c.width}, nn::Init::normal(1))),
      time0(s.sub("to_time_embeds.0.1.net.0.0"), c.width, 2 * c.width), time1(s.sub("to_time_embeds.0.1.net.1.0"), 2 * c.width, 2 * c.width),
      time2(s.sub("to_time_embeds.0.1.net.2"), 2 * c.width, c.width),
      relative_attention_bias(s.param("causal_transformer.rel_pos_bias.relative_attention_bias.weight", {c.buckets, c.heads}, nn::Init::normal(1))),
      layers([&] {
        std::vector<Layer> made;
        for (std::int64_t i = 0; i < c.depth; ++i) {
          const nn::Scope layer = s.sub("causal_transformer.layers").sub(i);
          made.push_back({PriorAttention(layer.sub(0), c), PriorFeedForward(layer.sub(1), c)});
        }
        return made;
      }()),
      norm(s.sub("causal_transformer.norm"), c.width), project_out(s.sub("causal_transformer.project_out"), c.width, c.width, false) {
  const auto options = at::TensorOptions().dtype(at::kLong).device(learned_query.device());
  if (learned_query.is_meta()) {  // shapes alone
    bucket = at::empty({c.sequence(), c.sequence() + 1}, options);
    return;
  }
  const at::Tensor distance = at::arange(c.sequence(), options).unsqueeze(1) - at::arange(c.sequence() + 1, options).unsqueeze(0);
  bucket = distance_bucket(distance, c.buckets, c.max_distance);
}

at::Tensor PriorNetwork::distance_bucket(const at::Tensor& distance, std::int64_t buckets, std::int64_t max_distance) {
  // Fidelity: keys ahead of the query (distance <= 0) share bucket 0 although the attention is not causal.
  const at::Tensor n = distance.clamp_min(0);
  const std::int64_t exact = buckets / 2;
  const double reach = std::log(static_cast<double>(max_distance) / static_cast<double>(exact));
  const at::Tensor far = (at::log(n.to(at::kFloat) / static_cast<double>(exact)) / reach * static_cast<double>(buckets - exact)).to(at::kLong) + exact;
  return at::where(n < exact, n, far.clamp_max(buckets - 1));
}

at::Tensor PriorNetwork::sinusoidal(const at::Tensor& times) const {
  const std::int64_t half = config.width / 2;
  const auto options = at::TensorOptions().dtype(at::kFloat).device(times.device());
  const at::Tensor f = at::exp(at::arange(half, options) * (-std::log(10000.0) / static_cast<double>(half - 1)));
  const at::Tensor angle = times.to(at::kFloat).unsqueeze(1) * f;
  return at::cat({angle.sin(), angle.cos()}, -1);
}

at::Tensor PriorNetwork::time_embedding(const at::Tensor& times) const {
  const at::Tensor x = sinusoidal(times).to(time0.weight.scalar_type());
  return time2(at::silu(time1(at::silu(time0(x))))).unsqueeze(1);
}

at::Tensor PriorNetwork::sequence(const at::Tensor& image, const at::Tensor& times, const at::Tensor& brain, const PriorKeep& keep) const {
  const auto kept = [](const at::Tensor& x, const at::Tensor& mask, const at::Tensor& null) {
    return mask.defined() ? at::where(mask.view({-1, 1, 1}), x, null.to(x.scalar_type())) : x;
  };
  // Fidelity: what image dropping replaces is the network's noisy input, not a condition; the query is added after the drop.
  return at::cat({kept(brain, keep.brain, null_brain_embeds), time_embedding(times).to(brain.scalar_type()),
                  kept(image, keep.image, null_image_embed) + learned_query}, 1);
}

at::Tensor PriorNetwork::relative_bias() const {
  return at::embedding(relative_attention_bias, bucket).permute({2, 0, 1});
}

at::Tensor PriorNetwork::final_norm(const at::Tensor& x) const {
  // Fidelity: divided by the signed maximum, not by the largest magnitude; a constant for gradients.
  return norm(x / x.amax(-1, true).detach());
}

at::Tensor PriorNetwork::operator()(const at::Tensor& image, const at::Tensor& times, const at::Tensor& brain, const PriorKeep& keep) const {
  at::Tensor x = sequence(image, times, brain, keep);
  const at::Tensor bias = relative_bias();
  for (const auto& layer : layers) {
    x = layer.attention(x, bias) + x;
    x = layer.feed_forward(x) + x;
  }
  const at::Tensor out = final_norm(x).narrow(1, config.tokens + 1, config.tokens);
  return project_out(out.to(project_out.weight.scalar_type()));
}

at::Tensor PriorNetwork::guided(const at::Tensor& image, const at::Tensor& times, const at::Tensor& brain, double scale) const {
  const at::Tensor conditioned = (*this)(image, times, brain);
  if (scale == 1) return conditioned;
  const at::Tensor null = (*this)(image, times, brain, PriorKeep::none(image.size(0), image.device()));
  return null + (conditioned - null) * scale;
}

}  // namespace me2::models
