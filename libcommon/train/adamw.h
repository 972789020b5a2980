// AdamW with decoupled weight decay (Loshchilov & Hutter 2019), parameter groups by name, and beta1 changed by the schedule.
#pragma once
#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "nn/scope.h"

namespace me2::train {

struct Parameter {
  std::string name;
  at::Tensor tensor;
  double weight_decay;
};

// The reference's groups: everything under ridge. decays (its bias too, that is the "ridge"); elsewhere a name holding "bias" does not
// decay and all else does. Norm gains, null embeddings and queries therefore decay, and rel_pos_bias.relative_attention_bias.weight does not.
// Buffers are left out, and a tensor that occurs under several names (shared) is taken once.
double official_decay(const std::string& name, double decay = 1e-2);
std::vector<Parameter> with_official_decay(const std::vector<nn::Named>& made, double decay = 1e-2);

bool all_finite(const std::vector<Parameter>& parameters);

class AdamW {
 public:
  AdamW() = default;
  explicit AdamW(std::vector<Parameter> parameters, double beta2 = 0.999, double eps = 1e-8);

  // One step. Parameters without a gradient are left alone (a zero gradient still decays). Bias correction uses the current beta1^step.
  void step(double lr, double beta1);
  void zero_grad();
  double gradient_norm() const;       // over all parameters; 0 when there are none
  void scale_gradients(double factor);
  void clip_gradients(double norm, double most);  // `norm` as above, to `most` where it is larger; most 0: never
  bool gradients_finite() const;
  const std::vector<Parameter>& parameters() const { return parameters_; }

  // exp_avg.NAME, exp_avg_sq.NAME, step.NAME (f32 []), for those that have been stepped.
  std::map<std::string, at::Tensor> state() const;
  void load_state(const weights::StateDict& state);  // Exit::data on a missing or misshapen tensor

 private:
  std::vector<Parameter> parameters_;
  std::vector<at::Tensor> average_, square_, steps_;  // undefined until the first step of their parameter
  double beta2_ = 0.999, eps_ = 1e-8;
};

}  // namespace me2::train
