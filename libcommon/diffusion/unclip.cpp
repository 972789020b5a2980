#include "diffusion/unclip.h"

#include <cmath>

#include <ATen/ATen.h>

#include "base/error.h"
#include "base/json.h"
#include "models/vector_suffix.h"
#include "nn/count_work.h"
#include "weights/identify.h"

namespace me2::diffusion {

UnclipConfig UnclipConfig::parse(const Json& j) {
  UnclipConfig c;
  if (!j.is_object()) return c;
  if (j.contains("denoiser")) {
    const Json& d = j["denoiser"];
    if (d.contains("scaling_config")) c.scaling = parse_scaling(d["scaling_config"].value("target", "eps"));
    c.levels = d.value("num_idx", c.levels);
  }
  c.steps = j.value("num_steps", c.steps);
  c.guidance = j.value("guider_scale", c.guidance);
  c.offset_noise = j.value("offset_noise_level", c.offset_noise);
  c.image_scale = j.value("image_scale", c.image_scale);
  c.image_shift = j.value("image_shift", c.image_shift);
  c.outdim = j.value("outdim", c.outdim);
  c.size = j.value("size", c.size);
  c.size_condition = j.value("size_condition", c.size_condition);
  c.zero_condition = j.value("zero_condition", c.zero_condition);
  return c;
}

void UnclipConfig::write(Json& j) const {
  j["denoiser"] = {{"num_idx", levels}, {"scaling_config", {{"target", scaling == Scaling::eps ? "EpsScaling" : "VScaling"}}}};
  j["num_steps"] = steps;
  j["guider_scale"] = guidance;
  j["offset_noise_level"] = offset_noise;
  j["image_scale"] = image_scale;
  j["image_shift"] = image_shift;
  j["size"] = size;
  j["size_condition"] = size_condition;
  j["zero_condition"] = zero_condition;
}

UnclipDecoder UnclipDecoder::open(const weights::StateDict& model, const Options& options, const weights::StateDict* vae) {
  static const std::string unet_prefix = "model.diffusion_model.", vae_prefix = "first_stage_model.";
  if (!model.has_prefix(unet_prefix))
    throw data_error("{}: no {}* tensors: a DiffusionEngine checkpoint (unCLIP or SDXL) expected; this looks like {}", model.path(), unet_prefix,
                     weights::identify(model));
  if (!vae && !model.has_prefix(vae_prefix))
    throw data_error("{}: no {}* tensors: the checkpoint lacks its autoencoder (give one with --vae)", model.path(), vae_prefix);
  UnclipDecoder out;
  out.device_ = options.device;
  out.dtype_ = options.dtype;
  out.vae_dtype_ = options.vae_dtype;
  out.config_ = UnclipConfig::parse(model.config());
  const Json& config = model.config();
  {
    nn::Loader loader(model.sub(unet_prefix), options.dtype, options.device, options.trainable);
    const nn::Scope scope(loader);
    out.unet_ = std::make_shared<models::UnclipUnet>(scope, models::UnetConfig::detect(scope, config.contains("unet") ? config["unet"] : Json()));
    loader.finish();
  }
  // The autoencoder's part keeps the file's config.json.
  out.vae_ = std::make_shared<models::Vae>(models::Vae::open(vae ? *vae : model.sub(vae_prefix),
                                                             options.vae_encoder ? models::Vae::Parts::both : models::Vae::Parts::decoder,
                                                             options.vae_dtype, options.device));
  Network network = [unet = out.unet_](const at::Tensor& x, const at::Tensor& t, const models::UnetContext& context, const at::Tensor& y) { return (*unet)(x, t, context, y); };
  // An f16 table has lost too much to find a level by its sigma.
  const bool own_table = model.has("denoiser.sigmas") && model.dtype("denoiser.sigmas") == at::kFloat;
  out.denoiser_ = std::make_shared<Denoiser>(options.trainable ? network : replayed(network),
                                             own_table ? EdmSchedule(model.get("denoiser.sigmas")) : EdmSchedule(out.config_.levels), out.config_.scaling);
  if (model.has("token_norm.mean")) {
    out.token_mean_ = model.get("token_norm.mean").to(options.device, at::kFloat);
    out.token_sd_ = model.get("token_norm.sd").to(options.device, at::kFloat);
  }
  return out;
}

at::Tensor UnclipDecoder::normalise(const at::Tensor& tokens) const {
  return token_mean_.defined() ? (tokens - token_mean_) / token_sd_ : tokens;
}

at::Tensor size_vector(const UnclipConfig& config, std::int64_t width) {
  const at::Tensor one = models::unclip_vector_suffix(config.size_condition, config.outdim > 0 ? config.outdim : width / 4);
  if (one.size(1) != width)
    throw data_error("the U-Net takes {} size numbers and unCLIP's conditioning has {}: this looks like an SDXL checkpoint (use refine)", width, one.size(1));
  return one;
}

at::Tensor UnclipDecoder::vector(std::int64_t rows) const {
  return size_vector(config_, unet_->config().adm_in_channels).to(device_).expand({rows, -1});
}

std::array<std::int64_t, 3> UnclipDecoder::latent_shape(std::int64_t pixels) const {
  const auto f = vae_->config().factor();
  const auto cells = std::int64_t{1} << (unet_->config().channel_mult.size() - 1);
  if (pixels <= 0 || pixels % (f * cells)) throw usage_error("--size: a multiple of {} pixels expected, {} given", f * cells, pixels);
  return {vae_->config().embed_dim, pixels / f, pixels / f};
}

Condition guidance_condition(const models::UnclipUnet& unet, const at::Tensor& uncond_tokens, const at::Tensor& cond_tokens,
                             const at::Tensor& uncond_vector, const at::Tensor& cond_vector) {
  const auto rows = cond_tokens.size(0);
  return {unet.project(at::cat({uncond_tokens.expand({rows, -1, -1}), cond_tokens})), at::cat({uncond_vector.expand({rows, -1}), cond_vector})};
}

at::Tensor UnclipDecoder::latent(const at::Tensor& tokens, const UnclipDraws& draws, SamplerKind sampler, std::int64_t steps, double guidance,
                                 const SamplerHooks& hooks) const {
  const auto rows = tokens.size(0);
  const auto sigmas = denoiser_->schedule().sigmas(steps);
  const double first = sigmas.front();
  const at::Tensor noise = draws.noise + config_.offset_noise * draws.offset.view({-1, 1, 1, 1});
  // Fidelity: scaled to unit variance here and back by the sampler, so the start is z + noise sigma with z itself unit noise.
  at::Tensor x = (draws.z + noise * first) / std::sqrt(1.0f + static_cast<float>(first * first));
  x = scale_to_first_sigma(x, sigmas);
  const at::Tensor c = normalise(tokens), y = vector(rows);
  if (guidance == 1) return sample(sampler, unguided(*denoiser_, {unet_->project(c), y}), x, sigmas, hooks);
  const at::Tensor uc = config_.zero_condition ? at::zeros_like(c) : draws.uc_crossattn;
  return sample(sampler, guided(*denoiser_, guidance_condition(*unet_, uc, c, y, y), guidance), x, sigmas, hooks);
}

std::int64_t sampler_calls(SamplerKind sampler, std::int64_t steps) { return sampler == SamplerKind::heun ? 2 * steps - 1 : steps; }

Work unet_work(const models::UnclipUnet& unet, std::int64_t rows, const std::array<std::int64_t, 3>& latent, std::int64_t tokens, at::ScalarType dtype) {
  const auto& c = unet.config();
  return nn::count_work([&] {
    unet(nn::meta({rows, latent[0], latent[1], latent[2]}, dtype), nn::meta({rows}), nn::meta({rows, tokens, c.context_dim}, dtype), nn::meta({rows, c.adm_in_channels}, dtype));
  });
}

Work UnclipDecoder::work(std::int64_t tokens, const std::array<std::int64_t, 3>& latent, std::int64_t batch, double calls, bool guided, std::int64_t vae_rows) const {
  Work work = unet_work(*unet_, guided ? 2 * batch : batch, latent, tokens, dtype_).times(calls / static_cast<double>(batch));
  work += nn::count_work([&] { vae_->decode(nn::meta({1, latent[0], latent[1], latent[2]}, vae_dtype_), vae_rows); });
  return work;
}

at::Tensor UnclipDecoder::picture(const at::Tensor& latent, std::int64_t rows) const {
  std::vector<at::Tensor> out;
  for (std::int64_t i = 0; i < latent.size(0); ++i) {
    const at::Tensor decoded = vae_->decode_first_stage(latent.slice(0, i, i + 1), rows).to(at::kFloat);
    out.push_back((decoded * config_.image_scale + config_.image_shift).clamp_(0, 1));
  }
  return at::cat(out);
}

at::Tensor to_bytes(const at::Tensor& picture) { return (picture * 255).to(at::kByte); }

}  // namespace me2::diffusion
