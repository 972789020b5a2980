// me2-decode train: options, and what its parts share (decode_train_parts.h).
#pragma once
#include <filesystem>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "base/json.h"
#include "base/log.h"
#include "base/signals.h"
#include "cli/tool.h"
#include "diffusion/unclip.h"
#include "nn/count_work.h"
#include "nn/device.h"
#include "store/gather.h"
#include "store/stage.h"
#include "text/clip_bpe.h"
#include "train/refiner_train.h"
#include "train/unclip_train.h"
#include "train/vae_train.h"
#include "vision/resize.h"
#include "weights/identify.h"
#include "weights/state_dict.h"
#include "weights/stored.h"

namespace me2 {

enum class DecoderPart { unet, vae, refiner };
template <>
inline const EnumNames<DecoderPart>& enum_names() {
  static const EnumNames<DecoderPart> names{{DecoderPart::unet, "unet"}, {DecoderPart::vae, "vae"}, {DecoderPart::refiner, "refiner"}};
  return names;
}

struct DecodeTrainOptions {
  InputPath stimuli;
  OutputPath out;
  DecoderPart part = DecoderPart::unet;
  std::vector<InputPath> tokens;
  std::optional<InputPath> config;
  std::optional<ModelPath> model, vae, text, features;
  std::optional<InputPath> vocabulary;
  std::string array = "clip_tokens";
  std::int64_t size = 0, crop = 0;
  bool freeze_encoder = false;
  weights::Stored stored = weights::Stored::f4;
  train::TokenNorm normalise = train::TokenNorm::none;
  train::StepLoopSettings loop;
  train::UnclipTrainOptions unet;
  train::VaeTrainOptions autoencoder;

  void describe(Describe& d) {
    d.positional("STIMULI", stimuli, "stimulus store; reads image u1 [sample, 3, H, W]");
    d.positional("OUTPUT", out, "model directory");
    d.option("--part", part, "what to train");
    d.option("--tokens", tokens, "unet: stage store with clip_tokens [sample, T, D] and stimulus, rows of STIMULI; several, true and predicted tokens, are trained on as one");
    d.option("--array", array, "unet: array of tokens");
    d.option("--model", model, "checkpoint to start from (unet: unCLIP or SDXL; refiner: SDXL; vae: an autoencoder); without it, from scratch");
    d.option("--config", config, "JSON with sizes for a start from scratch: unet, denoiser, ... (unet, refiner) or ddconfig, embed_dim (vae)");
    d.option("--vae", vae, "unet, refiner: autoencoder in place of the checkpoint's own; not saved with the model, so unclip and refine need it too");
    d.option("--text", text, "refiner: model of me2-embed encoder whose text tower becomes both text encoders (the checkpoint's own)");
    d.option("--vocabulary", vocabulary, "refiner: the text encoders' byte-pair merges (beside --text or --model)");
    d.option("--size", size, "pixels of a side that pictures are brought to (0: as they are)");
    d.option("--steps", loop.steps, "training steps");
    d.option("--lr", loop.lr, "learning rate");
    d.option("--warmup", loop.warmup, "steps of linear warm-up (published: 1000)");
    d.option("--cosine", loop.cosine, "let the rate fall to zero along a cosine");
    d.option("--weight-decay", loop.weight_decay, "decoupled weight decay of matrices");
    d.option("--clip-gradient", loop.clip, "largest norm of the gradient; 0: not clipped");
    d.option("--average", loop.average, "decay of the averaged weights, which are what is saved; 0: the last weights");
    d.option("--save-every", loop.save_every, "steps between states that --resume continues from");
    d.option("--condition-drop", unet.condition_drop, "unet, refiner: share of samples trained without their tokens or caption");
    d.option("--offset-noise", unet.offset, "unet, refiner: level of the offset noise");
    d.option("--noise-levels", unet.levels, "unet, refiner: how noise levels are drawn");
    d.option("--noise-mean", unet.level_mean, "unet, refiner: mean of ln sigma, lognormal");
    d.option("--noise-sd", unet.level_sd, "unet, refiner: deviation of ln sigma, lognormal");
    d.option("--normalise-tokens", normalise, "unet: normalise tokens per position and feature (coded: with a code of the position added); saved with the model");
    d.option("--stored", stored, "floats of the saved model as they are (f4) or in half the space (f2)");
    d.option("--crop", crop, "vae: train on random squares of so many pixels (0: whole pictures)");
    d.option("--freeze-encoder", freeze_encoder, "vae: train the decoder alone; the latents stay what they are, and U-Nets trained on them good");
    d.option("--gradient-weight", autoencoder.gradient_weight, "vae: weight of the pictures' differences");
    d.option("--features", features, "vae: OpenCLIP image tower whose tokens and pooled vector of pictures there and back are to agree as well");
    d.option("--feature-weight", autoencoder.feature_weight, "vae: weight of --features");
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
    const auto& s = image.shape();
    for (const auto row : rows)
      if (row < 0 || row >= s[0]) throw data_error("{}: stimulus {} is beyond its {} pictures", image.path(), row, s[0]);
    at::Tensor out = at::empty({static_cast<std::int64_t>(rows.size()), s[1], s[2], s[3]});
    store::gather_rows(image, rows, out.mutable_data_ptr<float>());
    out.div_(255);
    return size > 0 && (s[2] != size || s[3] != size) ? vision::resize(out, size, size, vision::Interp::bilinear, true) : out;
  };
}

// A step's pass with its graph, then that of all steps; `material` bytes lie in memory beside it.
inline void plan_training(const DecodeTrainOptions& o, cli::Run& run, std::int64_t material, const std::function<at::Tensor()>& pass) {
  at::Tensor kept;
  Work work = nn::training_step(nn::count_work([&] { kept = pass(); }), o.loop.average > 0).times(static_cast<double>(o.loop.steps));
  work.held += static_cast<std::uint64_t>(material);
  run.plan_work(work);
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
  weights::save_model_dir(o.out.path, config, weights::stored_as(tensors, o.stored));
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

// The autoencoder's moments of each row's picture, once: [rows, 2 C, h, w].
inline at::Tensor encoded(const DecodeTrainOptions& o, cli::Run& run, const models::Vae& vae, const std::vector<std::int32_t>& stimuli, at::Device device) {
  const at::NoGradGuard no_grad;
  const auto source = pictures(o.stimuli.path, o.size);
  std::vector<at::Tensor> moments;
  auto progress = run.progress("encoding pictures", static_cast<std::int64_t>(stimuli.size()));
  // A batch holds no more than a picture of 512 pixels does: what the encoder's largest maps take decides.
  const auto shape = store::Group::open(o.stimuli.path).array("image").shape();
  const std::int64_t side = o.size > 0 ? o.size * o.size : shape.at(2) * shape.at(3), batch = std::max<std::int64_t>(1, (std::int64_t{1} << 18) / side);
  for (std::size_t first = 0; first < stimuli.size();) {
    check_stop();
    const std::vector<std::int64_t> rows(stimuli.begin() + static_cast<std::ptrdiff_t>(first), stimuli.begin() + static_cast<std::ptrdiff_t>(std::min(stimuli.size(), first + static_cast<std::size_t>(batch))));
    moments.push_back(vae.moments((source(rows) * 2 - 1).to(device)).cpu());
    progress.advance(static_cast<std::int64_t>(rows.size()));
    first += rows.size();
  }
  return at::cat(moments);
}

inline diffusion::Denoiser denoiser_of(const models::UnclipUnet& net, const diffusion::UnclipConfig& decoder) {
  return {[&net](const at::Tensor& x, const at::Tensor& t, const models::UnetContext& c, const at::Tensor& y) { return net(x, t, c, y); },
          diffusion::EdmSchedule(decoder.levels), decoder.scaling};
}

// The trained U-Net under a checkpoint's names; with its autoencoder unless --vae says that lives elsewhere.
inline std::map<std::string, at::Tensor> checkpoint(const DecodeTrainOptions& o, const train::StepLoop& loop, const weights::StateDict& dict, const char* telltale) {
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, tensor] : loop.weights()) tensors["model.diffusion_model." + name] = tensor;
  if (o.vae) return tensors;
  const auto part = weights::part_with(dict, telltale);
  for (const auto& name : part.names()) tensors["first_stage_model." + name] = part.get(name);
  return tensors;
}

}  // namespace decode_train
}  // namespace me2
