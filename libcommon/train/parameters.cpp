#include "train/parameters.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "base/error.h"

namespace me2::train {

StartSource::StartSource(weights::StateDict dict, std::uint64_t seed, at::Device device, std::function<std::string(const std::string&)> rename)
    : dict_(std::move(dict)), fresh_(seed, device), device_(device), rename_(std::move(rename)) {}

at::Tensor StartSource::param(const std::string& name, const nn::Shape& shape, const nn::Init& init, bool buffer) {
  const std::string from = rename_(name);
  at::Tensor tensor;
  if (!from.empty() && dict_.has(from)) {
    const auto found = dict_.shape(from);
    if (found != shape)
      throw data_error("{}: tensor {} has shape [{}], [{}] expected for this training", dict_.path(), from, fmt::join(found, ", "), fmt::join(shape, ", "));
    tensor = dict_.get(from).to(at::TensorOptions().dtype(at::kFloat).device(device_), false, /*copy=*/true);
    if (!buffer) tensor.set_requires_grad(true);
    loaded_.insert(from);
  } else {
    tensor = fresh_.param(name, shape, init, buffer);
  }
  made_.push_back({name, tensor, buffer});
  return tensor;
}

nn::Shape StartSource::shape(const std::string& name) const { return dict_.shape(rename_(name)); }

void StartSource::finish(const std::vector<std::vector<std::string>>& parts) const {
  const auto part_of = [&](const std::string& name) {  // parts.size(): of no optional part
    const auto holds = [&](const auto& prefixes) { return std::any_of(prefixes.begin(), prefixes.end(), [&](const auto& p) { return name.starts_with(p); }); };
    return static_cast<std::size_t>(std::find_if(parts.begin(), parts.end(), holds) - parts.begin());
  };
  const auto is_map = [](const std::string& name) { return name.starts_with("ridge."); };
  std::vector<bool> stored(parts.size() + 1), built(parts.size() + 1);
  stored.back() = built.back() = true;
  for (const auto& name : dict_.names()) stored[part_of(name)] = true;
  for (const auto& named : made_) built[part_of(named.name)] = true;
  for (const auto& named : made_)
    if (!named.buffer && !is_map(named.name) && stored[part_of(named.name)] && !loaded_.contains(named.name))
      throw data_error("{}: tensor {} is missing (shape [{}] expected)", dict_.path(), named.name, fmt::join(named.tensor.sizes(), ", "));
  for (const auto& name : dict_.names())
    if (!is_map(name) && built[part_of(name)] && !loaded_.contains(name))
      throw data_error("{}: tensor {} (shape [{}]) is not part of this network", dict_.path(), name, fmt::join(dict_.shape(name), ", "));
}

at::Tensor TensorSource::param(const std::string& name, const nn::Shape&, const nn::Init&, bool buffer) {
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) throw data_error("training: tensor {} is missing", name);
  made_.push_back({name, it->second, buffer});
  return it->second;
}

LowRank::LowRank(const std::vector<nn::Named>& made, std::int64_t rank, double alpha, std::uint64_t seed)
    : scale_((alpha > 0 ? alpha : static_cast<double>(rank)) / static_cast<double>(rank)) {
  nn::Initialiser fresh(seed);
  for (const auto& named : made) {
    const auto& name = named.name;
    if (named.buffer || !name.ends_with(".weight") || named.tensor.dim() != 2 || name.find("relative_attention_bias") != std::string::npos) continue;
    if (!name.starts_with("backbone.") && !name.starts_with("diffusion_prior.")) continue;
    const auto out = named.tensor.size(0), in = named.tensor.size(1);
    if (std::min(out, in) <= rank) continue;
    // PyTorch's kaiming_uniform(a = sqrt 5) of the LoRA authors is the default for a Linear of this width.
    at::Tensor a = fresh.param(name + ".lora_a", {rank, in}, nn::Init::fan_in(in), false).detach().to(named.tensor.device());
    at::Tensor b = at::zeros({out, rank}, named.tensor.options().requires_grad(false));
    updates_[name] = {a.set_requires_grad(true), b.set_requires_grad(true)};
  }
}

std::vector<Parameter> LowRank::parameters(double decay) const {
  std::vector<Parameter> out;
  for (const auto& [name, update] : updates_) {
    out.push_back({name + ".lora_a", update.a, decay});
    out.push_back({name + ".lora_b", update.b, decay});
  }
  return out;
}

at::Tensor LowRank::merged(const std::string& name, const at::Tensor& frozen) const {
  const Update& update = updates_.at(name);
  return frozen + update.b.mm(update.a) * scale_;
}

Average::Average(const std::vector<Parameter>& parameters, double decay) : decay_(decay) {
  const c10::NoGradGuard no_grad;
  if (on())
    for (const auto& parameter : parameters) tensors_[parameter.name] = parameter.tensor.detach().clone();
}

void Average::update(const std::vector<Parameter>& parameters, std::int64_t step) {
  if (!on()) return;
  const c10::NoGradGuard no_grad;
  const double decay = std::min(decay_, (1.0 + static_cast<double>(step)) / (10.0 + static_cast<double>(step)));
  for (const auto& parameter : parameters) tensors_.at(parameter.name).lerp_(parameter.tensor.detach(), 1 - decay);
}

void Average::load(const weights::StateDict& state, const std::string& prefix) {
  for (auto& [name, tensor] : tensors_) tensor = state.get(prefix + name).to(tensor.options(), false, /*copy=*/true);
}

}  // namespace me2::train
