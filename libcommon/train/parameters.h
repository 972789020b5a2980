// Where the trained tensors come from, and the two ways of training them indirectly: low-rank updates and averaged weights.
#pragma once
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "nn/scope.h"
#include "train/adamw.h"

namespace me2::train {

// From a checkpoint where it has the tensor (float32 copies that require gradients), from the seed otherwise.
// `rename` gives the name to look up, or "" to start that tensor fresh.
class StartSource : public nn::ParamSource {
 public:
  StartSource(weights::StateDict dict, std::uint64_t seed, at::Device device, std::function<std::string(const std::string&)> rename);
  at::Tensor param(const std::string& name, const nn::Shape& shape, const nn::Init& init, bool buffer) override;
  bool has(const std::string&) const override { return true; }
  nn::Shape shape(const std::string& name) const override;
  bool knows_shapes() const override { return false; }
  // After the network is built. `parts` are name prefixes that stand or fall together: a checkpoint may lack such a part as a whole, and
  // hold one that the network is built without. Anything else that is missing or left over is Exit::data, naming the tensor.
  // Subject maps (ridge.) and buffers may be missing or left over one by one.
  void finish(const std::vector<std::vector<std::string>>& parts) const;

 private:
  weights::StateDict dict_;
  nn::Initialiser fresh_;
  at::Device device_;
  std::function<std::string(const std::string&)> rename_;
  std::set<std::string> loaded_;  // names of the checkpoint that were taken
};

// Given tensors by name, as they are: builds a network around tensors that are results of other operations.
class TensorSource : public nn::ParamSource {
 public:
  explicit TensorSource(const std::map<std::string, at::Tensor>& tensors) : tensors_(tensors) {}
  at::Tensor param(const std::string& name, const nn::Shape& shape, const nn::Init& init, bool buffer) override;
  bool has(const std::string& name) const override { return tensors_.contains(name); }
  nn::Shape shape(const std::string& name) const override { return tensors_.at(name).sizes().vec(); }
  bool knows_shapes() const override { return true; }

 private:
  const std::map<std::string, at::Tensor>& tensors_;
};

// Low-rank adaptation (Hu et al. 2022): W = W0 + (alpha / rank) B A with W0 [out, in] frozen, B [out, rank] starting at zero and A
// [rank, in] at random. Applied to every two-dimensional "*.weight" of backbone and prior whose sides both exceed the rank,
// except the table of relative positions.
class LowRank {
 public:
  LowRank() = default;
  LowRank(const std::vector<nn::Named>& made, std::int64_t rank, double alpha, std::uint64_t seed);
  bool empty() const { return updates_.empty(); }
  bool adapts(const std::string& name) const { return updates_.contains(name); }
  std::vector<Parameter> parameters(double decay) const;                            // NAME.lora_a, NAME.lora_b
  at::Tensor merged(const std::string& name, const at::Tensor& frozen) const;       // with a graph to A and B

 private:
  struct Update {
    at::Tensor a, b;
  };
  std::map<std::string, Update> updates_;
  double scale_ = 1;
};

// Exponential moving average, as in timm and diffusers: average = decay * average + (1 - decay) * weight after each step,
// with the decay warmed up as min(decay, (1 + n) / (10 + n)).
class Average {
 public:
  Average() = default;
  Average(const std::vector<Parameter>& parameters, double decay);
  bool on() const { return decay_ > 0; }
  void update(const std::vector<Parameter>& parameters, std::int64_t step);
  const std::map<std::string, at::Tensor>& tensors() const { return tensors_; }
  void load(const weights::StateDict& state, const std::string& prefix);

 private:
  double decay_ = 0;
  std::map<std::string, at::Tensor> tensors_;
};

}  // namespace me2::train
