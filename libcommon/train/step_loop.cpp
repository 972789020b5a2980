#include "train/step_loop.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <span>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/random.h"
#include "base/signals.h"
#include "weights/state_dict.h"

namespace me2::train {
namespace {

std::vector<Parameter> trained(const std::vector<nn::Named>& made, double decay) {
  std::vector<Parameter> out;
  for (const auto& named : made)
    if (!named.buffer && named.tensor.requires_grad()) out.push_back({named.name, named.tensor, named.tensor.dim() > 1 ? decay : 0.0});
  return out;
}

}  // namespace

StepLoop::StepLoop(const std::vector<nn::Named>& made, StepLoopSettings settings)
    : settings_(std::move(settings)), made_(made), adamw_(trained(made, settings_.weight_decay), settings_.beta2) {
  if (settings_.average > 0)
    for (const auto& p : adamw_.parameters()) average_[p.name] = p.tensor.detach().clone();
  std::filesystem::create_directories(settings_.folder);
  if (settings_.resume) load();
}

double StepLoop::rate(std::int64_t step) const {
  if (step < settings_.warmup) return settings_.lr * static_cast<double>(step + 1) / static_cast<double>(settings_.warmup);
  if (!settings_.cosine) return settings_.lr;
  const double share = static_cast<double>(step - settings_.warmup) / static_cast<double>(std::max<std::int64_t>(1, settings_.steps - settings_.warmup));
  return settings_.lr * 0.5 * (1 + std::cos(M_PI * share));
}

const std::vector<double>& StepLoop::run(const std::string& label, const std::function<at::Tensor(std::int64_t)>& loss) {
  const at::AutoGradMode with_gradients(true);
  Progress progress(label, settings_.steps);
  progress.set_done(first_);
  double shown = curve_.empty() ? 0 : curve_.back();
  for (std::int64_t step = first_; step < settings_.steps; ++step) {
    if (stop_requested()) {
      save(step);
      throw Error(Exit::temp_fail, fmt::format("stopped by {} after step {} of {}; run again with --resume", stop_signal_name(), step, settings_.steps));
    }
    adamw_.zero_grad();
    const at::Tensor value = loss(step);
    value.backward();
    const double number = value.item<double>();
    const double norm = adamw_.gradient_norm();
    if (!std::isfinite(number) || !std::isfinite(norm))
      throw data_error("step {}: the loss is {} and its gradient's norm {}: a lower --lr may help", step, number, norm);
    if (settings_.clip > 0 && norm > settings_.clip) adamw_.scale_gradients(settings_.clip / norm);
    adamw_.step(rate(step), settings_.beta1);
    if (!average_.empty()) {
      const at::NoGradGuard no_grad;
      const double decay = std::min(settings_.average, (1.0 + static_cast<double>(step)) / (10.0 + static_cast<double>(step)));
      for (const auto& p : adamw_.parameters()) average_[p.name].lerp_(p.tensor, 1 - decay);
    }
    curve_.push_back(number);
    shown = step == first_ ? number : 0.98 * shown + 0.02 * number;
    progress.set_note(fmt::format("loss {:.4g}", shown));
    progress.advance();
    if (settings_.save_every > 0 && (step + 1) % settings_.save_every == 0 && step + 1 < settings_.steps) save(step + 1);
  }
  adamw_.zero_grad();
  return curve_;
}

std::map<std::string, at::Tensor> StepLoop::weights() const {
  std::map<std::string, at::Tensor> out;
  for (const auto& named : made_) {
    const auto found = average_.find(named.name);
    out[named.name] = (found == average_.end() ? named.tensor : found->second).detach().cpu().contiguous();
  }
  return out;
}

void StepLoop::save(std::int64_t step) const {
  std::map<std::string, at::Tensor> state;
  for (const auto& p : adamw_.parameters()) state["weight." + p.name] = p.tensor.detach().cpu();
  for (const auto& [name, tensor] : average_) state["average." + name] = tensor.cpu();
  for (const auto& [name, tensor] : adamw_.state()) state["adamw." + name] = tensor.cpu();
  const auto name = fmt::format("state-{}.safetensors", step);
  const std::filesystem::path folder = settings_.folder;
  weights::save_safetensors(folder / name, state);
  // The state counts from the moment state.json names it.
  write_file_atomic(folder / "state.json", Json{{"step", step}, {"tensors", name}, {"digest", settings_.digest}, {"loss", curve_}}.dump());
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (const auto other = entry.path().filename().string(); other.starts_with("state-") && other != name) std::filesystem::remove(entry.path());
}

void StepLoop::load() {
  const std::filesystem::path folder = settings_.folder;
  if (!std::filesystem::exists(folder / "state.json")) return;
  const Json json = read_json_file(folder / "state.json");
  if (json.value("digest", "") != settings_.digest)
    throw data_error("{}: a run with other inputs or options; give the same ones, or --overwrite", settings_.folder);
  const auto state = weights::StateDict::open(folder / json["tensors"].get<std::string>());
  const at::NoGradGuard no_grad;
  for (const auto& p : adamw_.parameters()) at::Tensor(p.tensor).copy_(state.get("weight." + p.name));
  for (auto& [name, tensor] : average_) tensor.copy_(state.get("average." + name));
  adamw_.load_state(state.sub("adamw."));
  first_ = json["step"].get<std::int64_t>();
  curve_ = json["loss"].get<std::vector<double>>();
}

void StepLoop::discard_state() const { std::filesystem::remove_all(settings_.folder); }

std::vector<std::int64_t> batch_rows(std::uint64_t seed, std::int64_t rows, std::int64_t batch, std::int64_t step) {
  std::vector<std::int64_t> out, order(static_cast<std::size_t>(rows));
  std::int64_t shuffled = -1;
  for (std::int64_t i = step * batch; i < (step + 1) * batch; ++i) {
    if (const std::int64_t epoch = i / rows; epoch != shuffled) {
      std::iota(order.begin(), order.end(), 0);
      Random(seed, fmt::format("epoch {}", epoch)).shuffle(std::span(order));
      shuffled = epoch;
    }
    out.push_back(order[static_cast<std::size_t>(i % rows)]);
  }
  return out;
}

}  // namespace me2::train
