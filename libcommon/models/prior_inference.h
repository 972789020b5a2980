// The prior's network for sampling on the CPU: the same numbers as PriorNetwork up to rounding, without a graph. Samples are
// computed one by one, so that a sample's bytes do not depend on its batch. What does not change between calls is made once:
// rotary and bias tables, packed weights, time embeddings, the prediction without condition. In the last layer only the rows
// that become the output are computed.
#pragma once
#include <map>
#include <optional>
#include <vector>

#include "models/prior_network.h"
#include "models/prior_small.h"
#include "nn/conv.h"

namespace me2::models {

class PriorInference {
 public:
  // Takes the dtype of the network's weights (f32 or bf16) for the products; norms, residuals and softmax stay in float.
  explicit PriorInference(const PriorNetwork& net);

  // image (noisy) and brain [B, n, width] float, one time for all -> [B, n, width] float. Guidance as in PriorNetwork::guided.
  at::Tensor operator()(const at::Tensor& image, std::int64_t time, const at::Tensor& brain, double guidance = 1);

 private:
  struct Layer {
    at::Tensor norm_g, out_g, feed_g;  // float
    nn::FastLinear qkv, out, up, down; // qkv: rows of to_q, then of to_kv
    at::Tensor null_key, null_value;   // [d]; the key normalised
    RotaryTable rotary;
  };
  const at::Tensor& time_embedding(std::int64_t time);
  const at::Tensor& null_prediction(std::int64_t time);
  void one(const float* brain, const at::Tensor& time, const float* image, const at::Tensor& out) const;  // out [n, width]
  at::Tensor attention(const Layer& layer, const at::Tensor& qkv, std::int64_t first_query) const;

  PriorNetworkConfig config_;
  const PriorNetwork* net_;
  at::ScalarType dtype_;
  bool small_;  // samples side by side instead of one sample on all threads
  std::optional<SmallPrior> alone_;  // of small networks in f32, which then have none of what follows up to times_
  std::vector<Layer> layers_;
  at::Tensor bias_;    // [1, H, N, N + 1] float
  at::Tensor query_;   // learned_query, float
  at::Tensor final_g_;
  nn::FastLinear project_out_;
  std::map<std::int64_t, at::Tensor> times_, nulls_;
};

}  // namespace me2::models
