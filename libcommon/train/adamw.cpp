#include "train/adamw.h"

#include <algorithm>
#include <set>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "base/error.h"

namespace me2::train {

double official_decay(const std::string& name, double decay) {
  return name.starts_with("ridge.") || name.find("bias") == std::string::npos ? decay : 0.0;
}

bool all_finite(const std::vector<Parameter>& parameters) {
  return std::all_of(parameters.begin(), parameters.end(), [](const auto& p) { return p.tensor.isfinite().all().template item<bool>(); });
}

std::vector<Parameter> with_official_decay(const std::vector<nn::Named>& made, double decay) {
  std::vector<Parameter> out;
  std::set<const void*> seen;
  for (const auto& named : made)
    if (!named.buffer && named.tensor.requires_grad() && seen.insert(named.tensor.unsafeGetTensorImpl()).second)
      out.push_back({named.name, named.tensor, official_decay(named.name, decay)});
  return out;
}

AdamW::AdamW(std::vector<Parameter> parameters, double beta2, double eps)
    : parameters_(std::move(parameters)), average_(parameters_.size()), square_(parameters_.size()), steps_(parameters_.size()),
      beta2_(beta2), eps_(eps) {}

void AdamW::step(double lr, double beta1) {
  const c10::NoGradGuard no_grad;
  std::map<double, std::array<std::vector<at::Tensor>, 5>> groups;  // by decay: parameters, gradients, averages, squares, steps
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const at::Tensor& p = parameters_[i].tensor;
    if (!p.grad().defined()) continue;
    if (!steps_[i].defined()) {
      average_[i] = at::zeros_like(p);
      square_[i] = at::zeros_like(p);
      steps_[i] = at::zeros({}, p.options().dtype(at::kFloat));
    }
    auto& group = groups[parameters_[i].weight_decay];
    group[0].push_back(p);
    group[1].push_back(p.grad().contiguous());
    group[2].push_back(average_[i]);
    group[3].push_back(square_[i]);
    group[4].push_back(steps_[i].add_(1));
  }
  for (auto& [decay, group] : groups)
    at::_fused_adamw_(group[0], group[1], group[2], group[3], {}, group[4], lr, beta1, beta2_, decay, eps_, /*amsgrad=*/false, /*maximize=*/false);
}

void AdamW::zero_grad() {
  for (auto& parameter : parameters_) parameter.tensor.mutable_grad().reset();
}

double AdamW::gradient_norm() const {
  const c10::NoGradGuard no_grad;
  double sum = 0;
  for (const auto& parameter : parameters_)
    if (parameter.tensor.grad().defined()) sum += parameter.tensor.grad().to(at::kFloat).pow(2).sum(at::kDouble).item<double>();
  return std::sqrt(sum);
}

void AdamW::scale_gradients(double factor) {
  const c10::NoGradGuard no_grad;
  for (auto& parameter : parameters_)
    if (parameter.tensor.grad().defined()) parameter.tensor.mutable_grad().mul_(factor);
}

void AdamW::clip_gradients(double norm, double most) {
  if (most > 0 && norm > most) scale_gradients(most / (norm + 1e-6));  // as torch.nn.utils.clip_grad_norm_
}

bool AdamW::gradients_finite() const { return std::isfinite(gradient_norm()); }

std::map<std::string, at::Tensor> AdamW::state() const {
  std::map<std::string, at::Tensor> out;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (!steps_[i].defined()) continue;
    out["exp_avg." + parameters_[i].name] = average_[i];
    out["exp_avg_sq." + parameters_[i].name] = square_[i];
    out["step." + parameters_[i].name] = steps_[i];
  }
  return out;
}

void AdamW::load_state(const weights::StateDict& state) {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const auto& [name, tensor, decay] = parameters_[i];
    if (!state.has("step." + name)) continue;
    const auto load = [&](const std::string& key) {
      const at::Tensor value = state.get(key + "." + name);
      if (key != "step" && value.sizes() != tensor.sizes())
        throw data_error("{}: {}.{} has shape [{}], [{}] expected", state.path(), key, name, fmt::join(value.sizes(), ", "),
                         fmt::join(tensor.sizes(), ", "));
      return value.to(tensor.options().dtype(key == "step" ? at::kFloat : tensor.scalar_type()), false, /*copy=*/true);
    };
    average_[i] = load("exp_avg");
    square_[i] = load("exp_avg_sq");
    steps_[i] = load("step");
  }
}

}  // namespace me2::train
