#include "nn/scope.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"

namespace me2::nn {
namespace {

std::uint64_t fnv1a(const std::string& text) {
  std::uint64_t hash = 0xcbf29ce484222325ull;
  for (const unsigned char c : text) hash = (hash ^ c) * 0x100000001b3ull;
  return hash;
}

}  // namespace

Init Init::fan_in(std::int64_t fan_in) { return uniform(1.0 / std::sqrt(static_cast<double>(fan_in))); }

Loader::Loader(weights::StateDict dict, at::ScalarType dtype, at::Device device, bool trainable)
    : dict_(std::move(dict)), dtype_(dtype), device_(device), trainable_(trainable) {}

at::Tensor Loader::param(const std::string& name, const Shape& shape, const Init& init, bool buffer) {
  if (!dict_.has(name))
    throw data_error("{}: tensor {} is missing (shape [{}] expected)", dict_.path(), name, fmt::join(shape, ", "));
  const Shape found = dict_.shape(name);
  if (found != shape)
    throw data_error("{}: tensor {} has shape [{}], [{}] expected", dict_.path(), name, fmt::join(found, ", "), fmt::join(shape, ", "));
  at::Tensor tensor = dict_.get(name);
  const bool keep_wide = buffer || init.wide;
  const at::ScalarType to = !tensor.is_floating_point() ? tensor.scalar_type() : keep_wide ? at::promoteTypes(dtype_, at::kFloat) : dtype_;
  if (trainable_)
    tensor = tensor.to(at::TensorOptions().dtype(to).device(device_), /*non_blocking=*/false, /*copy=*/true);
  else
    tensor = tensor.to(device_, to);
  if (trainable_ && !buffer) tensor.set_requires_grad(true);
  made_.push_back({name, tensor, buffer});
  return tensor;
}

void Loader::ignore(const std::string& prefix) { ignored_.push_back(prefix); }

void Loader::finish() const {
  std::set<std::string> used;
  for (const auto& named : made_) used.insert(named.name);
  std::vector<std::string> extra;
  for (const auto& name : dict_.names()) {
    const bool ignored = std::any_of(ignored_.begin(), ignored_.end(), [&](const auto& p) { return name.starts_with(p); });
    if (!used.contains(name) && !ignored) extra.push_back(name);
  }
  if (extra.empty()) return;
  const auto shape = dict_.shape(extra.front());
  throw data_error("{}: tensor {} (shape [{}]) is not part of this network{}", dict_.path(), extra.front(), fmt::join(shape, ", "),
                   extra.size() > 1 ? fmt::format(", nor are {} others", extra.size() - 1) : "");
}

Initialiser::Initialiser(std::uint64_t seed, at::Device device) : seed_(seed), device_(device) {}

at::Tensor Initialiser::param(const std::string& name, const Shape& shape, const Init& init, bool buffer) {
  at::Tensor tensor = at::empty(shape, at::kFloat);
  auto generator = at::detail::createCPUGenerator(seed_ ^ fnv1a(name));
  switch (init.kind) {
    case Init::Kind::zeros: tensor.zero_(); break;
    case Init::Kind::ones: tensor.fill_(1); break;
    case Init::Kind::uniform: tensor.uniform_(-init.scale, init.scale, generator); break;
    case Init::Kind::normal: tensor.normal_(0, init.scale, generator); break;
  }
  tensor = tensor.to(device_);
  if (!buffer) tensor.set_requires_grad(true);
  made_.push_back({name, tensor, buffer});
  return tensor;
}

Shape Initialiser::shape(const std::string& name) const {
  throw Error(Exit::internal, fmt::format("a fresh network was asked for the size of {}", name));
}

at::Tensor ShapeLister::param(const std::string& name, const Shape& shape, const Init&, bool buffer) {
  at::Tensor tensor = at::empty(shape, at::TensorOptions().dtype(at::kFloat).device(at::kMeta));
  made_.push_back({name, tensor, buffer});
  return tensor;
}

Shape ShapeLister::shape(const std::string& name) const {
  throw Error(Exit::internal, fmt::format("a shape listing was asked for the size of {}", name));
}

std::int64_t Scope::count(const std::string& stem, const std::string& leaf) const {
  std::int64_t n = 0;
  while (has(fmt::format("{}.{}.{}", stem, n, leaf))) ++n;
  return n;
}

}  // namespace me2::nn
