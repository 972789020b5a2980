#include "train/vae_train.h"

#include <cmath>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "base/error.h"
#include "base/random.h"
#include "train/step_loop.h"

namespace me2::train {

std::function<at::Tensor(const at::Tensor&)> tower_features(std::shared_ptr<models::OpenClipVision> tower, bool squeeze) {
  return [tower, squeeze](const at::Tensor& pictures) {
    const auto out = (*tower)(models::clip_pixels(pictures, tower->config.image_size, squeeze));
    const auto unit = [](const at::Tensor& x) { return x.flatten(1) / x.detach().square().mean().sqrt() / std::sqrt(static_cast<double>(x[0].numel())); };
    return at::cat({unit(out.tokens), unit(out.pooled)}, 1);
  };
}

at::Tensor vae_loss(const models::Vae& vae, const at::Tensor& x, const at::Tensor& noise, const VaeTrainOptions& o) {
  const auto posterior = vae.encode(x);
  const at::Tensor y = vae.decode(posterior.sample(noise)), d = y - x;
  const auto slope = [&](std::int64_t axis) { return d.diff(1, axis).abs().mean(); };
  at::Tensor features = at::zeros({}, x.options());
  if (o.features) {
    at::Tensor truth;
    {
      const at::NoGradGuard no_grad;
      truth = o.features(x / 2 + 0.5);
    }
    features = (o.features(y / 2 + 0.5) - truth).square().sum() / truth.square().sum();
  }
  return o.feature_weight * features + d.abs().mean() + d.square().mean() + o.gradient_weight * 0.5 * (slope(2) + slope(3)) +
         o.kl_weight * posterior.kl().mean() / static_cast<double>(posterior.mean[0].numel());
}

at::Tensor vae_train_step(const models::Vae& vae, const Pictures& pictures, std::int64_t size, const VaeTrainOptions& o, std::int64_t step, at::Device device) {
  at::Tensor x = pictures(batch_rows(o.seed, size, o.batch, step)) * 2 - 1;
  if (o.crop > 0 && (x.size(2) > o.crop || x.size(3) > o.crop)) {
    Random random(o.seed, fmt::format("crop {}", step));
    std::vector<at::Tensor> crops;
    for (std::int64_t i = 0; i < x.size(0); ++i) {
      const auto top = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(x.size(2) - o.crop + 1)));
      const auto left = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(x.size(3) - o.crop + 1)));
      crops.push_back(x[i].slice(1, top, top + o.crop).slice(2, left, left + o.crop));
    }
    x = at::stack(crops);
  }
  const auto f = vae.config().factor();
  at::Tensor noise = at::empty({x.size(0), vae.config().embed_dim, x.size(2) / f, x.size(3) / f});
  fill_normal({noise.mutable_data_ptr<float>(), static_cast<std::size_t>(noise.numel())}, {o.seed, "vae posterior", step, 0});
  return vae_loss(vae, x.to(device), noise.to(device), o);
}

double unit_scale(const models::Vae& vae, const Pictures& pictures, std::int64_t size, at::Device device) {
  const at::NoGradGuard no_grad;
  double sum = 0, squares = 0, count = 0;
  for (std::int64_t row = 0; row < std::min<std::int64_t>(size, 512); ++row) {
    const at::Tensor mode = vae.encode((pictures({row}) * 2 - 1).to(device)).mode().to(at::kDouble);
    sum += mode.sum().item<double>();
    squares += mode.square().sum().item<double>();
    count += static_cast<double>(mode.numel());
  }
  const double mean = sum / count;
  return 1 / std::sqrt(std::max(1e-12, squares / count - mean * mean));
}

}  // namespace me2::train
