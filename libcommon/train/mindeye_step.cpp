#include "train/mindeye_step.h"

#include <limits>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/GradMode.h>

#include "base/error.h"
#include "base/random.h"

namespace me2::train {
namespace {

// The batch as all processes see it. Only this process's rows carry a graph: the gradient that each computes for its own rows is then
// that of the joined batch, and the sum over processes is the whole.
struct Together {
  Peers* peers;
  Share share;
  at::Tensor operator()(const at::Tensor& local) const {
    if (share.whole()) return local;
    auto parts = peers->all_gather(local.detach().contiguous(), share.counts());
    parts[static_cast<std::size_t>(peers->rank())] = local;
    return share.join(parts);
  }
  at::Tensor rows(const at::Tensor& local) const {  // [B, P, W] -> [all rows, W], normalised
    const at::Tensor rows = (*this)(local).reshape({-1, local.size(-1)}).to(at::kFloat);
    return rows / rows.norm(2, {-1}, true).clamp_min(1e-12);
  }
};

}  // namespace

Contrast contrast_of(std::int64_t epoch, std::int64_t epochs, double mixup_pct) {
  const auto mixed = static_cast<std::int64_t>(mixup_pct * static_cast<double>(epochs));
  if (epoch < mixed) return {true};
  return {false, cosine_anneal(0.004, 0.0075, epochs - mixed).at(static_cast<std::size_t>(epoch - mixed))};
}

at::Generator draw_generator(std::uint64_t seed, const std::string& what, std::int64_t where) {
  Random random(seed, fmt::format("{}/{}", what, where));
  const std::uint64_t high = random();
  return at::make_generator<at::CPUGeneratorImpl>((high << 32) | random());
}

Mix draw_mix_at(std::uint64_t seed, const std::string& subject, std::int64_t where, std::int64_t rows) {
  return draw_mix(rows, draw_generator(seed, "mix/" + subject, where));
}

StepLoss mindeye_step(const models::MindEye& model, const Batch& batch, const Draws& draws, const StepSettings& s, Peers* peers) {
  constexpr double none = std::numeric_limits<double>::quiet_NaN();
  std::vector<std::int64_t> subject_rows;
  for (const auto& voxels : batch.voxels) subject_rows.push_back(voxels.size(0));
  const Together joined{peers, peers && peers->size() > 1 ? Share(subject_rows, peers->rank(), peers->size()) : Share()};
  const Share& part = joined.share;
  // Of the terms that are means over this process's rows.
  const double share = part.whole() ? 1 : static_cast<double>(batch.clip_target.size(0)) / static_cast<double>(part.joined());
  const bool mixing = !draws.mix.empty();
  std::vector<Mix> mixes = draws.mix;
  std::vector<at::Tensor> latents;
  for (std::size_t i = 0; i < batch.voxels.size(); ++i) {
    at::Tensor voxels = mixing ? mixco(batch.voxels[i], mixes[i]) : batch.voxels[i];
    std::optional<nn::Training> training;
    if (draws.dropout) training = *draws.dropout;
    if (!part.whole()) {
      voxels = voxels.narrow(0, part.first(i), part.count(i));
      if (training) training->whole = subject_rows[i], training->rows = at::arange(part.first(i), part.first(i) + part.count(i), at::kLong).to(voxels.device());
    }
    latents.push_back((*model.ridge)(voxels, batch.subjects[i], training ? &*training : nullptr));
  }
  std::optional<nn::Training> training;
  if (draws.dropout) training = *draws.dropout;
  if (training && !part.whole()) training->whole = part.joined(), training->rows = part.rows().to(batch.clip_target.device());
  const auto out = (*model.backbone)(at::cat(latents).unsqueeze(1), training ? &*training : nullptr);

  StepLoss result;
  result.prior = result.clip = result.blurry = result.cont = result.recon_cossim = result.recon_mse = none;
  result.retrieval = {none, none};
  const auto add = [&](const at::Tensor& term) { result.total = result.total.defined() ? result.total + term : term; };

  if (model.diffusion_prior && s.prior_scale > 0) {
    const auto prior = model.diffusion_prior->loss(batch.clip_target, out.tokens, draws.prior, s.condition_drop, s.condition_drop);
    result.prior = prior.loss.item<double>();
    add(prior.loss * (s.prior_scale * share));
    const c10::NoGradGuard no_grad;
    result.recon_cossim = at::cosine_similarity(prior.prediction.to(at::kFloat), batch.clip_target, 1).mean().item<double>();
    result.recon_mse = at::mse_loss(prior.prediction.to(at::kFloat), batch.clip_target).item<double>();
  }
  if (out.clip.defined() && s.clip_scale > 0) {
    const at::Tensor voxels = joined(normalised_rows(out.clip.to(at::kFloat))), targets = joined(normalised_rows(batch.clip_target.to(at::kFloat)));
    at::Tensor loss;
    if (mixing) {
      Mix mix = join(mixes, s.corrected_mixco);
      mix.perm = mix.perm.to(voxels.device());
      mix.betas = mix.betas.to(voxels.device());
      loss = mixco_nce(voxels, targets, s.mixco_temperature, mix, true, s.corrected_mixco);
    } else {
      loss = soft_clip(voxels, targets, draws.temperature);
    }
    result.clip = loss.item<double>();
    add(loss * s.clip_scale);
    result.retrieval = retrieval(voxels.detach(), targets);
  }
  // Fidelity: neither the prior's targets nor the latents are mixed. (The reference mixes the latents after their loss was taken.)
  if (out.latent.defined() && batch.vae_latent.defined() && s.blur_scale > 0) {
    const at::Tensor blurry = at::l1_loss(out.latent.to(at::kFloat), batch.vae_latent);
    result.blurry = blurry.item<double>();
    add(blurry * (s.blur_scale * share));
    if (batch.cnx.defined()) {
      const at::Tensor cont = soft_cont(joined.rows(out.aux), joined.rows(batch.cnx),
                                        joined.rows(batch.cnx_aug.defined() ? batch.cnx_aug : batch.cnx), s.cont_temperature);
      result.cont = cont.item<double>();
      add(cont * (s.blur_scale * s.cont_scale));
    }
  }
  if (!result.total.defined()) throw usage_error("nothing to train: contrastive, prior and low-level losses are all off");
  if (part.whole()) {
    result.loss = result.total.item<double>();
    return result;
  }
  const at::Tensor means = at::tensor({result.prior, result.recon_cossim, result.recon_mse, result.blurry}, at::kDouble) * share;
  peers->all_reduce(means);
  result.prior = means[0].item<double>(), result.recon_cossim = means[1].item<double>(), result.recon_mse = means[2].item<double>();
  result.blurry = means[3].item<double>();
  const auto scaled = [](double scale, double value, const bool present) { return present ? scale * value : 0; };
  result.loss = scaled(s.prior_scale, result.prior, model.diffusion_prior && s.prior_scale > 0) + scaled(s.clip_scale, result.clip, out.clip.defined() && s.clip_scale > 0);
  if (out.latent.defined() && batch.vae_latent.defined() && s.blur_scale > 0)
    result.loss += s.blur_scale * (result.blurry + scaled(s.cont_scale, result.cont, batch.cnx.defined()));
  return result;
}

}  // namespace me2::train
