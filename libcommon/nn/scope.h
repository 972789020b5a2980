// Where a network's parameters come from. A network is a plain struct whose constructor asks a Scope for each tensor by its
// official name and shape; the same constructor therefore loads a checkpoint, initialises at random, or only lists shapes.
//     Linear::Linear(const Scope& s, int64_t in, int64_t out) : weight(s.param("weight", {out, in}, init::linear(in))), ...
//     Backbone net(Scope(loader).sub("backbone"));  loader.finish();   // finish(): every missing, extra or misshapen tensor is an error
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "weights/state_dict.h"

namespace me2::nn {

using Shape = std::vector<std::int64_t>;

struct Init {  // how a parameter starts when it is not loaded
  enum class Kind { zeros, ones, uniform, normal } kind = Kind::zeros;
  double scale = 0;  // half-width of the uniform, deviation of the normal
  bool wide = false;  // a loader never narrows it below float: gains of norms that run in float beside half-precision products
  Init in_float() const { Init copy = *this; copy.wide = true; return copy; }
  static Init zeros() { return {Kind::zeros}; }
  static Init ones() { return {Kind::ones}; }
  static Init uniform(double half_width) { return {Kind::uniform, half_width}; }
  static Init normal(double deviation) { return {Kind::normal, deviation}; }
  static Init fan_in(std::int64_t fan_in);  // PyTorch's default for Linear and Conv: uniform(1/sqrt(fan_in))
};

struct Named {
  std::string name;   // full official name
  at::Tensor tensor;  // shares storage with the network's member
  bool buffer;        // in the state dict, but not trained
};

class ParamSource {
 public:
  virtual ~ParamSource() = default;
  virtual at::Tensor param(const std::string& name, const Shape& shape, const Init& init, bool buffer) = 0;
  virtual bool has(const std::string& name) const = 0;                  // can an optional part be built?
  virtual Shape shape(const std::string& name) const = 0;               // sizes are inferred from shapes
  virtual bool knows_shapes() const = 0;
  const std::vector<Named>& made() const { return made_; }              // in construction order

 protected:
  std::vector<Named> made_;
};

// From a checkpoint, cast to `dtype` on `device`; buffers and Init::in_float() parameters are not narrowed below float. f32 on the CPU from an f32 file aliases the mapped file: nothing is copied.
class Loader : public ParamSource {
 public:
  Loader(weights::StateDict dict, at::ScalarType dtype = at::kFloat, at::Device device = at::kCPU, bool trainable = false);
  at::Tensor param(const std::string& name, const Shape& shape, const Init& init, bool buffer) override;
  bool has(const std::string& name) const override { return dict_.has(name); }
  Shape shape(const std::string& name) const override { return dict_.shape(name); }
  bool knows_shapes() const override { return true; }
  const weights::StateDict& dict() const { return dict_; }
  void ignore(const std::string& prefix);  // names that may be present and are not used
  void finish() const;                     // Exit::data naming tensors that nothing asked for

 private:
  weights::StateDict dict_;
  at::ScalarType dtype_;
  at::Device device_;
  bool trainable_;
  std::vector<std::string> ignored_;
};

// Random, from a seed: each tensor's values depend on (seed, name) only.
class Initialiser : public ParamSource {
 public:
  explicit Initialiser(std::uint64_t seed, at::Device device = at::kCPU);
  at::Tensor param(const std::string& name, const Shape& shape, const Init& init, bool buffer) override;
  bool has(const std::string&) const override { return true; }
  Shape shape(const std::string& name) const override;  // Exit::internal: a fresh network's sizes come from its config
  bool knows_shapes() const override { return false; }

 private:
  std::uint64_t seed_;
  at::Device device_;
};

// Shapes only (meta tensors): construct a full-size network to list its names without memory.
class ShapeLister : public ParamSource {
 public:
  at::Tensor param(const std::string& name, const Shape& shape, const Init& init, bool buffer) override;
  bool has(const std::string&) const override { return true; }
  Shape shape(const std::string& name) const override;
  bool knows_shapes() const override { return false; }
};

class Scope {
 public:
  Scope(ParamSource& source, std::string prefix = "") : source_(&source), prefix_(std::move(prefix)) {}
  Scope sub(const std::string& name) const { return Scope(*source_, prefix_ + name + "."); }
  Scope sub(std::int64_t index) const { return sub(std::to_string(index)); }
  at::Tensor param(const std::string& name, const Shape& shape, const Init& init = Init::zeros()) const {
    return source_->param(prefix_ + name, shape, init, false);
  }
  at::Tensor buffer(const std::string& name, const Shape& shape, const Init& init = Init::zeros()) const {
    return source_->param(prefix_ + name, shape, init, true);
  }
  bool has(const std::string& name) const { return source_->has(prefix_ + name); }
  Shape shape(const std::string& name) const { return source_->shape(prefix_ + name); }
  std::int64_t count(const std::string& stem, const std::string& leaf) const;  // how many of stem.0.leaf, stem.1.leaf, ... a checkpoint has
  ParamSource& source() const { return *source_; }
  const std::string& prefix() const { return prefix_; }

 private:
  ParamSource* source_;
  std::string prefix_;
};

}  // namespace me2::nn
