#include "train/encoder_train.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <cmath>

#include "base/error.h"
#include "base/json.h"
#include "train/losses.h"

namespace me2::train {
namespace {

constexpr double kLargestScale = 4.6052;  // log 100, as CLIP clips its logit scale

std::vector<Parameter> parameters(const std::vector<nn::Named>& made, double decay) {
  std::vector<Parameter> out;
  for (const auto& named : made)  // matrices decay; biases, norms, embeddings of position and the scale do not
    if (!named.buffer) out.push_back({named.name, named.tensor, named.tensor.dim() >= 2 && !named.name.ends_with("positional_embedding") ? decay : 0});
  return out;
}

}  // namespace

EncoderTrainer::EncoderTrainer(const Json& config, const EncoderTrainOptions& options, std::int64_t patch_labels, std::int64_t words)
    : options_(options), squeeze_(config.value("clip_squeeze", true)), source_(options.seed) {
  const nn::Scope root(source_);
  vision_ = std::make_unique<models::OpenClipVision>(root.sub("visual"), models::OpenClipVisionConfig::from_json(config));
  text_ = std::make_unique<models::OpenClipText>(root, models::OpenClipTextConfig::from_json(config));
  logit_scale_ = root.param("logit_scale", {}, nn::Init::zeros());
  {
    c10::NoGradGuard guard;
    logit_scale_.fill_(std::log(1 / 0.07));
  }
  const auto& v = vision_->config;
  pixel_head_ = std::make_unique<nn::Linear>(root.sub("heads").sub("pixels"), v.width, 3 * v.patch_size * v.patch_size);
  if (patch_labels) patch_head_ = std::make_unique<nn::Linear>(root.sub("heads").sub("patches"), v.width, patch_labels);
  if (words) word_head_ = std::make_unique<nn::Linear>(root.sub("heads").sub("words"), v.embed_dim, words);
  optimizer_ = AdamW(parameters(source_.made(), options.weight_decay), 0.98);
}

double EncoderTrainer::rate() const {  // linear warm-up, then a cosine to a hundredth
  if (step_ < options_.warmup) return options_.lr * static_cast<double>(step_ + 1) / static_cast<double>(options_.warmup);
  const double share = static_cast<double>(step_ - options_.warmup) / static_cast<double>(std::max<std::int64_t>(1, options_.steps - options_.warmup));
  return options_.lr * (0.01 + 0.99 * 0.5 * (1 + std::cos(M_PI * std::min(1.0, share))));
}

EncoderLosses EncoderTrainer::step(const EncoderBatch& batch) {
  const auto& v = vision_->config;
  const auto seen = vision_->operator()(models::clip_pixels(batch.images, v.image_size, squeeze_));
  const auto image = normalised_rows(seen.pooled), text = normalised_rows((*text_)(batch.ids).pooled);
  const auto logits = at::matmul(image, text.t()) * logit_scale_.exp();
  const auto labels = at::arange(logits.size(0), at::TensorOptions().dtype(at::kLong).device(logits.device()));
  EncoderLosses losses;
  const auto contrastive = (at::cross_entropy_loss(logits, labels) + at::cross_entropy_loss(logits.t(), labels)) / 2;
  auto total = options_.contrastive * contrastive;
  losses.contrastive = contrastive.item<double>();
  losses.batch_top1 = logits.argmax(1).eq(labels).to(at::kDouble).mean().item<double>();
  if (options_.pixels > 0) {
    const auto B = batch.images.size(0), P = v.patch_size, G = v.image_size / P;
    // [B, 3, G, P, G, P] -> [B, G*G, 3*P*P], patches in the order of the tokens
    const auto patches = batch.images.view({B, 3, G, P, G, P}).permute({0, 2, 4, 1, 3, 5}).reshape({B, G * G, 3 * P * P});
    const auto loss = at::mse_loss((*pixel_head_)(seen.tokens), patches * 2 - 1);
    losses.pixels = loss.item<double>();
    total = total + options_.pixels * loss;
  }
  if (patch_head_ && batch.patches.defined()) {
    const auto loss = at::cross_entropy_loss((*patch_head_)(seen.tokens).flatten(0, 1), batch.patches.flatten());
    losses.patches = loss.item<double>();
    total = total + options_.patches * loss;
  }
  if (word_head_ && batch.words.defined()) {
    const auto loss = at::binary_cross_entropy_with_logits((*word_head_)(seen.pooled), batch.words, {}, {}, at::Reduction::Mean) * 10;
    losses.words = loss.item<double>();
    total = total + options_.words * loss;
  }
  losses.total = total.item<double>();
  if (!std::isfinite(losses.total)) throw data_error("encoder training: the loss is not finite at step {}", step_ + 1);
  optimizer_.zero_grad();
  total.backward();
  const double norm = optimizer_.gradient_norm();
  if (norm > 1) optimizer_.scale_gradients(1 / norm);
  optimizer_.step(rate(), 0.9);
  {
    c10::NoGradGuard guard;
    logit_scale_.clamp_(0, kLargestScale);
  }
  ++step_;
  return losses;
}

std::map<std::string, at::Tensor> EncoderTrainer::model() const {
  std::map<std::string, at::Tensor> out;
  for (const auto& named : source_.made())
    if (!named.name.starts_with("heads.")) out[named.name] = named.tensor.detach();
  return out;
}

std::map<std::string, at::Tensor> EncoderTrainer::state() const {
  std::map<std::string, at::Tensor> out;
  for (const auto& named : source_.made()) out["model." + named.name] = named.tensor.detach();
  for (const auto& [name, tensor] : optimizer_.state()) out["optimizer." + name] = tensor;
  out["step"] = at::scalar_tensor(step_, at::kLong);
  return out;
}

void EncoderTrainer::load_state(const weights::StateDict& state) {
  c10::NoGradGuard guard;
  for (const auto& named : source_.made()) {
    at::Tensor tensor = named.tensor;
    tensor.copy_(state.get("model." + named.name));
  }
  optimizer_.load_state(state.sub("optimizer."));
  step_ = state.get("step").item<std::int64_t>();
}

}  // namespace me2::train
