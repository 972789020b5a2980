#include "nn/scope.h"

#include <sys/mman.h>

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

// A large tensor is cast a piece at a time and the pages of what was read are given back, so that a mapped checkpoint is never
// resident beside its own copy. MADV_PAGEOUT loses nothing, whatever the memory is.
at::Tensor cast(const at::Tensor& from, at::Device device, at::ScalarType to) {
  constexpr std::int64_t kPiece = std::int64_t{32} << 20;
  const auto bytes = static_cast<std::int64_t>(from.nbytes());
  if (from.scalar_type() == to || !from.is_cpu() || !device.is_cpu() || bytes < 2 * kPiece || !from.is_contiguous()) return from.to(device, to);
  const at::Tensor out = at::empty(from.sizes(), from.options().dtype(to));
  const at::Tensor source = from.view({-1}), target = out.view({-1});
  const std::int64_t step = kPiece / static_cast<std::int64_t>(from.element_size());
  constexpr std::uintptr_t kPage = 4096;
  for (std::int64_t first = 0; first < source.numel(); first += step) {
    const at::Tensor piece = source.narrow(0, first, std::min(step, source.numel() - first));
    target.narrow(0, first, piece.numel()).copy_(piece);
    const auto begin = reinterpret_cast<std::uintptr_t>(piece.const_data_ptr()), end = begin + piece.nbytes();
    const auto inner = (begin + kPage - 1) / kPage * kPage;
    if (end > inner) ::madvise(reinterpret_cast<void*>(inner), (end - inner) / kPage * kPage, MADV_PAGEOUT);
  }
  return out;
}

}  // namespace

Init Init::fan_in(std::int64_t fan_in) { return uniform(1.0 / std::sqrt(static_cast<double>(fan_in))); }

Loader::Loader(weights::StateDict dict, at::ScalarType dtype, at::Device device, bool trainable)
    : dict_(std::move(dict)), dtype_(dtype), device_(device), trainable_(trainable) {}

at::Tensor Loader::param(const std::string& name, const Shape& shape, const Init& init, bool buffer) {
  if (!dict_.has(name))
    throw data_error("{}: tensor {} is missing (shape [{}] expected)", dict_.path(), dict_.name_in_file(name), fmt::join(shape, ", "));
  const Shape found = dict_.shape(name);
  if (found != shape)
    throw data_error("{}: tensor {} has shape [{}], [{}] expected", dict_.path(), dict_.name_in_file(name), fmt::join(found, ", "), fmt::join(shape, ", "));
  at::Tensor tensor = dict_.get(name);
  if (!buffer && !tensor.is_floating_point())
    throw data_error("{}: tensor {} holds {}, floating-point numbers expected", dict_.path(), dict_.name_in_file(name), c10::toString(tensor.scalar_type()));
  const bool keep_wide = buffer || init.wide;
  const at::ScalarType to = !tensor.is_floating_point() ? tensor.scalar_type() : keep_wide ? at::promoteTypes(dtype_, at::kFloat) : dtype_;
  if (trainable_)
    tensor = tensor.to(at::TensorOptions().dtype(to).device(device_), /*non_blocking=*/false, /*copy=*/true);
  else
    tensor = cast(tensor, device_, to);
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
  throw data_error("{}: tensor {} (shape [{}]) is not part of this network{}", dict_.path(), dict_.name_in_file(extra.front()), fmt::join(shape, ", "),
                   extra.size() > 1 ? fmt::format(", nor are {} others", extra.size() - 1) : "");
}

Initialiser::Initialiser(std::uint64_t seed, at::Device device) : seed_(seed), device_(device) {}

at::Tensor Initialiser::param(const std::string& name, const Shape& shape, const Init& init, bool buffer) {
  if (device_.is_meta()) {
    made_.push_back({name, at::empty(shape, at::TensorOptions().dtype(at::kFloat).device(device_)).set_requires_grad(!buffer), buffer});
    return made_.back().tensor;
  }
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
