// Training of a KL autoencoder from pictures, for decoders of one's own. Loss = L1 + MSE + gradient_weight * L1 of the pictures'
// horizontal and vertical differences + kl_weight * KL per latent value, and, where a network's features are given, feature_weight *
// |f(y) - f(x)|^2 / |f(x)|^2. No adversary: small pictures do without.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/open_clip.h"
#include "models/vae.h"

namespace me2::train {

struct VaeTrainOptions {
  std::int64_t batch = 8, crop = 0;  // crop: train on random squares of so many pixels; 0: whole pictures
  std::uint64_t seed = 42;
  double gradient_weight = 0.5, kl_weight = 1e-5, feature_weight = 1;
  std::function<at::Tensor(const at::Tensor& pictures)> features;  // [n, 3, H, W] in [0, 1] -> [n, F]; empty: no such term
};

// Features of an image tower: its tokens and its pooled vector, each of unit mean square over the batch.
std::function<at::Tensor(const at::Tensor& pictures)> tower_features(std::shared_ptr<models::OpenClipVision> tower, bool squeeze);

using Pictures = std::function<at::Tensor(const std::vector<std::int64_t>& rows)>;  // -> [n, 3, H, W] f32 in [0, 1]

at::Tensor vae_loss(const models::Vae& vae, const at::Tensor& x, const at::Tensor& posterior_noise, const VaeTrainOptions& options);  // x in [-1, 1]
at::Tensor vae_train_step(const models::Vae& vae, const Pictures& pictures, std::int64_t size, const VaeTrainOptions& options, std::int64_t step, at::Device device);

// 1 / standard deviation of the latents' modes: what makes them unit for a diffusion model.
double unit_scale(const models::Vae& vae, const Pictures& pictures, std::int64_t size, at::Device device);

}  // namespace me2::train
