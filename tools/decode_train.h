// me2-decode train: the U-Net on image-embedding tokens, and the autoencoder.
#pragma once
#include <filesystem>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "base/json.h"
#include "base/log.h"
#include "cli/tool.h"
#include "diffusion/unclip.h"
#include "nn/device.h"
#include "store/stage.h"
#include "train/unclip_train.h"
#include "train/vae_train.h"
#include "vision/resize.h"
#include "weights/identify.h"
#include "weights/state_dict.h"

namespace me2 {

enum class DecoderPart { unet, vae };
template <>
inline const EnumNames<DecoderPart>& enum_names() {
  static const EnumNames<DecoderPart> names{{DecoderPart::unet, "unet"}, {DecoderPart::vae, "vae"}};
  return names;
}

struct DecodeTrainOptions {
  InputPath stimuli;
  OutputPath out;
  DecoderPart part = DecoderPart::unet;
  std::optional<InputPath> tokens, config;
  std::optional<ModelPath> model, vae;
  std::string array = "clip_tokens";
  std::int64_t size = 0, crop = 0;
  bool normalise = false;
  train::StepLoopSettings loop;
  train::UnclipTrainOptions unet;
  train::VaeTrainOptions autoencoder;

  void describe(Describe& d) {
    d.positional("STIMULI", stimuli, "stimulus store; reads image u1 [sample, 3, H, W]");
    d.positional("OUTPUT", out, "model directory");
    d.option("--part", part, "what to train");
    d.option("--tokens", tokens, "unet: stage store with clip_tokens [sample, T, D] and stimulus, rows of STIMULI");
    d.option("--array", array, "unet: array of tokens");
    d.option("--model", model, "checkpoint to start from (unet: unCLIP or SDXL; vae: an autoencoder); without it, from scratch");
    d.option("--config", config, "JSON with sizes for a start from scratch: unet, denoiser, ... (unet) or ddconfig, embed_dim (vae)");
    d.option("--vae", vae, "unet: autoencoder in place of the checkpoint's own");
    d.option("--size", size, "pixels of a side that pictures are brought to (0: as they are)");
    d.option("--steps", loop.steps, "training steps");
    d.option("--lr", loop.lr, "learning rate");
    d.option("--warmup", loop.warmup, "steps of linear warm-up (published: 1000)");
    d.option("--cosine", loop.cosine, "let the rate fall to zero along a cosine");
    d.option("--weight-decay", loop.weight_decay, "decoupled weight decay of matrices");
    d.option("--clip-gradient", loop.clip, "largest norm of the gradient; 0: not clipped");
    d.option("--average", loop.average, "decay of the averaged weights, which are what is saved; 0: the last weights");
    d.option("--save-every", loop.save_every, "steps between states that --resume continues from");
    d.option("--condition-drop", unet.condition_drop, "unet: share of samples trained without their tokens");
    d.option("--offset-noise", unet.offset, "unet: level of the offset noise");
    d.option("--noise-levels", unet.levels, "unet: how noise levels are drawn");
    d.option("--noise-mean", unet.level_mean, "unet: mean of ln sigma, lognormal");
    d.option("--noise-sd", unet.level_sd, "unet: deviation of ln sigma, lognormal");
    d.option("--normalise-tokens", normalise, "unet: normalise tokens per position and feature; the statistics are saved with the model");
    d.option("--crop", crop, "vae: train on random squares of so many pixels (0: whole pictures)");
    d.option("--gradient-weight", autoencoder.gradient_weight, "vae: weight of the pictures' differences");
    d.option("--kl-weight", autoencoder.kl_weight, "vae: weight of the KL term per latent value");
  }
};

namespace decode_train {

// Pictures of the stimulus store by row, [n, 3, size, size] in [0, 1].
inline train::Pictures pictures(const std::string& path, std::int64_t size) {
  const auto image = store::Group::open(path).array("image");
  const auto shape = image.shape();
  if (shape.size() != 4 || shape[1] != 3) throw data_error("{}: shape [{}] found, [sample, 3, height, width] expected", image.path(), fmt::join(shape, ", "));
  return [image, size](const std::vector<std::int64_t>& rows) {
    std::vector<at::Tensor> out;
    for (const auto row : rows) {
      const auto& s = image.shape();
      if (row < 0 || row >= s[0]) throw data_error("{}: stimulus {} is beyond its {} pictures", image.path(), row, s[0]);
      at::Tensor one = at::empty({1, s[1], s[2], s[3]});
      image.read_rows(row, 1, one.mutable_data_ptr<float>());
      one.div_(255);
      out.push_back(size > 0 && (s[2] != size || s[3] != size) ? vision::resize(one, size, size, vision::Interp::bilinear, true) : one);
    }
    return at::cat(out);
  };
}

inline Json config_of(const DecodeTrainOptions& o, const weights::StateDict& model) {
  Json config = o.config ? read_json_file(o.config->path) : model.config();
  if (!config.is_object()) config = Json::object();
  if (!o.model && !o.config) throw usage_error("--model or --config: one of them says what to train");
  return config;
}

inline void finish(const DecodeTrainOptions& o, cli::Run& run, Json config, const std::map<std::string, at::Tensor>& tensors,
                   const std::vector<double>& curve, const train::StepLoop& loop) {
  config["me2"] = run.provenance();
  config["training"] = {{"loss", curve}, {"steps", curve.size()}};
  weights::save_model_dir(o.out.path, config, tensors);
  loop.discard_state();
}

inline train::StepLoopSettings loop_settings(const DecodeTrainOptions& o, const cli::Run& run) {
  auto settings = o.loop;
  settings.folder = o.out.path + ".partial";
  settings.digest = run.config_digest();
  settings.resume = run.options().resume;
  if (settings.steps < 1 || !(settings.lr > 0)) throw usage_error("--steps and --lr: positive numbers expected");
  if (!settings.resume && std::filesystem::exists(settings.folder)) {
    if (!run.options().overwrite) throw Error(Exit::cant_create, fmt::format("{} exists: --resume continues it, --overwrite starts again", settings.folder));
    std::filesystem::remove_all(settings.folder);
  }
  return settings;
}

inline void vae(const DecodeTrainOptions& o, cli::Run& run, at::Device device) {
  const auto source = pictures(o.stimuli.path, o.size);
  const std::int64_t count = store::Group::open(o.stimuli.path).array("image").shape()[0];
  const auto dict = o.model ? weights::StateDict::open(o.model->path) : weights::StateDict();
  Json config = config_of(o, dict);
  nn::Loader loader(dict, at::kFloat, device, true);
  nn::Initialiser fresh(run.seed(), device);
  nn::ParamSource& from = o.model ? static_cast<nn::ParamSource&>(loader) : fresh;
  const nn::Scope scope(from);
  const models::Vae net(scope, o.model ? models::VaeConfig::detect(scope, config) : models::VaeConfig::parse(config));
  auto options = o.autoencoder;
  options.batch = run.batch_size(8);
  options.seed = run.seed();
  options.crop = o.crop;
  if (run.dry_run()) return;
  train::StepLoop loop(from.made(), loop_settings(o, run));
  const auto& curve = loop.run("autoencoder", [&](std::int64_t step) { return train::vae_train_step(net, source, count, options, step, device); });
  auto tensors = loop.weights();
  const auto saved = weights::StateDict::from_tensors(tensors);
  nn::Loader averaged(saved, at::kFloat, device);
  auto sizes = net.config();
  const models::Vae final_net(nn::Scope(averaged), sizes);
  sizes.scale_factor = train::unit_scale(final_net, source, count, device);
  config.update(sizes.json());
  finish(o, run, config, tensors, curve, loop);
}

inline void unet(const DecodeTrainOptions& o, cli::Run& run, at::Device device) {
  if (!o.tokens) throw usage_error("--tokens: the U-Net is trained on a store of tokens");
  const store::StageReader in(o.tokens->path);
  const auto array = in.array(o.array);
  const auto shape = array.shape();
  if (shape.size() != 3) throw data_error("{}: shape [{}] found, [sample, tokens, width] expected", array.path(), fmt::join(shape, ", "));
  const auto dict = o.model ? weights::StateDict::open(o.model->path) : weights::StateDict();
  Json config = config_of(o, dict);
  auto decoder = diffusion::UnclipConfig::parse(config);
  const auto vae_dict = o.vae ? weights::StateDict::open(o.vae->path) : dict;
  const auto vae = models::Vae::open(vae_dict, models::Vae::Parts::both, at::kFloat, device);

  train::UnetStart start(dict.sub("model.diffusion_model."), run.seed(), device);
  const nn::Scope scope(start);
  auto sizes = o.model ? models::UnetConfig::detect(scope, config.contains("unet") ? config["unet"] : Json()) : models::UnetConfig::parse(config.value("unet", Json()));
  sizes.context_dim = shape[2];
  const std::int64_t published = 4 * 256;  // SDXL's six size numbers and pooled text become unCLIP's four size numbers
  if (o.model && sizes.adm_in_channels > published) sizes.adm_in_channels = published;
  const models::UnclipUnet net(scope, sizes);
  if (!start.renewed().empty()) log_info("{} projections of tokens start anew: the checkpoint's have another width", start.renewed().size());
  const diffusion::Denoiser denoiser(
      [&](const at::Tensor& x, const at::Tensor& t, const models::UnetContext& c, const at::Tensor& y) { return net(x, t, c, y); },
      diffusion::EdmSchedule(decoder.levels), decoder.scaling);

  train::UnclipTrainData data;
  data.tokens = [&](const std::vector<std::int64_t>& rows) {
    std::vector<at::Tensor> out;
    for (const auto row : rows) {
      at::Tensor one = at::empty({1, shape[1], shape[2]});
      array.read_rows(row, 1, one.mutable_data_ptr<float>());
      out.push_back(one);
    }
    return at::cat(out);
  };
  auto options = o.unet;
  options.batch = run.batch_size(8);
  options.seed = run.seed();
  if (run.dry_run()) return;
  const auto settings = loop_settings(o, run);
  {
    const at::NoGradGuard no_grad;
    const auto source = pictures(o.stimuli.path, o.size);
    std::vector<at::Tensor> moments;
    auto progress = run.progress("encoding pictures", in.samples());
    for (const auto stimulus : in.stimulus()) {
      moments.push_back(vae.moments((source({stimulus}) * 2 - 1).to(device)).cpu());
      progress.advance();
    }
    data.moments = at::cat(moments);
  }
  decoder.size = data.moments.size(2) * vae.config().factor();
  at::Tensor mean = at::zeros({shape[1], shape[2]}), sd = at::ones({shape[1], shape[2]});
  if (dict.has("token_norm.mean")) mean = dict.get("token_norm.mean"), sd = dict.get("token_norm.sd");
  else if (o.normalise) std::tie(mean, sd) = train::token_statistics(data);
  const auto normalise = [&](const at::Tensor& t) { return (t - mean) / sd; };
  const at::Tensor vector = diffusion::size_vector(decoder, sizes.adm_in_channels).to(device);

  train::StepLoop loop(start.made(), settings);
  const auto& curve = loop.run("U-Net", [&](std::int64_t step) {
    return train::unclip_train_step(net, denoiser, decoder, vae.config().scale_factor, normalise, vector, data, options, step);
  });
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, tensor] : loop.weights()) tensors["model.diffusion_model." + name] = tensor;
  const auto vae_part = weights::part_with(vae_dict, "post_quant_conv.weight");
  for (const auto& name : vae_part.names()) tensors["first_stage_model." + name] = vae_part.get(name);
  if (o.normalise || dict.has("token_norm.mean")) tensors["token_norm.mean"] = mean, tensors["token_norm.sd"] = sd;
  decoder.write(config);
  config["unet"] = sizes.json();
  config.update(vae.config().json());
  finish(o, run, config, tensors, curve, loop);
}

}  // namespace decode_train

inline void decode_train_verb(const DecodeTrainOptions& o, cli::Run& run) {
  nn::set_threads(run.threads());
  const at::Device device = nn::open_device(run.options().device);
  o.part == DecoderPart::vae ? decode_train::vae(o, run, device) : decode_train::unet(o, run, device);
}

}  // namespace me2
