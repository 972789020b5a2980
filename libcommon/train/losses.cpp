#include "train/losses.h"

#include <cmath>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace me2::train {
namespace {

at::Tensor cross_entropy(const at::Tensor& logits, const at::Tensor& shares) {  // mean over rows of -(log_softmax . shares)
  return -(logits.log_softmax(-1) * shares).sum(-1).mean();
}

at::Tensor mixing_weights(const Mix& mix, bool corrected) {  // Q [B, B]
  const auto n = mix.perm.size(0);
  at::Tensor q = at::diag(mix.betas);
  const at::Tensor rest = 1 - mix.betas;
  const at::Tensor rows = at::arange(n, mix.perm.options());
  return q.index_put_({rows, mix.perm}, rest, /*accumulate=*/corrected);
}

// Gamma(shape) for shape < 1 by Marsaglia and Tsang (2000) with the boost U^(1/shape), from a torch generator.
double gamma_draw(double shape, at::Generator& generator) {
  const auto uniform = [&] { return at::rand({}, generator, at::kDouble).item<double>(); };
  const auto normal = [&] { return at::randn({}, generator, at::kDouble).item<double>(); };
  const double boost = shape < 1 ? std::pow(1 - uniform(), 1 / shape) : 1;
  const double d = (shape < 1 ? shape + 1 : shape) - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = normal(), v = std::pow(1 + c * x, 3);
    if (v <= 0) continue;
    if (std::log(1 - uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return boost * d * v;
  }
}

}  // namespace

at::Tensor normalised_rows(const at::Tensor& x) {
  const at::Tensor rows = x.flatten(1);
  return rows / rows.norm(2, {-1}, true).clamp_min(1e-12);
}

Mix draw_mix(std::int64_t batch, at::Generator generator, double beta, double threshold) {
  Mix mix;
  mix.perm = at::randperm(batch, generator, at::kLong);
  mix.betas = at::empty({batch}, at::kFloat);
  auto* betas = mix.betas.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < batch; ++i) {
    const double a = gamma_draw(beta, generator), b = gamma_draw(beta, generator);
    betas[i] = static_cast<float>(a + b > 0 ? a / (a + b) : 0.5);  // both underflow once in 10^40 draws
  }
  mix.select = at::rand({batch}, generator, at::kFloat).le(threshold);
  return mix;
}

at::Tensor mixco(const at::Tensor& voxels, Mix& mix) {
  mix.select = mix.select.to(at::kBool);
  mix.betas = at::where(mix.select, mix.betas, at::ones_like(mix.betas));
  std::vector<std::int64_t> shape(voxels.dim(), 1);
  shape[0] = -1;
  const at::Tensor b = mix.betas.to(voxels.options()).reshape(shape);
  const at::Tensor mixed = voxels * b + voxels.index_select(0, mix.perm) * (1 - b);
  return at::where(mix.select.reshape(shape), mixed, voxels);
}

Mix join(const std::vector<Mix>& parts, bool corrected) {
  std::vector<at::Tensor> perm, betas, select;
  std::int64_t offset = 0;
  for (const auto& part : parts) {
    perm.push_back(corrected ? part.perm + offset : part.perm);
    betas.push_back(part.betas);
    select.push_back(part.select);
    offset += part.perm.size(0);
  }
  return {at::cat(perm), at::cat(betas), at::cat(select)};
}

at::Tensor mixco_nce(const at::Tensor& predictions, const at::Tensor& targets, double temperature, const std::optional<Mix>& mix,
                     bool bidirectional, bool corrected) {
  const at::Tensor logits = predictions.mm(targets.t()) / temperature;
  if (mix) {
    const at::Tensor q = mixing_weights(*mix, corrected).to(logits.device(), logits.scalar_type());
    const at::Tensor loss = cross_entropy(logits, q);
    return bidirectional ? (loss + cross_entropy(logits.t(), q.t())) / 2 : loss;
  }
  const at::Tensor labels = at::arange(logits.size(0), logits.options().dtype(at::kLong));
  const at::Tensor loss = at::cross_entropy_loss(logits, labels);
  return bidirectional ? (loss + at::cross_entropy_loss(logits.t(), labels)) / 2 : loss;
}

at::Tensor soft_clip(const at::Tensor& predictions, const at::Tensor& targets, double temperature) {
  const at::Tensor labels = (targets.mm(targets.t()) / temperature).softmax(-1);
  const at::Tensor logits = predictions.mm(targets.t()) / temperature;
  return (cross_entropy(logits, labels) + cross_entropy(logits.t(), labels)) / 2;
}

at::Tensor soft_cont(const at::Tensor& student, const at::Tensor& teacher, const at::Tensor& teacher_aug, double temperature) {
  const at::Tensor labels = teacher.mm(teacher_aug.t()) / temperature;
  const at::Tensor logits = student.mm(teacher_aug.t()) / temperature;
  return (cross_entropy(logits, labels.softmax(-1)) + cross_entropy(logits.t(), labels.t().softmax(-1))) / 2;
}

at::Tensor soft_siglip(const at::Tensor& predictions, const at::Tensor& targets, const at::Tensor& log_temperature, const at::Tensor& bias) {
  const auto n = predictions.size(0);
  const at::Tensor logits = predictions.mm(targets.t()) * log_temperature.exp() + bias;
  const at::Tensor labels = targets.mm(targets.t()) - 1 + at::eye(targets.size(0), targets.options());
  const at::Tensor rows = -at::log_sigmoid(logits * labels.narrow(0, 0, n)).sum() / n;
  const at::Tensor columns = -at::log_sigmoid(logits.t() * labels.narrow(1, 0, n)).sum() / n;
  return (rows + columns) / 2;
}

at::Tensor mixco_hard_siglip(const at::Tensor& predictions, const at::Tensor& targets, const at::Tensor& log_temperature,
                             const at::Tensor& bias, const Mix& mix) {
  const auto n = predictions.size(0);
  const at::Tensor labels = mixing_weights(mix, false) * 2 - 1;
  const at::Tensor logits = predictions.mm(targets.t()) * log_temperature.exp() + bias;
  const at::Tensor rows = -at::log_sigmoid(logits * labels).sum() / n;
  const at::Tensor columns = -at::log_sigmoid(logits.t() * labels).sum() / n;
  return (rows + columns) / 2;
}

at::Tensor mixco_clip_target(const at::Tensor& targets, const Mix& mix) {
  Mix copy = mix;
  return mixco(targets, copy);
}

std::vector<double> cosine_anneal(double start, double end, std::int64_t n) {
  std::vector<double> out(std::max<std::int64_t>(n, 0));
  for (std::int64_t i = 0; i < n; ++i)
    out[i] = n == 1 ? start : end + (start - end) / 2 * (1 + std::cos(M_PI * static_cast<double>(i) / static_cast<double>(n - 1)));
  return out;
}

at::Tensor batchwise_cosine_similarity(const at::Tensor& z, const at::Tensor& b) {
  const at::Tensor zf = z.flatten(1), bf = b.flatten(1);
  return bf.mm(zf.t()) / bf.norm(2, {1}, true).mm(zf.norm(2, {1}, true).t());
}

at::Tensor batchwise_pearson_correlation(const at::Tensor& z, const at::Tensor& b) {
  const at::Tensor zc = z - z.mean({1}, true), bc = b - b.mean({1}, true);
  return zc.mm(bc.t()) / zc.norm(2, {1}, true).mm(bc.norm(2, {1}, true).t());
}

at::Tensor centred_cosine_similarity(const at::Tensor& z, const at::Tensor& b, double share) {
  const at::Tensor zn = normalised_rows(z), bn = normalised_rows(b);
  return (bn - share * bn.mean({0})).mm((zn - share * zn.mean({0})).t());
}

double topk(const at::Tensor& similarities, const at::Tensor& labels, std::int64_t k) {
  const at::Tensor order = similarities.argsort(/*stable=*/true, 1);
  k = std::min(k, similarities.size(0));
  const at::Tensor best = order.narrow(1, order.size(1) - k, k);
  return best.eq(labels.unsqueeze(1)).any(1).to(at::kDouble).mean().item<double>();
}

Retrieval retrieval(const at::Tensor& voxels, const at::Tensor& targets) {
  const c10::NoGradGuard no_grad;
  const at::Tensor labels = at::arange(voxels.size(0), voxels.options().dtype(at::kLong));
  const at::Tensor images_ask = batchwise_cosine_similarity(voxels, targets);
  return {topk(images_ask, labels, 1), topk(images_ask.t(), labels, 1)};
}

}  // namespace me2::train
