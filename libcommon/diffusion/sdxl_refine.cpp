#include "diffusion/sdxl_refine.h"

#include <ATen/ATen.h>

#include "base/error.h"
#include "base/json.h"
#include "models/vector_suffix.h"
#include "nn/count_work.h"
#include "weights/identify.h"

namespace me2::diffusion {
namespace {

// The sizes that shapes cannot say, under the names each encoder reads them by.
Json text_config(const Json& config) {
  Json out = config.is_object() ? config : Json::object();
  if (out.contains("bigG") && !out.contains("open_clip")) out["open_clip"] = {{"text_cfg", out["bigG"]}};
  return out;
}

std::string text_prefix(const weights::StateDict& dict) {
  for (const char* encoder : {"conditioner.embedders.0.", "conditioner.embedders.1."})
    if (!dict.has_prefix(encoder))
      throw data_error("{}: no {}* tensors: an SDXL checkpoint with both text encoders expected; this looks like {}", dict.path(), encoder, weights::identify(dict));
  return "conditioner.embedders.";
}

}  // namespace

SdxlTextEncoders::SdxlTextEncoders(const weights::StateDict& dict, const std::string& first, const std::string& second, const Json& config,
                                   at::ScalarType dtype, at::Device device)
    : device_(device) {
  const Json sizes = text_config(config);
  {
    nn::Loader loader(dict.sub(first), dtype, device);
    const nn::Scope scope = nn::Scope(loader).sub("transformer").sub("text_model");
    const auto c = models::ClipTextConfig::detect(scope, sizes);
    layer_ = sizes.value("clip_l_layer_idx", c.layers - 1);
    if (layer_ < 0 || layer_ > c.layers) throw data_error("config.json: clip_l_layer_idx: 0 to {} expected, {} found", c.layers, layer_);
    first_ = std::make_shared<models::ClipText>(scope, c);
  }
  nn::Loader loader(dict.sub(second), dtype, device);
  const nn::Scope scope = nn::Scope(loader).sub("model");
  second_ = std::make_shared<models::OpenClipText>(scope, models::OpenClipTextConfig::detect(scope, sizes));
}

TextCondition SdxlTextEncoders::operator()(const PromptIds& ids) const {
  const at::Tensor a = (*first_)(ids.clip_l.to(device_)).hidden.at(static_cast<std::size_t>(layer_));
  const auto b = (*second_)(ids.open_clip.to(device_));
  return {at::cat({a, b.penultimate}, 2).to(at::kFloat), b.pooled.to(at::kFloat)};
}

SdxlRefiner SdxlRefiner::open(const weights::StateDict& model, const UnclipDecoder::Options& options, const weights::StateDict* text, const weights::StateDict* vae) {
  SdxlRefiner out;
  out.device_ = options.device;
  out.dtype_ = options.dtype;
  out.vae_dtype_ = options.vae_dtype;
  const Json& config = model.config();
  const std::string own = text_prefix(model);
  if (!model.has_prefix("model.diffusion_model."))
    throw data_error("{}: no model.diffusion_model.* tensors: the checkpoint lacks its U-Net", model.path());
  if (!vae && !model.has_prefix("first_stage_model."))
    throw data_error("{}: no first_stage_model.* tensors: the checkpoint lacks its autoencoder (give one with --vae)", model.path());
  nn::Loader loader(model.sub("model.diffusion_model."), options.dtype, options.device);
  const nn::Scope scope(loader);
  out.unet_ = std::make_shared<models::UnclipUnet>(scope, models::UnetConfig::detect(scope, config.contains("unet") ? config["unet"] : Json()));
  loader.finish();
  out.vae_ = std::make_shared<models::Vae>(models::Vae::open(vae ? *vae : model.sub("first_stage_model."), models::Vae::Parts::both, options.vae_dtype, options.device));
  out.negative_ = std::make_shared<SdxlTextEncoders>(model, own + "0.", own + "1.", config, options.dtype, options.device);
  if (text) {
    const auto prefix = text_prefix(*text);
    out.prompt_ = std::make_shared<SdxlTextEncoders>(*text, prefix + "0.", prefix + "1.", text->config(), options.dtype, options.device);
  } else if (model.has_prefix("base_text_embedder1.")) {
    out.prompt_ = std::make_shared<SdxlTextEncoders>(model, "base_text_embedder1.", "base_text_embedder2.", config, options.dtype, options.device);
  } else {
    out.prompt_ = out.negative_;
  }
  const auto c = UnclipConfig::parse(config);
  out.denoiser_ = std::make_shared<Denoiser>(
      replayed([unet = out.unet_](const at::Tensor& x, const at::Tensor& t, const models::UnetContext& context, const at::Tensor& y) { return (*unet)(x, t, context, y); }),
      EdmSchedule(c.levels), c.scaling);
  out.size_condition_ = c.size_condition;
  if (config.is_object()) out.target_ = config.value("target_condition", out.target_);
  return out;
}

at::Tensor sdxl_vector(const at::Tensor& pooled, std::int64_t adm_in_channels, double size_condition, double target_condition) {
  const auto left = adm_in_channels - pooled.size(1);
  if (left <= 0 || left % 6)
    throw data_error("the U-Net takes {} numbers, of which {} are text: six equally wide size numbers expected in the rest", adm_in_channels, pooled.size(1));
  return at::cat({pooled, models::sdxl_vector_suffix(size_condition, target_condition, left / 6).to(pooled.device()).expand({pooled.size(0), -1})}, 1);
}

at::Tensor SdxlRefiner::latent(const at::Tensor& image, const TextCondition& prompt, const TextCondition& negative, const at::Tensor& posterior_noise,
                               const at::Tensor& noise, const Settings& s, const SamplerHooks& hooks) const {
  const auto all = denoiser_->schedule().sigmas(s.steps);
  if (s.timepoint < 2 || s.timepoint > static_cast<std::int64_t>(all.size()))
    throw usage_error("--timepoint: 2 to {} expected, {} given", all.size(), s.timepoint);
  const std::vector<float> sigmas(all.end() - s.timepoint, all.end());
  const at::Tensor z = vae_->encode_first_stage((image * 2 - 1).to(device_), posterior_noise.to(device_));
  // Fidelity: the reference divides by sqrt(1 + sigma_0^2) of the long schedule and its sampler multiplies by that of the short one's
  // own table: the same number, so neither is done here.
  const at::Tensor x = z + noise.to(device_) * sigmas.front();
  const at::Tensor c = vector(prompt), u = vector(negative);
  if (s.guidance == 1) return sample(s.sampler, unguided(*denoiser_, {unet_->project(prompt.crossattn), c}), x, sigmas, hooks);
  return sample(s.sampler, guided(*denoiser_, guidance_condition(*unet_, negative.crossattn, prompt.crossattn, u, c), s.guidance), x, sigmas, hooks);
}

Work SdxlRefiner::work(const std::array<std::int64_t, 3>& latent, const Settings& s, std::int64_t vae_rows) const {
  const auto f = vae_->config().factor();
  const bool guided = s.guidance != 1;
  const at::Tensor ids = nn::meta({1, context()}, at::kLong);
  Work work = nn::count_work([&] { prompt({ids, ids}); });
  if (negative_ != prompt_) work.weights += nn::count_work([&] { negative({ids, ids}); }).weights;  // once for all pictures
  work += nn::count_work([&] { vae_->moments(nn::meta({1, 3, latent[1] * f, latent[2] * f}, vae_dtype_)); });
  work += unet_work(*unet_, guided ? 2 : 1, latent, context(), dtype_).times(static_cast<double>(sampler_calls(s.sampler, s.timepoint - 1)));
  work += nn::count_work([&] { vae_->decode(nn::meta({1, latent[0], latent[1], latent[2]}, vae_dtype_), vae_rows); });
  return work;
}

at::Tensor SdxlRefiner::picture(const at::Tensor& latent, std::int64_t rows) const {
  return ((vae_->decode_first_stage(latent, rows).to(at::kFloat) + 1) / 2).clamp_(0, 1);
}

}  // namespace me2::diffusion
