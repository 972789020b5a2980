// The prior's network: predicts clean CLIP tokens from noisy ones, the time and the backbone's tokens (MindEye2 paper, section 2.3;
// reference: models.py PriorNetwork and FlaggedCausalTransformer over dalle2_pytorch's Attention, FeedForward, LayerNorm, RelPosBias).
// Sequence: [brain tokens (n), time (1), image tokens + learned_query (n)]; the output is the last n. Not causal.
#pragma once
#include <vector>

#include "nn/layers.h"

namespace me2::models {

struct PriorNetworkConfig {
  std::int64_t width = 1664, depth = 6, heads = 32, dim_head = 52, tokens = 256;
  std::int64_t inner = 6656;  // of the feed-forward part: ff_mult * width
  std::int64_t buckets = 32, max_distance = 128;  // of the relative position bias
  // eps of the norm after each attention's output projection. The float32 reference has 1e-5; under float16 autocast, as the
  // official models were trained, that norm alone sees a half input and takes 1e-3.
  double out_norm_eps = 1e-5;
  std::int64_t sequence() const { return 2 * tokens + 1; }
  static PriorNetworkConfig detect(const nn::Scope& s);  // from the shapes of a checkpoint
};

struct GainNorm {  // LayerNorm with a gain `g` and no bias
  at::Tensor g;
  double eps;
  GainNorm(const nn::Scope& s, std::int64_t width, double eps = 1e-5);
  at::Tensor operator()(const at::Tensor& x) const;
};

struct RotaryTable {  // cos and sin [N, pairs] for positions 0..N-1
  at::Tensor cos, sin;
};

struct PriorAttention {
  GainNorm norm;
  nn::Linear to_q, to_kv;  // one key/value head shared by all query heads
  at::Tensor null_kv;      // [2, dim_head]: the null key and the null value
  at::Tensor freqs;        // [pairs]
  nn::Linear to_out;
  GainNorm out_norm;
  std::int64_t heads;
  PriorAttention(const nn::Scope& s, const PriorNetworkConfig& config);
  RotaryTable rotary(std::int64_t positions) const;
  // x [B, N, width], bias [H, N, N + 1] -> [B, N, width], without the residual.
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& bias) const;
};

struct PriorFeedForward {
  GainNorm norm;
  nn::Linear up, down;  // up gives [value, gate]; value * silu(gate)
  PriorFeedForward(const nn::Scope& s, const PriorNetworkConfig& config);
  at::Tensor operator()(const at::Tensor& x) const;  // without the residual
};

// Which samples keep their condition, [B] bool; undefined: all. A dropped one sees the learned null embedding instead.
struct PriorKeep {
  at::Tensor brain, image;
  static PriorKeep none(std::int64_t batch, at::Device device);  // drops both everywhere
};

struct PriorNetwork {
  struct Layer {
    PriorAttention attention;
    PriorFeedForward feed_forward;
  };
  PriorNetworkConfig config;
  at::Tensor learned_query, null_brain_embeds, null_image_embed;  // [n, width]
  nn::Linear time0, time1, time2;                                 // to_time_embeds.0.1.net
  at::Tensor relative_attention_bias;                             // [buckets, H], one table for all layers
  std::vector<Layer> layers;
  GainNorm norm;
  nn::Linear project_out;
  at::Tensor bucket;  // [N, N + 1] int64: row of the table for query i and key j, key 0 being the null key

  PriorNetwork(const nn::Scope& s, const PriorNetworkConfig& config);

  // image [B, n, width] (noisy), times [B] int64, brain [B, n, width] -> [B, n, width]. Differentiable in everything.
  at::Tensor operator()(const at::Tensor& image, const at::Tensor& times, const at::Tensor& brain, const PriorKeep& keep = {}) const;
  // Classifier-free guidance: null + (conditioned - null) * scale; scale 1 is the plain prediction.
  at::Tensor guided(const at::Tensor& image, const at::Tensor& times, const at::Tensor& brain, double scale) const;

  // The steps of it.
  at::Tensor sinusoidal(const at::Tensor& times) const;                       // [B] -> [B, width]
  at::Tensor time_embedding(const at::Tensor& times) const;                   // [B] -> [B, 1, width]
  at::Tensor sequence(const at::Tensor& image, const at::Tensor& times, const at::Tensor& brain, const PriorKeep& keep) const;
  at::Tensor relative_bias() const;                                           // [H, N, N + 1]
  at::Tensor final_norm(const at::Tensor& x) const;                           // "stable": divided by its signed maximum first
  static at::Tensor distance_bucket(const at::Tensor& distance, std::int64_t buckets, std::int64_t max_distance);  // int64 -> int64
};

}  // namespace me2::models
