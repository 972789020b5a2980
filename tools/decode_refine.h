// me2-decode refine: pictures improved by SDXL, with the predicted captions as prompts.
#pragma once
#include <filesystem>

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include "base/log.h"
#include "base/random.h"
#include "base/signals.h"
#include "cli/tool.h"
#include "diffusion/image_stage.h"
#include "diffusion/sdxl_refine.h"
#include "nn/device.h"
#include "text/clip_bpe.h"
#include "vision/resize.h"

namespace me2 {

struct RefineOptions {
  InputPath recon, captions;
  OutputPath out;
  ModelPath model;
  std::optional<ModelPath> text_model, vae;
  std::optional<InputPath> vocabulary, noise;
  std::string negative = diffusion::kNegativePrompt;
  std::int64_t timepoint = 13, steps = 25, size = 768, resize = 0, vae_rows = 0;
  double guidance = 5;
  diffusion::SamplerKind sampler = diffusion::SamplerKind::euler;
  bool with_float = false;
  void describe(Describe& d) {
    d.positional("RECON", recon, "stage store with image");
    d.positional("CAPTIONS", captions, "stage store with caption, joined by stimulus");
    d.positional("OUTPUT", out, "stage store; writes image u1 [sample, 3, H, W]");
    d.required("--model", model, "SDXL checkpoint (single-file .safetensors) or model directory");
    d.option("--text-model", text_model, "SDXL checkpoint whose text encoders read the captions (the model's own)");
    d.option("--vae", vae, "autoencoder in place of the checkpoint's own");
    d.option("--vocabulary", vocabulary, "CLIP's bpe_simple_vocab_16e6.txt.gz or merges.txt (beside the model)");
    d.option("--negative", negative, "negative prompt");
    d.option("--timepoint", timepoint, "how much of the schedule is run: more follows the caption, less keeps the picture");
    d.option("--steps", steps, "steps of the whole schedule");
    d.option("--guidance", guidance, "guidance scale; 1 switches it off");
    d.option("--sampler", sampler, "sampler");
    d.option("--size", size, "pixels of a side to work at, unless the noise store decides it");
    d.option("--resize", resize, "side of the written pictures, bilinear without antialias (published: 256); 0: as decoded");
    d.option("--float", with_float, "also write image_f4, the pictures before rounding to bytes");
    d.option("--noise", noise, "take the draws from this store: posterior_noise, noise [sample, 4, h, w]");
    d.option("--vae-rows", vae_rows, "decode the large maps in strips of this many rows, in less memory; 0: whole");
  }
};

// CLIP's byte-pair merges in the model's folder, or in the folder its file lies in.
inline std::string clip_vocabulary_beside(const std::string& model) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::is_directory(model) ? fs::path(model) : fs::path(model).parent_path();
  for (const auto* name : {"bpe_simple_vocab_16e6.txt.gz", "bpe_simple_vocab_16e6.txt", "bpe_simple_vocab.txt", "merges.txt"})
    if (fs::exists(folder / name)) return folder / name;
  throw usage_error("--vocabulary: no bpe_simple_vocab_16e6.txt.gz or merges.txt beside {}", model);
}

inline diffusion::PromptIds prompt_ids(const text::ClipBpe& bpe, const std::string& prompt, std::int64_t context, bool* truncated = nullptr) {
  const auto length = static_cast<std::size_t>(context);
  const auto a = bpe.encode(prompt, text::ClipFlavour::hugging_face, length), b = bpe.encode(prompt, text::ClipFlavour::open_clip, length);
  if (truncated) *truncated |= a.truncated || b.truncated;
  return {at::tensor(a.ids).unsqueeze(0), at::tensor(b.ids).unsqueeze(0)};
}

inline void refine(const RefineOptions& o, cli::Run& run) {
  const c10::InferenceMode inference;
  nn::set_threads(run.threads());
  const at::Device device = nn::open_device(run.options().device, run.dry_run());
  const auto dtype = nn::parse_dtype(run.dtype_name());
  const store::StageReader in(o.recon.path), captions(o.captions.path);
  const auto caption_row = diffusion::rows_by_stimulus(captions, in.stimulus());
  const auto texts = captions.array("caption").read_strings();
  const auto bpe = text::ClipBpe::open(o.vocabulary ? o.vocabulary->path : clip_vocabulary_beside(o.model.path));
  const auto vae_model = o.vae ? weights::StateDict::open(o.vae->path) : weights::StateDict();
  const auto text_model = o.text_model ? weights::StateDict::open(o.text_model->path) : weights::StateDict();
  const auto refiner = diffusion::SdxlRefiner::open(weights::StateDict::open(o.model.path), {dtype, at::kFloat, device}, o.text_model ? &text_model : nullptr, o.vae ? &vae_model : nullptr);
  const auto f = refiner.vae().config().factor(), channels = refiner.vae().config().embed_dim;
  std::int64_t height = o.size / f, width = o.size / f;
  std::optional<store::Group> drawn;
  if (o.noise) {
    drawn = store::Group::open(o.noise->path);
    for (const auto* name : {"posterior_noise", "noise"})
      if (const auto s = drawn->array(name).shape(); s.size() != 4 || s[0] != in.samples() || s[1] != channels)
        throw data_error("{}/{}: shape [{}] found, [{}, {}, height, width] expected", o.noise->path, name, fmt::join(s, ", "), in.samples(), channels);
    height = drawn->array("noise").shape()[2];
    width = drawn->array("noise").shape()[3];
  } else if (const auto cells = std::int64_t{1} << (refiner.unet().config().channel_mult.size() - 1); o.size <= 0 || o.size % (f * cells)) {
    throw usage_error("--size: a multiple of {} pixels expected, {} given", f * cells, o.size);
  }
  const diffusion::ImageStage stage{in.stimulus(), o.resize > 0 ? o.resize : height * f, o.resize > 0 ? o.resize : width * f, o.with_float, {}};
  if (run.dry_run()) {
    run.plan().array("image", "u1", {in.samples(), 3, stage.height, stage.width});
    return run.plan_work(refiner.work({channels, height, width}, {o.steps, o.timepoint, o.guidance, o.sampler}, o.vae_rows).times(static_cast<double>(in.samples())));
  }
  const auto negative = refiner.negative(prompt_ids(bpe, o.negative, refiner.context()));
  auto write_options = run.write_options();
  write_options.rows_per_unit = diffusion::image_unit_rows(in.samples());
  store::StageWriter out(o.out.path, stage.spec(), write_options);
  auto progress = run.progress("pictures", in.samples());
  bool said = false;
  for (const auto& unit : out.pending()) {
    std::vector<at::Tensor> pictures;
    for (std::int64_t row = unit.first; row < unit.first + unit.count; ++row) {
      const auto& caption = texts.at(static_cast<std::size_t>(caption_row[row]));
      bool truncated = false;
      const auto prompt = refiner.prompt(prompt_ids(bpe, caption, refiner.context(), &truncated));
      if (truncated && !said) log_warning("captions longer than {} tokens are cut, as in the reference (first: stimulus {})", refiner.context(), in.stimulus()[row]);
      said |= truncated;
      at::Tensor draws[2];
      const char* names[] = {"posterior_noise", "noise"};
      for (int i = 0; i < 2; ++i) {
        draws[i] = at::empty({1, channels, height, width});
        if (drawn) drawn->array(names[i]).read_rows(row, 1, draws[i].mutable_data_ptr<float>());
        else fill_normal({draws[i].mutable_data_ptr<float>(), static_cast<std::size_t>(draws[i].numel())}, {run.seed(), i ? "refine noise" : "refine posterior", in.stimulus()[row], 0});
      }
      diffusion::SamplerHooks hooks;
      hooks.entering = [&](std::int64_t, const at::Tensor&) { check_stop(); };
      hooks.noise = [&](std::int64_t step) {
        at::Tensor n = at::empty({1, channels, height, width});
        fill_normal({n.mutable_data_ptr<float>(), static_cast<std::size_t>(n.numel())}, {run.seed(), "refine step", in.stimulus()[row], static_cast<std::uint32_t>(step)});
        return n.to(device);
      };
      const at::Tensor image = vision::resize(diffusion::read_pictures(in, row, 1), height * f, width * f);
      const at::Tensor latent = refiner.latent(image, prompt, negative, draws[0], draws[1], {o.steps, o.timepoint, o.guidance, o.sampler}, hooks);
      pictures.push_back(refiner.picture(latent, o.vae_rows).cpu());
      progress.advance();
    }
    const at::Tensor made = at::cat(pictures);
    diffusion::write_pictures(out, stage, unit, o.resize > 0 ? vision::resize(made, o.resize, o.resize) : made);
  }
  out.publish(run.provenance());
}

}  // namespace me2
