// One training step of MindEye2: from a batch of tensors to the loss and its parts (paper, section 2; reference: the loop of the
// training notebook). Loss = prior_scale * prior + clip_scale * contrastive + blur_scale * (L1(latent) + cont_scale * soft_cont(aux)).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Generator.h>

#include "models/mindeye.h"
#include "nn/dropout.h"
#include "train/losses.h"
#include "train/peers.h"

namespace me2::train {

struct StepSettings {
  double prior_scale = 30, clip_scale = 1, blur_scale = .5, cont_scale = .1;
  double mixco_temperature = .006, cont_temperature = .2;
  double condition_drop = .2;   // of the prior's brain and image tokens
  bool corrected_mixco = false;  // see losses.h
};

// Rows of all subjects one after another, in the order of `subjects`. With several processes: voxels of the joined batch (they are
// mixed with each other before they are shared out), everything else of this process's rows.
struct Batch {
  std::vector<std::size_t> subjects;  // position in the model's ridge
  std::vector<at::Tensor> voxels;     // each [b_s, V_s], unmixed
  at::Tensor clip_target;             // [B, T, D]
  at::Tensor vae_latent;              // [B, C, H, W], scaled as the SD VAE's (mode * 0.18215); undefined without low-level head
  at::Tensor cnx, cnx_aug;            // [B, P, W] ConvNeXt features of the clean and the augmented image; undefined: no such term
};

// Which contrastive loss an epoch has: BiMixCo in the first int(mixup_pct * epochs), then SoftCLIP at a temperature that goes from .004 to .0075 by a cosine.
struct Contrast {
  bool mixing = false;
  double temperature = .004;  // of SoftCLIP
};
Contrast contrast_of(std::int64_t epoch, std::int64_t epochs, double mixup_pct);

// For what is drawn as `what` at `where`: on the CPU, a function of these and the seed alone.
at::Generator draw_generator(std::uint64_t seed, const std::string& what, std::int64_t where);
// What MixCo draws for a subject's `rows` of the batch of step `where`, counted over all epochs.
Mix draw_mix_at(std::uint64_t seed, const std::string& subject, std::int64_t where, std::int64_t rows);

struct Draws {
  std::vector<Mix> mix;         // one per subject, of the joined batch: BiMixCo; empty: SoftCLIP with `temperature`
  double temperature = .004;
  models::PriorDraws prior;     // of this process's rows; used when the model has a prior
  const nn::Training* dropout = nullptr;  // null: no dropout
};

struct StepLoss {
  at::Tensor total;  // to call backward() on. With peers: this process's share; the sum of all gradients is the joined batch's
  // Unscaled parts, of the joined batch. NaN when the part is off.
  double loss = 0, prior = 0, clip = 0, blurry = 0, cont = 0;
  double recon_cossim = 0, recon_mse = 0;  // of the prior's prediction; cosine along the token axis, as the reference has it
  Retrieval retrieval;                     // inside the (mixed) batch
};

// The contrastive term is left out when clip_scale is 0 or the model has no projector; the prior and low-level terms when the model
// has no such part, its scale is 0, or (low-level) the batch has no vae_latent.
StepLoss mindeye_step(const models::MindEye& model, const Batch& batch, const Draws& draws, const StepSettings& settings,
                      Peers* peers = nullptr);

}  // namespace me2::train
