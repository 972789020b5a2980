#include "train/mindeye_step.h"

#include <limits>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "base/error.h"

namespace me2::train {
namespace {

// All ranks' rows, of which only this rank's carry a graph: the gradient that each rank computes for its own rows is then that of
// the joined batch, and the sum over ranks is the whole.
at::Tensor joined(const at::Tensor& local, Peers* peers) {
  if (!peers || peers->size() == 1) return local;
  auto parts = peers->all_gather(local.detach().contiguous());
  parts[peers->rank()] = local;
  return at::cat(parts);
}

at::Tensor joined_rows(const at::Tensor& local, Peers* peers) {  // [B, P, W] -> [all rows, W], normalised
  const at::Tensor rows = local.reshape({-1, local.size(-1)}).to(at::kFloat);
  return joined(rows / rows.norm(2, {-1}, true).clamp_min(1e-12), peers);
}

}  // namespace

StepLoss mindeye_step(const models::MindEye& model, const Batch& batch, const Draws& draws, const StepSettings& s, Peers* peers) {
  constexpr double none = std::numeric_limits<double>::quiet_NaN();
  const double share = peers ? 1.0 / peers->size() : 1.0;  // of the terms that are means over this rank's rows
  const bool mixing = !draws.mix.empty();
  std::vector<Mix> mixes = draws.mix;
  std::vector<at::Tensor> latents;
  for (std::size_t i = 0; i < batch.voxels.size(); ++i) {
    const at::Tensor voxels = mixing ? mixco(batch.voxels[i], mixes[i]) : batch.voxels[i];
    latents.push_back((*model.ridge)(voxels, batch.subjects[i], draws.dropout));
  }
  const auto out = (*model.backbone)(at::cat(latents).unsqueeze(1), draws.dropout);

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
    const at::Tensor voxels = normalised_rows(out.clip.to(at::kFloat)), targets = normalised_rows(batch.clip_target.to(at::kFloat));
    const at::Tensor all_voxels = joined(voxels, peers), all_targets = joined(targets, peers);
    at::Tensor loss;
    if (mixing) {
      Mix mix = join(mixes, s.corrected_mixco);
      if (peers && peers->size() > 1) {
        const auto rows = mix.perm.size(0);
        const auto perms = peers->all_gather(mix.perm), betas = peers->all_gather(mix.betas);
        std::vector<Mix> parts;
        for (int r = 0; r < peers->size(); ++r) parts.push_back({perms[r], betas[r], at::ones({rows}, at::kBool)});
        mix = join(parts, s.corrected_mixco);
      }
      mix.perm = mix.perm.to(all_voxels.device());
      mix.betas = mix.betas.to(all_voxels.device());
      loss = mixco_nce(all_voxels, all_targets, s.mixco_temperature, mix, true, s.corrected_mixco);
    } else {
      loss = soft_clip(all_voxels, all_targets, draws.temperature);
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
      const at::Tensor cont = soft_cont(joined_rows(out.aux, peers), joined_rows(batch.cnx, peers),
                                        joined_rows(batch.cnx_aug.defined() ? batch.cnx_aug : batch.cnx, peers), s.cont_temperature);
      result.cont = cont.item<double>();
      add(cont * (s.blur_scale * s.cont_scale));
    }
  }
  if (!result.total.defined()) throw usage_error("nothing to train: contrastive, prior and low-level losses are all off");
  result.loss = result.total.item<double>();
  return result;
}

}  // namespace me2::train
