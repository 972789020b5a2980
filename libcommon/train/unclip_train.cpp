#include "train/unclip_train.h"

#include <cmath>
#include <numeric>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "base/error.h"
#include "base/random.h"

namespace me2::train {
namespace {

at::Tensor normal(std::uint64_t seed, const char* what, std::int64_t step, at::IntArrayRef shape) {
  at::Tensor out = at::empty(shape);
  fill_normal({out.mutable_data_ptr<float>(), static_cast<std::size_t>(out.numel())}, {seed, what, step, 0});
  return out;
}

}  // namespace

at::Tensor unclip_loss(const diffusion::Denoiser& denoiser, const at::Tensor& z, const at::Tensor& index, const at::Tensor& noise,
                       const diffusion::Condition& condition) {
  const auto& table = denoiser.schedule().table();
  const at::Tensor levels = at::tensor(at::ArrayRef<float>(table)).to(z.device());
  const at::Tensor sigma = levels.index_select(0, index);
  const at::Tensor x = z + sigma.view({-1, 1, 1, 1}) * noise;
  return (denoiser.raw(x, index, condition) - denoiser.target(z, noise, sigma)).square().mean({1, 2, 3});
}

at::Tensor offset_noise(const at::Tensor& noise, const at::Tensor& offset, double level) { return noise + level * offset.unsqueeze(-1).unsqueeze(-1); }

at::Tensor UnetStart::param(const std::string& name, const nn::Shape& shape, const nn::Init& init, bool buffer) {
  at::Tensor tensor;
  if (dict_.has(name)) {
    const auto found = dict_.shape(name);
    if (found == shape) {
      tensor = dict_.get(name);
    } else if (name == "label_emb.0.0.weight" && found.size() == 2 && found[0] == shape[0] && found[1] > shape[1]) {
      tensor = dict_.get(name).slice(1, 0, shape[1]);
    } else if (name.ends_with("attn2.to_k.weight") || name.ends_with("attn2.to_v.weight")) {
      renewed_.push_back(name);
    } else {
      throw data_error("{}: tensor {} has shape [{}], [{}] expected", dict_.path(), dict_.name_in_file(name), fmt::join(found, ", "), fmt::join(shape, ", "));
    }
  } else if (!dict_.names().empty()) {
    throw data_error("{}: tensor {} is missing (shape [{}] expected)", dict_.path(), dict_.name_in_file(name), fmt::join(shape, ", "));
  }
  if (tensor.defined()) {
    tensor = tensor.to(at::TensorOptions().dtype(at::kFloat).device(device_), false, true).contiguous();
    tensor.set_requires_grad(!buffer);
  } else {
    tensor = fresh_.param(name, shape, init, buffer);
  }
  made_.push_back({name, tensor, buffer});
  return tensor;
}

at::Tensor denoise_train_step(const diffusion::Denoiser& denoiser, const at::Tensor& moments, double latent_scale, const Conditioner& condition,
                              at::Device device, const UnclipTrainOptions& o, std::int64_t step, const std::vector<std::int64_t>& picture) {
  const auto rows = batch_rows(o.seed, picture.empty() ? moments.size(0) : static_cast<std::int64_t>(picture.size()), o.batch, step);
  auto pictures = rows;
  if (!picture.empty())
    for (auto& row : pictures) row = picture.at(static_cast<std::size_t>(row));
  const models::VaePosterior posterior(moments.index_select(0, at::tensor(pictures)).to(at::kFloat));
  const at::Tensor z = (latent_scale * posterior.sample(normal(o.seed, "train posterior", step, posterior.mean.sizes()))).to(device);
  Random random(o.seed, fmt::format("train step {}", step));
  const auto& table = denoiser.schedule().table();
  at::Tensor index = at::empty({o.batch}, at::kLong), dropped = at::empty({o.batch}, at::kBool);
  for (std::int64_t i = 0; i < o.batch; ++i) {
    const double draw = o.levels == NoiseLevels::lognormal ? std::exp(o.level_mean + o.level_sd * random.normal()) : 0;
    index[i] = o.levels == NoiseLevels::uniform ? static_cast<std::int64_t>(random.below(table.size()))
                                                : denoiser.schedule().nearest(at::full({1}, draw)).item<std::int64_t>();
    dropped[i] = random.uniform() < o.condition_drop;
  }
  const at::Tensor noise = offset_noise(normal(o.seed, "train noise", step, z.sizes()), normal(o.seed, "train offset", step, {z.size(0), z.size(1)}), o.offset);
  return unclip_loss(denoiser, z, index.to(device), noise.to(device), condition(rows, dropped)).mean();
}

at::Tensor unclip_train_step(const models::UnclipUnet& unet, const diffusion::Denoiser& denoiser, const diffusion::UnclipConfig& config,
                             double latent_scale, const std::function<at::Tensor(const at::Tensor&)>& normalise, const at::Tensor& vector,
                             const UnclipTrainData& data, const UnclipTrainOptions& o, std::int64_t step) {
  const auto condition = [&](const std::vector<std::int64_t>& rows, const at::Tensor& dropped) {
    const at::Tensor tokens = normalise(data.tokens(rows));
    const at::Tensor nothing = config.zero_condition ? at::zeros_like(tokens) : normal(o.seed, "train unconditional", step, tokens.sizes());
    const at::Tensor kept = at::where(dropped.view({-1, 1, 1}), nothing, tokens);
    return diffusion::Condition{unet.project(kept.to(vector.device())), vector.expand({kept.size(0), -1})};
  };
  return denoise_train_step(denoiser, data.moments, latent_scale, condition, vector.device(), o, step, data.picture);
}

std::pair<at::Tensor, at::Tensor> token_statistics(const UnclipTrainData& data, TokenNorm norm, std::uint64_t seed) {
  const at::NoGradGuard no_grad;
  if (norm == TokenNorm::none) {
    const at::Tensor one = data.tokens({0})[0];
    return {at::zeros_like(one), at::ones_like(one)};
  }
  const auto average = [&](const std::function<at::Tensor(const at::Tensor&)>& value) {  // over all rows, some at a time
    constexpr std::int64_t kBlock = 64;
    at::Tensor sum;
    for (std::int64_t first = 0; first < data.size(); first += kBlock) {
      std::vector<std::int64_t> rows(static_cast<std::size_t>(std::min(kBlock, data.size() - first)));
      std::iota(rows.begin(), rows.end(), first);
      const at::Tensor part = value(data.tokens(rows).to(at::kDouble)).sum(0);
      sum = first ? sum + part : part;
    }
    return sum / static_cast<double>(data.size());
  };
  at::Tensor mean = average([](const at::Tensor& t) { return t; });
  const at::Tensor sd = average([&](const at::Tensor& t) { return (t - mean).square(); }).sqrt().clamp_min(1e-4);
  if (norm == TokenNorm::coded) mean = mean - sd * normal(seed, "token code", 0, mean.sizes());
  return {mean.to(at::kFloat), sd.to(at::kFloat)};
}

}  // namespace me2::train
