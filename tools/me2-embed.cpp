// me2-embed: from the shared latent space to CLIP-shaped tokens.
#include <numeric>
#include <set>

#include <ATen/core/Tensor.h>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/tool.h"
#include "models/brain_stage.h"
#include "models/image_targets.h"
#include "nn/device.h"
#include "train/distributed.h"
#include "train/encoder_stage.h"
#include "train/launch.h"
#include "train/trainer.h"

namespace me2 {
template <>
const EnumNames<models::Average>& enum_names() {
  static const EnumNames<models::Average> names{{models::Average::repeats, "repeats"}, {models::Average::none, "none"}};
  return names;
}
template <>
const EnumNames<models::BrainHeads>& enum_names() {
  static const EnumNames<models::BrainHeads> names{{models::BrainHeads::all, "all"}, {models::BrainHeads::clip, "clip"}};
  return names;
}

namespace {

struct BrainCommand {
  InputPath latents;
  OutputPath output;
  ModelPath model;
  models::Average average = models::Average::repeats;
  models::BrainHeads only = models::BrainHeads::all;
  void describe(Describe& d) {
    d.positional("LATENT", latents, "stage store; reads latent [sample, hidden]");
    d.positional("OUTPUT", output, "stage store; writes tokens and clip [sample, token, feature], lowlevel [sample, 4, y, x] when the model has that head");
    d.required("--model", model, "model directory or official checkpoint");
    d.option("--average", average, "repeats: one row for each stimulus, ascending, the outputs of its trials averaged (one trial counts thrice, two as a, a, b); none: one row for each trial");
    d.option("--only", only, "clip: the retrieval head alone; neither the prior's nor the low-level head's weights are read");
  }
};

void brain(const BrainCommand& o, cli::Run& run) {
  nn::set_threads(run.threads());
  nn::hold_freed_memory();
  const auto device = nn::open_device(run.options().device, run.dry_run());
  const auto dtype = nn::parse_dtype(run.dtype_name());
  const models::BrainStage stage(o.latents.path, weights::StateDict::open(o.model.path), {o.average, o.only, dtype, device});
  const auto spec = stage.spec();
  const auto rows = static_cast<std::int64_t>(spec.stimulus.size());
  if (run.dry_run()) {
    for (const auto& array : spec.arrays) {
      store::Shape shape = array.row_shape;
      shape.insert(shape.begin(), rows);
      run.plan().array(array.name, "f4", shape);
    }
    run.plan_work(stage.work(run.batch_size(24)));
    return;
  }
  store::StageWriter out(o.output.path, spec, run.write_options());
  auto progress = run.progress("samples", rows);
  stage.run(out, run.batch_size(24), [&](std::int64_t n) { progress.advance(n); });
  out.publish(run.provenance());
}

struct ImagesCommand {
  InputPath stimuli;
  OutputPath output;
  std::optional<ModelPath> model, vae, convnext;
  std::optional<InputPath> only;
  weights::Stored stored = weights::Stored::f4;
  std::int64_t size = 0, augmented = 0;
  void describe(Describe& d) {
    d.positional("STIMULI", stimuli, "stimulus store; reads image u1 [sample, 3, H, W]");
    d.positional("OUTPUT", output, "target store; writes clip_tokens, clip_pooled, vae_latent, cnx_feature, cnx_feature_aug as the networks given allow");
    d.option("--model", model, "OpenCLIP checkpoint or model directory (ViT-bigG-14): tokens and pooled embedding");
    d.option("--vae", vae, "SD image-variation autoencoder (sd_image_var_autoenc.pth): targets of the low-level head");
    d.option("--convnext", convnext, "ConvNeXt-XL (convnext_xlarge_alpha0.75_fullckpt.pth): auxiliary targets of the low-level head");
    d.option("--only", only, "store with the array stimulus: these stimuli alone (the true tokens of a test set)");
    d.option("--stored", stored, "floats as they are (f4) or in half the space (f2)");
    d.option("--augmented", augmented, "also this many colour-jittered variants of each picture, each array but clip_pooled as NAME_augmented: what me2-embed train --image-aug draws from");
    d.option("--lowlevel-size", size, "pixels the autoencoder and ConvNeXt see (0: the autoencoder's own; published: 224)");
  }
};

void images(const ImagesCommand& o, cli::Run& run) {
  train::expect_at_least("--augmented", static_cast<double>(o.augmented), 0);
  if (!o.model && !o.vae && !o.convnext) throw usage_error("at least one of --model, --vae and --convnext is needed");
  nn::set_threads(run.threads());
  const auto device = nn::open_device(run.options().device, run.dry_run());
  const store::Group stimuli = store::Group::open(o.stimuli.path);
  const auto image = stimuli.array("image");
  if (image.shape().size() != 4 || image.shape()[1] != 3) throw data_error("{}: images [sample, 3, H, W] expected", image.path());
  const auto path = [](const std::optional<ModelPath>& p) { return p ? p->path : std::string(); };
  auto networks = models::load_target_networks(path(o.model), path(o.vae), path(o.convnext), nn::parse_dtype(run.dtype_name()), device);
  networks.seed = run.seed();
  networks.augmented = o.augmented;
  if (o.size) networks.lowlevel_size = o.size;
  store::StageSpec spec;
  spec.kind = "targets";
  spec.arrays = models::target_arrays(networks, o.stored == weights::Stored::f2 ? store::DType::f2 : store::DType::f4);
  std::vector<std::int64_t> picked(static_cast<std::size_t>(image.shape()[0]));
  std::iota(picked.begin(), picked.end(), 0);
  if (stimuli.has_array("stimulus")) spec.stimulus = stimuli.array("stimulus").read<std::int32_t>();
  else spec.stimulus.assign(picked.begin(), picked.end());  // the row is the stimulus
  if (o.only) {
    const auto given = store::Group::open(o.only->path).array("stimulus").read<std::int32_t>();
    const std::set<std::int32_t> wanted(given.begin(), given.end());
    std::erase_if(picked, [&](std::int64_t row) { return !wanted.contains(spec.stimulus[static_cast<std::size_t>(row)]); });
    if (picked.size() < wanted.size()) throw data_error("{}: {} of the {} stimuli of {} are not there", o.stimuli.path, wanted.size() - picked.size(), wanted.size(), o.only->path);
    std::erase_if(spec.stimulus, [&](std::int32_t id) { return !wanted.contains(id); });
  }
  const auto rows = static_cast<std::int64_t>(picked.size());
  if (run.dry_run()) {
    for (const auto& array : spec.arrays) {
      store::Shape shape = array.row_shape;
      shape.insert(shape.begin(), rows);
      run.plan().array(array.name, store::dtype_name(array.dtype), shape);
    }
    run.plan_work(models::target_work(networks, image.shape(), run.batch_size(16)).times(static_cast<double>(rows)));
    return;
  }
  store::StageWriter out(o.output.path, spec, run.write_options());
  auto progress = run.progress("images", rows);
  models::write_image_targets(image, picked, spec.stimulus, networks, out, run.batch_size(16), [&](std::int64_t n) { progress.advance(n); });
  out.publish(run.provenance());
}

void encoder(const train::EncoderOptions& o, cli::Run& run) {
  nn::set_threads(run.threads());
  if (run.dry_run()) {
    run.plan().note("steps", std::to_string(o.steps));
    return run.plan_work(train::encoder_work(o, run.batch_size(64)));
  }
  auto progress = run.progress("steps", o.steps);
  const auto curve = train::train_encoder(o, run.batch_size(64), run.seed(), run.options().resume, run.provenance(), run.config_digest(),
                                          [&](std::int64_t step, const train::EncoderLosses& l) {
                                            progress.set_done(step);
                                            progress.set_note(fmt::format("loss {:.3f}, batch top-1 {:.2f}", l.total, l.batch_top1));
                                          });
  if (run.options().json) run.print(curve.dump() + "\n");
}

void train_model(const train::TrainOptions& o, cli::Run& run) {
  if (o.nproc < 1) throw usage_error("--nproc: at least 1 expected, {} given", o.nproc);
  const auto world = train::world_from_environment();
  if (world.size > 1 && o.nproc > 1 && !train::launched_here())
    throw usage_error("--nproc {}: this is already one of {} processes that a launcher started", o.nproc, world.size);
  const auto threads = world.size > 1 && train::launched_here() ? std::max(1, run.threads() / world.size) : run.threads();
  const bool several = o.nproc > 1 && world.size == 1 && !run.dry_run();
  if (several) {
    nn::set_threads(1);
    if (const int status = train::launch_ranks(o.nproc, run.threads())) std::_Exit(status);
    return;
  }
  std::string device = run.options().device;
  if (device == "cuda" && world.size > 1) device = fmt::format("cuda:{}", world.local_rank);
  auto context = train::make_context(device, run.dtype_name(), threads, run.seed(), run.batch_size(0), run.dry_run());
  context.resume = run.options().resume;
  context.overwrite = run.options().overwrite;
  if (run.dry_run()) {
    context.dry_run = true;
    const train::Trainer trainer(o, context);
    run.plan().note("training", trainer.plan());
    return run.plan_work(trainer.work());
  }
  const bool finished = train::finished_before(o.model.path, context);
  if (world.size == 1 && finished) return log_info("{} is complete", o.model.path);
  context.config_digest = run.config_digest();
  context.provenance = run.provenance().dump();
  if (world.rank > 0) {  // rank 0 speaks for all
    LogSettings quiet = log_settings();
    quiet.level = LogLevel::error;
    set_log(quiet);
    set_progress_mode(ProgressMode::never);
  }
  std::unique_ptr<train::Peers> peers;
  if (world.size > 1) {
    peers = train::join_peers(world, context.device);
    const at::Tensor complete = train::flag(finished);
    peers->broadcast(complete);
    if (train::is_set(complete)) {
      peers->leave();
      return log_info("{} is complete", o.model.path);
    }
  }
  try {
    train::Trainer trainer(o, context, peers.get());
    const std::string last = trainer.run();
    if (peers) peers->leave();
    if (run.options().json && world.rank == 0) run.print(last + "\n");
  } catch (const std::exception& e) {
    if (peers) peers->fail(e.what());
    throw;
  }
}

}  // namespace

ME2_TOOL("me2-embed", "Embed brain activity and images in CLIP space",
         {cli::verb("brain", "latents through the backbone and its heads", brain),
          cli::verb("images", "stimuli through the image encoders, once: the targets of training", images),
          cli::verb("encoder", "train a small CLIP image and text tower on captioned stimuli", encoder),
          cli::verb("train", "ridge, backbone, heads and prior jointly: pretrain on many subjects or fine-tune one", train_model)})
}  // namespace me2
