#include "train/caption_fit.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "base/error.h"
#include "base/random.h"
#include "base/signals.h"
#include "store/gather.h"
#include "train/adamw.h"
#include "train/one_cycle.h"
#include "weights/state_dict.h"

namespace me2::train {
namespace {

namespace fs = std::filesystem;
using Rows = std::vector<std::int64_t>;

std::string checkpoint_file(const CaptionFitOptions& options) { return (fs::path(options.checkpoint) / "checkpoint.safetensors").string(); }

void save_checkpoint(const std::vector<nn::Named>& parameters, const AdamW& optimizer, const std::vector<double>& curve, const CaptionFitOptions& options) {
  auto tensors = optimizer.state();
  for (const auto& p : parameters) tensors["param." + p.name] = p.tensor.detach();
  tensors["curve"] = at::tensor(curve, at::kDouble);
  fs::create_directories(options.checkpoint);
  weights::save_safetensors(checkpoint_file(options), tensors);
}

std::vector<double> load_checkpoint(const std::vector<nn::Named>& parameters, AdamW& optimizer, const CaptionFitOptions& options) {
  const auto dict = weights::StateDict::open(checkpoint_file(options));
  const c10::NoGradGuard no_grad;
  for (const auto& p : parameters) {
    const at::Tensor saved = dict.get("param." + p.name);
    if (saved.sizes() != p.tensor.sizes())
      throw data_error("{}: {} has shape [{}], [{}] expected", dict.path(), p.name, fmt::join(saved.sizes(), ", "), fmt::join(p.tensor.sizes(), ", "));
    at::Tensor(p.tensor).copy_(saved);
  }
  optimizer.load_state(dict);
  const at::Tensor curve = dict.get("curve").contiguous();
  return {curve.const_data_ptr<double>(), curve.const_data_ptr<double>() + curve.numel()};
}

std::vector<double> fit(const std::vector<nn::Named>& parameters, std::int64_t samples, const CaptionFitOptions& options,
                        const std::function<at::Tensor(const Rows& rows, std::int64_t epoch)>& loss_of) {
  if (samples == 0) throw data_error("nothing to fit: no stimulus is in both stores");
  if (options.epochs < 1 || options.batch < 1) throw usage_error("{} epochs in batches of {}", options.epochs, options.batch);
  AdamW optimizer(with_official_decay(parameters, options.weight_decay));
  std::vector<double> curve;
  if (options.resume && !options.checkpoint.empty() && fs::exists(checkpoint_file(options))) curve = load_checkpoint(parameters, optimizer, options);
  const std::int64_t batches = (samples + options.batch - 1) / options.batch;
  const OneCycle schedule{options.learning_rate, std::max<std::int64_t>(2, batches * options.epochs)};
  for (auto epoch = static_cast<std::int64_t>(curve.size()); epoch < options.epochs; ++epoch) {
    Rows order(samples);
    std::iota(order.begin(), order.end(), 0);
    Random(options.seed, fmt::format("caption order {}", epoch)).shuffle(std::span(order));
    double sum = 0;
    for (std::int64_t b = 0; b < batches; ++b) {
      const Rows rows(order.begin() + b * options.batch, order.begin() + std::min(samples, (b + 1) * options.batch));
      optimizer.zero_grad();
      const at::Tensor loss = loss_of(rows, epoch);
      const double value = loss.item<double>();
      if (!std::isfinite(value)) throw data_error("the loss is not finite in epoch {}: a smaller --learning-rate is needed", epoch + 1);
      loss.backward();
      const Rate rate = schedule.at(epoch * batches + b);
      optimizer.step(rate.lr, rate.beta1);
      sum += value * static_cast<double>(rows.size());
    }
    curve.push_back(sum / static_cast<double>(samples));
    if (!options.checkpoint.empty()) save_checkpoint(parameters, optimizer, curve, options);
    if (options.after_epoch) options.after_epoch(epoch, curve.back());
    if (epoch + 1 < options.epochs) check_stop();
  }
  return curve;
}

}  // namespace

TokenRows::TokenRows(store::Array array, std::int64_t limit) : array_(std::move(array)) {
  if (array_.shape().size() != 3) throw data_error("{}: [sample, T, D] expected, [{}] found", array_.path(), fmt::join(array_.shape(), ", "));
  if (array_.size() * 4 > limit) return;
  all_ = at::empty(array_.shape(), at::kFloat);
  if (array_.size() > 0) array_.read_rows<float>(0, array_.shape()[0], all_.mutable_data_ptr<float>());
}

at::Tensor TokenRows::get(const Rows& rows) const {
  at::Tensor out;
  if (all_.defined()) {
    out = all_.index_select(0, at::tensor(rows, at::kLong));
  } else {
    out = at::empty({static_cast<std::int64_t>(rows.size()), tokens(), width()}, at::kFloat);
    store::gather_rows(array_, rows, out.mutable_data_ptr<float>());
  }
  if (!at::isfinite(out).all().item<bool>())
    for (std::size_t i = 0; i < rows.size(); ++i)
      if (!at::isfinite(out[static_cast<std::int64_t>(i)]).all().item<bool>()) throw data_error("{}: sample {} has values that are not finite", array_.path(), rows[i]);
  return out;
}

std::vector<double> fit_converter(const std::vector<nn::Named>& parameters, const models::ClipConverter& net, const TokenRows& source,
                                  const TokenRows& target, const std::vector<Pair>& pairs, const CaptionFitOptions& options) {
  const at::Device device = net.linear1.weight.device();
  return fit(parameters, static_cast<std::int64_t>(pairs.size()), options, [&](const Rows& rows, std::int64_t) {
    Rows from, to;
    for (const auto r : rows) from.push_back(pairs[r].source), to.push_back(pairs[r].target);
    return at::mse_loss(net(source.get(from).to(device)), target.get(to).to(device));
  });
}

std::vector<double> fit_git(const std::vector<nn::Named>& parameters, const models::GitCaptioner& net, const models::ClipConverter* converter,
                            const TokenRows& source, const std::vector<std::vector<std::string>>& captions, const text::WordPiece& vocabulary,
                            const std::vector<Pair>& pairs, std::int64_t max_length, const CaptionFitOptions& options) {
  const at::Device device = net.word.weight.device();
  return fit(parameters, static_cast<std::int64_t>(pairs.size()), options, [&](const Rows& rows, std::int64_t epoch) {
    Rows from;
    std::vector<std::vector<std::int64_t>> texts;
    std::size_t longest = 2;
    for (const auto r : rows) {
      from.push_back(pairs[r].source);
      const auto& choices = captions.at(pairs[r].target);
      const auto pick = Random(options.seed, fmt::format("caption choice {} {}", epoch, r)).below(choices.size());
      texts.push_back(vocabulary.encode(choices[pick], true, static_cast<std::size_t>(max_length)));
      longest = std::max(longest, texts.back().size());
    }
    const auto length = static_cast<std::int64_t>(longest);
    at::Tensor ids = at::full({static_cast<std::int64_t>(rows.size()), length}, net.config.pad, at::kLong), next = at::full_like(ids, -100);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const auto row = static_cast<std::int64_t>(i) * length;
      std::copy(texts[i].begin(), texts[i].end(), ids.mutable_data_ptr<std::int64_t>() + row);
      std::copy(texts[i].begin() + 1, texts[i].end(), next.mutable_data_ptr<std::int64_t>() + row);  // position t is asked for token t + 1
    }
    at::Tensor features = source.get(from).to(device);
    if (converter) {
      const c10::NoGradGuard frozen;
      features = (*converter)(features);
    }
    const at::Tensor logits = net.logits(features, ids.to(device)).narrow(1, features.size(1), length);
    return at::cross_entropy_loss(logits.reshape({-1, logits.size(2)}), next.to(device).flatten(), {}, 1 /* mean */, -100);
  });
}

}  // namespace me2::train
