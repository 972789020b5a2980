// One sample of a small prior in f32 on one thread: the numbers of PriorNetwork up to rounding. Networks of this size are all overhead in
// LibTorch's operators, so everything happens in one array that each thread keeps: products of our own over weights that are transposed
// once, attention over all heads with keys transposed, biases and rotary tables made once. The order of every sum is fixed.
#pragma once
#include <vector>

#include "models/prior_network.h"

namespace me2::models {

class SmallPrior {
 public:
  explicit SmallPrior(const PriorNetwork& net);  // weights of any dtype, widened

  // brain, image and out [n, width], time [width] (embedded).
  void operator()(const float* brain, const float* time, const float* image, float* out) const;

 private:
  // A Linear's weight transposed, its outputs padded with zeros to whole lanes: [in, wide].
  struct Matrix {
    at::Tensor values;
    std::int64_t in, out, wide;
    explicit Matrix(const at::Tensor& weight);
  };
  struct Layer {
    at::Tensor norm_g, out_g, feed_g;
    Matrix qkv, out, up, down;          // qkv: rows of to_q, then of to_kv
    at::Tensor null_key, null_value;    // [d]; the key normalised
    RotaryTable rotary;
  };
  PriorNetworkConfig config_;
  std::int64_t keys_;  // N + 1 in whole lanes
  std::vector<Layer> layers_;
  at::Tensor bias_;    // [H, N, keys_], minus infinity where there is no key
  at::Tensor query_, final_g_;
  Matrix project_out_;
};

}  // namespace me2::models
