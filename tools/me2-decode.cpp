// me2-decode: image-embedding tokens, low-level latents and captions -> pictures.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include "base/json.h"
#include "base/signals.h"
#include "cli/tool.h"
#include "decode_refine.h"
#include "decode_train_parts.h"
#include "diffusion/image_stage.h"
#include "diffusion/select_draw.h"
#include "diffusion/unclip.h"
#include "diffusion/unclip_noise.h"
#include "nn/count_work.h"
#include "nn/device.h"
#include "vision/resize.h"

namespace me2 {
namespace {

at::Device start(const cli::Run& run) {
  nn::set_threads(run.threads());
  return nn::open_device(run.options().device, run.dry_run());
}

store::WriteOptions image_options(const cli::Run& run, std::int64_t rows) {
  auto options = run.write_options();
  options.rows_per_unit = diffusion::image_unit_rows(rows);
  return options;
}

at::Tensor resized(const at::Tensor& pictures, std::int64_t size) {  // Fidelity: torchvision 0.16 resizes tensors without antialias
  return size > 0 ? vision::resize(pictures, size, size) : pictures;
}

struct UnclipOptions {
  InputPath tokens;
  OutputPath out;
  ModelPath model;
  std::optional<ModelPath> vae, encoder;
  std::string array = "clip_tokens";
  std::optional<InputPath> noise;
  std::optional<OutputPath> save_noise;
  std::optional<std::int64_t> steps, size, draws;
  std::optional<double> guidance;
  diffusion::SamplerKind sampler = diffusion::SamplerKind::euler;
  bool select = false, with_float = false;
  std::int64_t resize = 0, vae_rows = 0;
  cli::DTypeOption vae_dtype = cli::DTypeOption::f32;

  void describe(Describe& d) {
    d.positional("CLIP_TOKENS", tokens, "stage store of me2-prior sample; reads clip_tokens [sample, T, D]");
    d.positional("OUTPUT", out, "stage store; writes image u1 [sample, 3, H, W]");
    d.required("--model", model, "unCLIP checkpoint (unclip6_epoch0_step110000.ckpt) or model directory");
    d.option("--vae", vae, "autoencoder in place of the checkpoint's own");
    d.option("--array", array, "array to decode");
    d.option("--steps", steps, "denoising steps (the model's default; published: 38)");
    d.option("--guidance", guidance, "guidance scale; 1 switches it off (the model's default; published: 5)");
    d.option("--sampler", sampler, "sampler");
    d.option("--size", size, "pixels of a picture's side, unless the noise store decides it (the model's default; published: 768)");
    d.option("--draws", draws, "pictures of each sample (1, or what the noise store makes)");
    d.option("--select", select, "keep the draw whose tokens, by --encoder, agree best with the sample's");
    d.option("--encoder", encoder, "OpenCLIP image tower for --select; the unCLIP checkpoint has one");
    d.option("--resize", resize, "side of the written pictures, bilinear without antialias (published: 256); 0: as decoded");
    d.option("--float", with_float, "also write image_f4, the pictures before rounding to bytes");
    d.option("--noise", noise, "take the draws from this store: z, noise, offset, uc_crossattn");
    d.option("--save-noise", save_noise, "write the draws to this store");
    d.option("--vae-rows", vae_rows, "decode the large maps in strips of this many rows, in less memory; 0: whole");
    d.option("--vae-dtype", vae_dtype, "arithmetic of the autoencoder, which the reference keeps out of autocast");
  }
};

void unclip(const UnclipOptions& o, cli::Run& run) {
  const c10::InferenceMode inference;
  const at::Device device = start(run);
  const store::StageReader in(o.tokens.path);
  const auto shape = in.array(o.array).shape();
  diffusion::UnclipDecoder::Options options{nn::parse_dtype(run.dtype_name()), nn::parse_dtype(described::print_one(o.vae_dtype)), device};
  const auto vae = o.vae ? weights::StateDict::open(o.vae->path) : weights::StateDict();
  const auto decoder = diffusion::UnclipDecoder::open(weights::StateDict::open(o.model.path), options, o.vae ? &vae : nullptr);
  const auto& config = decoder.config();
  if (shape.size() != 3 || shape[2] != decoder.unet().config().context_dim)
    throw data_error("{}/{}: shape [{}] found; this U-Net reads [sample, tokens, {}]", o.tokens.path, o.array, fmt::join(shape, ", "), decoder.unet().config().context_dim);
  if (o.select != o.encoder.has_value()) throw usage_error("--select and --encoder belong together");
  const auto steps = o.steps.value_or(config.steps);
  const double guidance = o.guidance.value_or(config.guidance);
  decoder.denoiser().schedule().indices(steps);  // refuses impossible counts before any work

  diffusion::UnclipNoise::Sizes sizes{in.stimulus(), o.draws.value_or(o.noise ? 0 : 1), {}, shape[1], shape[2]};
  sizes.latent = decoder.latent_shape(o.size.value_or(config.size));
  if (sizes.draws < (o.noise && !o.draws ? 0 : 1)) throw usage_error("--draws: 1 or more expected, {} given", sizes.draws);
  const auto noise = o.noise ? diffusion::UnclipNoise::stored(o.noise->path, sizes) : diffusion::UnclipNoise::generated(run.seed(), sizes);
  const std::int64_t draws = noise.sizes().draws, rows = o.select ? in.samples() : noise.sizes().rows(), factor = decoder.vae().config().factor();
  const bool guided = guidance != 1 && !config.zero_condition;

  diffusion::ImageStage stage;
  stage.height = o.resize > 0 ? o.resize : noise.sizes().latent[1] * factor;
  stage.width = o.resize > 0 ? o.resize : noise.sizes().latent[2] * factor;
  stage.with_float = o.with_float;
  for (std::int64_t row = 0; row < rows; ++row) {
    stage.stimulus.push_back(in.stimulus()[o.select ? row : row / draws]);
    if (draws > 1) stage.draw.push_back(static_cast<std::int32_t>(o.select ? 0 : row % draws));
  }
  if (run.dry_run()) {
    run.plan().array("image", "u1", {rows, 3, stage.height, stage.width}).note("denoising", fmt::format("{} steps, guidance {}, {} draws of {} samples", steps, guidance, draws, in.samples()));
    const auto calls = static_cast<double>(diffusion::sampler_calls(o.sampler, steps));
    return run.plan_work(decoder.work(shape[1], noise.sizes().latent, run.batch_size(4), calls, guidance != 1, o.vae_rows).times(static_cast<double>(noise.sizes().rows())));
  }
  std::optional<diffusion::DrawSelector> selector;
  if (o.select) selector.emplace(weights::StateDict::open(o.encoder->path), options.dtype, device);
  store::StageWriter out(o.out.path, stage.spec(), image_options(run, rows));
  if (o.save_noise) {
    store::StageWriter saved(o.save_noise->path, diffusion::UnclipNoise::spec(noise.sizes()), run.write_options());
    for (const auto& unit : saved.pending()) diffusion::UnclipNoise::write(saved, unit, noise.read(unit.first, unit.count, true));
    saved.publish(run.provenance());
  }

  const auto pictures = [&](std::int64_t first, std::int64_t count, Progress& progress) {  // rows of pictures, [count, 3, H, W]
    std::vector<at::Tensor> done;
    for (std::int64_t at = first; at < first + count;) {
      const std::int64_t n = std::min<std::int64_t>(run.batch_size(4), first + count - at), sample = at / draws;
      const at::Tensor tokens = diffusion::read_finite(in, o.array, sample, (at + n - 1) / draws - sample + 1);
      const at::Tensor which = (at::arange(at, at + n) / draws).floor().to(at::kLong) - sample;
      auto drawn = noise.read(at, n, guided);
      for (auto* t : {&drawn.z, &drawn.noise, &drawn.offset, &drawn.uc_crossattn})
        if (t->defined()) *t = t->to(device);
      diffusion::SamplerHooks hooks;
      hooks.noise = [&](std::int64_t step) { return noise.step(at, n, step).to(device); };
      hooks.entering = [&](std::int64_t step, const at::Tensor&) {
        check_stop();
        progress.set_note(fmt::format("step {}/{}", step + 1, steps));
      };
      const at::Tensor latent = decoder.latent(tokens.index_select(0, which).to(device), drawn, o.sampler, steps, guidance, hooks);
      for (std::int64_t i = 0; i < n; ++i)
        if (!at::isfinite(latent[i]).all().item<bool>())
          throw data_error("sample {} (stimulus {}): its latent has values that are not finite", (at + i) / draws, in.stimulus()[(at + i) / draws]);
      done.push_back(decoder.picture(latent, o.vae_rows).cpu());
      progress.advance(n);
      at += n;
    }
    return at::cat(done);
  };
  auto progress = run.progress("pictures", o.select ? rows * draws : rows);
  for (const auto& unit : out.pending()) {
    at::Tensor made = pictures(o.select ? unit.first * draws : unit.first, o.select ? unit.count * draws : unit.count, progress);
    if (o.select) {
      const at::Tensor best = selector->agreement(made, diffusion::read_finite(in, o.array, unit.first, unit.count)).argmax(1);
      for (std::int64_t i = 0; i < unit.count && draws > 1; ++i) stage.draw[unit.first + i] = best[i].item<int>();
      made = made.index_select(0, best + at::arange(unit.count) * draws);
    }
    diffusion::write_pictures(out, stage, unit, resized(made, o.resize));
  }
  out.publish(run.provenance());
}

struct LowlevelOptions {
  InputPath lowlevel;
  OutputPath out;
  ModelPath model;
  std::string array = "lowlevel";
  std::int64_t resize = 0, vae_rows = 0;
  bool with_float = false;
  void describe(Describe& d) {
    d.positional("LOWLEVEL", lowlevel, "stage store of me2-embed brain; reads lowlevel [sample, 4, h, w]");
    d.positional("OUTPUT", out, "stage store; writes image u1 [sample, 3, H, W]");
    d.required("--model", model, "autoencoder (sd_image_var_autoenc.pth) or model directory");
    d.option("--array", array, "array to decode");
    d.option("--resize", resize, "side of the written pictures, bilinear without antialias; 0: as decoded");
    d.option("--float", with_float, "also write image_f4, the pictures before rounding to bytes");
    d.option("--vae-rows", vae_rows, "decode the large maps in strips of this many rows, in less memory; 0: whole");
  }
};

void lowlevel(const LowlevelOptions& o, cli::Run& run) {
  const c10::InferenceMode inference;
  const at::Device device = start(run);
  const store::StageReader in(o.lowlevel.path);
  const auto shape = in.array(o.array).shape();
  const auto vae = models::Vae::open(weights::StateDict::open(o.model.path), models::Vae::Parts::decoder, nn::parse_dtype(run.dtype_name()), device);
  if (shape.size() != 4 || shape[1] != vae.config().embed_dim)
    throw data_error("{}/{}: shape [{}] found, [sample, {}, height, width] expected", o.lowlevel.path, o.array, fmt::join(shape, ", "), vae.config().embed_dim);
  const auto f = vae.config().factor();
  const diffusion::ImageStage stage{in.stimulus(), o.resize > 0 ? o.resize : shape[2] * f, o.resize > 0 ? o.resize : shape[3] * f, o.with_float, {}};
  if (run.dry_run()) {
    run.plan().array("image", "u1", {in.samples(), 3, stage.height, stage.width});
    return run.plan_work(nn::count_work([&] { vae.decode(nn::meta({1, shape[1], shape[2], shape[3]}, nn::parse_dtype(run.dtype_name())), o.vae_rows); }).times(static_cast<double>(in.samples())));
  }
  store::StageWriter out(o.out.path, stage.spec(), image_options(run, in.samples()));
  auto progress = run.progress("pictures", in.samples());
  for (const auto& unit : out.pending()) {
    std::vector<at::Tensor> pictures;
    for (std::int64_t row = unit.first; row < unit.first + unit.count; ++row) {
      const at::Tensor decoded = vae.decode_first_stage(diffusion::read_finite(in, o.array, row, 1).to(device), o.vae_rows).to(at::kFloat);
      pictures.push_back((decoded / 2 + 0.5).clamp_(0, 1).cpu());
      progress.advance();
    }
    diffusion::write_pictures(out, stage, unit, resized(at::cat(pictures), o.resize));
  }
  out.publish(run.provenance());
}

struct BlendOptions {
  InputPath recon, lowlevel;
  OutputPath out;
  double weight = 0.75;
  std::int64_t resize = 0;
  bool with_float = false;
  void describe(Describe& d) {
    d.positional("RECON", recon, "stage store with image");
    d.positional("LOWLEVEL", lowlevel, "stage store of me2-decode lowlevel, joined by stimulus");
    d.positional("OUTPUT", out, "stage store; writes image u1 [sample, 3, H, W]");
    d.option("--weight", weight, "share of RECON in the mix");
    d.option("--resize", resize, "side both are brought to first, bilinear without antialias (published: 256); 0: RECON's");
    d.option("--float", with_float, "also write image_f4, the pictures before rounding to bytes");
  }
};

void blend(const BlendOptions& o, cli::Run& run) {
  const c10::InferenceMode inference;
  if (!(o.weight >= 0 && o.weight <= 1)) throw usage_error("--weight: 0 to 1 expected, {} given", o.weight);
  const store::StageReader recon(o.recon.path), low(o.lowlevel.path);
  const auto shape = recon.array("image").shape();
  low.array("image");
  const auto rows = diffusion::rows_by_stimulus(low, recon.stimulus());
  const diffusion::ImageStage stage{recon.stimulus(), o.resize > 0 ? o.resize : shape.at(2), o.resize > 0 ? o.resize : shape.at(3), o.with_float, {}};
  if (run.dry_run()) {
    run.plan().array("image", "u1", {recon.samples(), 3, stage.height, stage.width});
    Work work;  // each picture read, resized, mixed and written
    work.held = static_cast<std::uint64_t>(40 * (shape.at(2) * shape.at(3) + 8 * stage.height * stage.width));
    work.bytes = static_cast<double>(recon.samples()) * static_cast<double>(60 * (shape.at(2) * shape.at(3) + stage.height * stage.width));
    return run.plan_work(work);
  }
  store::StageWriter out(o.out.path, stage.spec(), image_options(run, recon.samples()));
  for (const auto& unit : out.pending()) {
    std::vector<at::Tensor> pictures;
    for (std::int64_t row = unit.first; row < unit.first + unit.count; ++row) {
      const at::Tensor a = vision::resize(diffusion::read_pictures(recon, row, 1), stage.height, stage.width);
      const at::Tensor b = vision::resize(diffusion::read_pictures(low, rows[row], 1), stage.height, stage.width);
      pictures.push_back(a * o.weight + b * (1 - o.weight));
    }
    diffusion::write_pictures(out, stage, unit, at::cat(pictures).clamp_(0, 1));
  }
  out.publish(run.provenance());
}

}  // namespace

ME2_TOOL("me2-decode", "Turn embedding tokens, low-level latents and captions into pictures",
         {cli::verb("unclip", "decode image-embedding tokens to pictures by diffusion", unclip),
          cli::verb("lowlevel", "decode low-level latents to blurry pictures", lowlevel),
          cli::verb("blend", "mix pictures with their low-level ones", blend),
          cli::verb("refine", "improve pictures by SDXL, with captions as prompts", refine),
          cli::verb("train", "fit the U-Net to tokens, the autoencoder to pictures, or SDXL's U-Net to captions", decode_train_verb)})
}  // namespace me2
