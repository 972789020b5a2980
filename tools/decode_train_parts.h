// me2-decode train: the U-Net on image-embedding tokens, the autoencoder, and SDXL's text-conditioned U-Net.
#pragma once
#include <numeric>
#include <set>

#include "base/file.h"
#include "decode_refine.h"
#include "decode_train.h"

namespace me2 {
namespace decode_train {

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
  if (o.features) {
    const auto tower = weights::StateDict::open(o.features->path);
    nn::Loader loader(weights::part_with(tower, "class_embedding"), at::kFloat, device);
    const nn::Scope names(loader);
    options.features = train::tower_features(std::make_shared<models::OpenClipVision>(names, models::OpenClipVisionConfig::detect(names, tower.config())),
                                             !tower.config().is_object() || tower.config().value("clip_squeeze", true));
  }
  if (run.dry_run()) {
    const auto shape = store::Group::open(o.stimuli.path).array("image").shape();
    const auto side = [&](std::size_t axis) { return o.crop > 0 ? o.crop : o.size > 0 ? o.size : shape.at(axis); };
    return plan_training(o, run, 0, [&] {
      return net.decode(net.encode(nn::meta({options.batch, 3, side(2), side(3)})).mode());
    });
  }
  std::vector<nn::Named> trained;
  std::map<std::string, at::Tensor> tensors;
  for (const auto& named : from.made())
    if (o.freeze_encoder && (named.name.starts_with("encoder.") || named.name.starts_with("quant_conv.")))
      tensors[named.name] = at::Tensor(named.tensor).set_requires_grad(false);
    else
      trained.push_back(named);
  train::StepLoop loop(trained, loop_settings(o, run));
  const auto& curve = loop.run("autoencoder", [&](std::int64_t step) { return train::vae_train_step(net, source, count, options, step, device); });
  tensors.merge(loop.weights());
  const auto saved = weights::StateDict::from_tensors(tensors);
  nn::Loader averaged(saved, at::kFloat, device);
  auto sizes = net.config();
  const models::Vae final_net(nn::Scope(averaged), sizes);
  if (!o.freeze_encoder) sizes.scale_factor = train::unit_scale(final_net, source, count, device);
  config.update(sizes.json());
  finish(o, run, config, tensors, curve, loop);
}

// The rows of all --tokens stores, one store after the other.
struct TokenRows {
  std::vector<store::Array> arrays;
  std::vector<std::int64_t> first{0};  // row at which each begins; the end last
  std::vector<std::int32_t> stimulus;
  store::Shape shape;  // of the first array

  explicit TokenRows(const DecodeTrainOptions& o) {
    if (o.tokens.empty()) throw usage_error("--tokens: the U-Net is trained on a store of tokens");
    for (const auto& input : o.tokens) {
      const store::StageReader in(input.path);
      arrays.push_back(in.array(o.array));
      const auto found = arrays.back().shape();
      if (found.size() != 3) throw data_error("{}: shape [{}] found, [sample, tokens, width] expected", arrays.back().path(), fmt::join(found, ", "));
      if (shape.empty()) shape = found;
      if (found[1] != shape[1] || found[2] != shape[2])
        throw data_error("{}: shape [{}] found, [sample, {}, {}] expected as in {}", arrays.back().path(), fmt::join(found, ", "), shape[1], shape[2], arrays.front().path());
      first.push_back(first.back() + found[0]);
      const auto ids = in.stimulus();
      stimulus.insert(stimulus.end(), ids.begin(), ids.end());
    }
  }
  at::Tensor read(const std::vector<std::int64_t>& rows) const {
    at::Tensor out = at::empty({static_cast<std::int64_t>(rows.size()), shape[1], shape[2]});
    for (std::size_t a = 0; a < arrays.size(); ++a) {
      std::vector<std::int64_t> mine, to;
      for (std::size_t i = 0; i < rows.size(); ++i)
        if (rows[i] >= first[a] && rows[i] < first[a + 1]) mine.push_back(rows[i] - first[a]), to.push_back(static_cast<std::int64_t>(i));
      if (mine.empty()) continue;
      at::Tensor part = at::empty({static_cast<std::int64_t>(mine.size()), shape[1], shape[2]});
      store::gather_rows(arrays[a], mine, part.mutable_data_ptr<float>());
      out.index_copy_(0, at::tensor(to), part);
    }
    return out;
  }
};
// The autoencoder sees every picture once; then the steps, with the latents' moments in memory.
inline void plan_unet(const DecodeTrainOptions& o, cli::Run& run, const models::UnclipUnet& net, const models::Vae& vae, std::int64_t pictures, std::int64_t tokens) {
  const auto shape = store::Group::open(o.stimuli.path).array("image").shape();
  const auto& config = net.config();
  const std::int64_t batch = run.batch_size(8), f = vae.config().factor();
  const auto height = (o.size > 0 ? o.size : shape.at(2)) / f, width = (o.size > 0 ? o.size : shape.at(3)) / f;
  plan_training(o, run, 8 * pictures * config.in_channels * height * width, [&] {
    return net(nn::meta({batch, config.in_channels, height, width}), nn::meta({batch}), nn::meta({batch, tokens, config.context_dim}), nn::meta({batch, config.adm_in_channels}));
  });
}

inline void unet(const DecodeTrainOptions& o, cli::Run& run, at::Device device) {
  const TokenRows in(o);
  const auto& shape = in.shape;
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
  const auto denoiser = denoiser_of(net, decoder);

  train::UnclipTrainData data;
  data.tokens = [&](const std::vector<std::int64_t>& rows) { return in.read(rows); };
  auto options = o.unet;
  options.batch = run.batch_size(8);
  options.seed = run.seed();
  if (run.dry_run()) return plan_unet(o, run, net, vae, static_cast<std::int64_t>(std::set(in.stimulus.begin(), in.stimulus.end()).size()), shape[1]);
  const auto settings = loop_settings(o, run);
  std::vector<std::int32_t> seen;  // each picture once, however many rows of tokens are of it
  std::map<std::int32_t, std::int64_t> place;
  for (const auto id : in.stimulus) {
    const auto [at, fresh] = place.emplace(id, static_cast<std::int64_t>(seen.size()));
    if (fresh) seen.push_back(id);
    data.picture.push_back(at->second);
  }
  data.moments = encoded(o, run, vae, seen, device);
  decoder.size = data.moments.size(2) * vae.config().factor();
  const bool known = dict.has("token_norm.mean");
  const auto [mean, sd] = known ? std::pair(dict.get("token_norm.mean"), dict.get("token_norm.sd")) : train::token_statistics(data, o.normalise, run.seed());
  const auto normalise = [mean = mean, sd = sd](const at::Tensor& t) { return (t - mean) / sd; };
  const at::Tensor vector = diffusion::size_vector(decoder, sizes.adm_in_channels).to(device);

  train::StepLoop loop(start.made(), settings);
  const auto& curve = loop.run("U-Net", [&](std::int64_t step) {
    return train::unclip_train_step(net, denoiser, decoder, vae.config().scale_factor, normalise, vector, data, options, step);
  });
  auto tensors = checkpoint(o, loop, vae_dict, "post_quant_conv.weight");
  if (known || o.normalise != train::TokenNorm::none) tensors["token_norm.mean"] = mean, tensors["token_norm.sd"] = sd;
  decoder.write(config);
  config["unet"] = sizes.json();
  config.update(vae.config().json());
  finish(o, run, config, tensors, curve, loop);
}

// The text encoders, and where their vocabulary lies.
struct RefinerText {
  std::map<std::string, at::Tensor> tensors;
  Json config;
  std::string vocabulary;
};

inline RefinerText refiner_text(const DecodeTrainOptions& o, const weights::StateDict& model) {
  RefinerText out;
  if (o.text) {
    auto made = train::sdxl_text(weights::StateDict::open(o.text->path));
    out.tensors = std::move(made.tensors);
    out.config = std::move(made.config);
  } else if (o.model) {
    for (const auto& name : model.names())
      if (name.starts_with("conditioner.")) out.tensors[name] = model.get(name);
    out.config = model.config().is_object() ? model.config() : Json::object();
  } else {
    throw usage_error("--text or --model: a refiner needs text encoders");
  }
  out.vocabulary = o.vocabulary ? o.vocabulary->path : clip_vocabulary_beside(o.text ? o.text->path : o.model->path);
  return out;
}

inline train::CaptionIds caption_ids(const text::ClipBpe& bpe, const std::vector<std::string>& captions, std::int64_t choices, std::int64_t context) {
  const auto encode = [&](const std::vector<std::string>& texts, text::ClipFlavour flavour) {
    at::Tensor ids = at::empty({static_cast<std::int64_t>(texts.size()), context}, at::kLong);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const auto one = bpe.encode(texts[i], flavour, static_cast<std::size_t>(context)).ids;
      std::copy(one.begin(), one.end(), ids.mutable_data_ptr<std::int64_t>() + static_cast<std::int64_t>(i) * context);
    }
    return ids;
  };
  const auto both = [&](const std::vector<std::string>& texts) {
    return diffusion::PromptIds{encode(texts, text::ClipFlavour::hugging_face), encode(texts, text::ClipFlavour::open_clip)};
  };
  return {both(captions), both({""}), choices};
}

inline void refiner(const DecodeTrainOptions& o, cli::Run& run, at::Device device) {
  const auto group = store::Group::open(o.stimuli.path);
  if (!group.has_array("caption")) throw data_error("{}: no captions; me2-preprocess stimuli --captions adds them", o.stimuli.path);
  const auto array = group.array("caption");
  const std::int64_t count = group.array("image").shape().at(0), choices = array.shape().size() > 1 ? array.shape()[1] : 1;
  const auto dict = o.model ? weights::StateDict::open(o.model->path) : weights::StateDict();
  Json config = config_of(o, dict);
  const auto known = refiner_text(o, dict);
  config.update(known.config);
  const auto decoder = diffusion::UnclipConfig::parse(config);
  const auto text_dict = weights::StateDict::from_tensors(known.tensors);
  const diffusion::SdxlTextEncoders text(text_dict, "conditioner.embedders.0.", "conditioner.embedders.1.", config, at::kFloat, device);
  const auto vae_dict = o.vae ? weights::StateDict::open(o.vae->path) : dict.sub("first_stage_model.");
  const auto vae = models::Vae::open(vae_dict, models::Vae::Parts::both, at::kFloat, device);

  train::UnetStart start(dict.sub("model.diffusion_model."), run.seed(), device);
  const nn::Scope scope(start);
  auto sizes = o.model ? models::UnetConfig::detect(scope, config.contains("unet") ? config["unet"] : Json()) : models::UnetConfig::parse(config.value("unet", Json()));
  sizes.context_dim = text.width();
  const models::UnclipUnet net(scope, sizes);
  const auto denoiser = denoiser_of(net, decoder);
  auto options = o.unet;
  options.batch = run.batch_size(8);
  options.seed = run.seed();
  if (run.dry_run()) return plan_unet(o, run, net, vae, count, text.context());
  const auto bpe = text::ClipBpe::open(known.vocabulary);
  const auto captions = caption_ids(bpe, array.read_strings(), choices, text.context());
  const auto settings = loop_settings(o, run);
  std::vector<std::int32_t> all(static_cast<std::size_t>(count));
  std::iota(all.begin(), all.end(), 0);
  const at::Tensor moments = encoded(o, run, vae, all, device);
  const double target = config.value("target_condition", 1024.0);
  train::StepLoop loop(start.made(), settings);
  const auto& curve = loop.run("refiner", [&](std::int64_t step) {
    const auto condition = [&](const std::vector<std::int64_t>& rows, const at::Tensor& dropped) {
      return train::caption_condition(text, net, captions, decoder.size_condition, target, rows, dropped, options.seed, step, device);
    };
    return train::denoise_train_step(denoiser, moments, vae.config().scale_factor, condition, device, options, step);
  });
  auto tensors = checkpoint(o, loop, vae_dict, "quant_conv.weight");
  tensors.insert(known.tensors.begin(), known.tensors.end());
  decoder.write(config);
  config["unet"] = sizes.json();
  config["target_condition"] = target;
  config.update(vae.config().json());
  finish(o, run, config, tensors, curve, loop);
  write_file_atomic((std::filesystem::path(o.out.path) / std::filesystem::path(known.vocabulary).filename()).string(), read_file(known.vocabulary));
}

}  // namespace decode_train

inline void decode_train_verb(const DecodeTrainOptions& o, cli::Run& run) {
  nn::set_threads(run.threads());
  const at::Device device = nn::open_device(run.options().device, run.dry_run());
  switch (o.part) {
    case DecoderPart::unet: return decode_train::unet(o, run, device);
    case DecoderPart::vae: return decode_train::vae(o, run, device);
    case DecoderPart::refiner: return decode_train::refiner(o, run, device);
  }
}

}  // namespace me2
