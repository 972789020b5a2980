// me2-prior: from the tokens the backbone predicts to CLIP image tokens, by diffusion.
#include <ATen/core/Tensor.h>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/tool.h"
#include "diffusion/prior_stage.h"
#include "nn/device.h"
#include "train/prior_training.h"

namespace me2 {
namespace {

struct SampleOptions {
  InputPath tokens;
  OutputPath output;
  ModelPath model;
  std::int64_t steps = 20;
  double guidance = 1;
  std::int64_t draws = 1;
  bool mean = false;
  std::optional<InputPath> recall;
  double temperature = 0.002;
  std::optional<InputPath> noise;
  std::optional<OutputPath> save_noise;
  bool autocast_eps = false;
  void describe(Describe& d) {
    d.positional("TOKENS", tokens, "stage store; reads tokens [sample, token, feature]");
    d.positional("OUTPUT", output, "stage store; writes clip_tokens [sample, token, feature]");
    d.required("--model", model, "model directory or official checkpoint");
    d.option("--steps", steps, "fewer than the model's schedule has (100): DDIM, which calls the network once less than that; as many: DDPM");
    d.option("--guidance", guidance, "classifier-free guidance; 1: none");
    d.option("--draws", draws, "draws for each sample, as neighbouring rows with an array draw");
    d.option("--mean", mean, "with --draws: their mean, one row for each sample, nearer to the truth than any draw");
    d.option("--recall", recall, "target store (me2-embed images): also write the array recalled, the tokens of its images weighted by the retrieval head (array clip), the images asked for left out; not in the paper");
    d.option("--recall-temperature", temperature, "of the softmax over cosines that weights them: low, the nearest image's tokens; high, the mean of all");
    d.option("--noise", noise, "store with noise [call, sample, token, feature], the first being the starting latent, instead of the generator");
    d.option("--save-noise", save_noise, "write the noise that was used to such a store");
    d.option("--autocast-eps", autocast_eps, "norms after attention with eps 1e-3, which the official training had under float16 autocast, instead of 1e-5");
  }
};

void sample(const SampleOptions& o, cli::Run& run) {
  nn::set_threads(run.threads());
  nn::hold_freed_memory();
  const auto device = nn::open_device(run.options().device, run.dry_run());
  const auto dtype = nn::parse_dtype(run.dtype_name());
  if (run.options().device == "cpu" && dtype == c10::kHalf) throw usage_error("--dtype f16: on the CPU the prior runs in f32 or bf16");
  const auto write = run.write_options();
  if (o.save_noise && (write.resume || write.shard_count > 1)) throw usage_error("--save-noise: the whole store in one run; not with --resume or --shard");
  diffusion::PriorStage stage(o.tokens.path, weights::StateDict::open(o.model.path),
                              {o.steps, o.guidance, o.draws, o.mean, run.seed(), o.recall ? o.recall->path : "", o.temperature, o.noise ? o.noise->path : "", o.save_noise ? o.save_noise->path : "",
                               o.autocast_eps, dtype, device});
  const auto spec = stage.spec();
  const auto rows = static_cast<std::int64_t>(spec.stimulus.size());
  if (run.dry_run()) {
    run.plan().array("clip_tokens", "f4", {rows, spec.arrays[0].row_shape[0], spec.arrays[0].row_shape[1]});
    run.plan_work(stage.work(run.batch_size(8)));
    run.plan().note("network calls", fmt::format("{} for each sample{}", stage.plan().steps.size(), o.guidance == 1 ? "" : ", and as many without condition"));
    return;
  }
  store::StageWriter out(o.output.path, spec, write);
  auto progress = run.progress("samples", rows);
  stage.run(out, run.batch_size(8), [&](std::int64_t n) { progress.advance(n); });
  out.publish(run.provenance());
}

void train_prior(const train::PriorTrainOptions& o, cli::Run& run) {
  auto context = train::make_context(run.options().device, run.dtype_name(), run.threads(), run.seed(), run.batch_size(0), run.dry_run());
  context.resume = run.options().resume;
  context.overwrite = run.options().overwrite;
  if (train::finished_before(o.model.path, context)) return log_info("{} is complete", o.model.path);
  if (run.dry_run()) return run.plan_work(train::prior_training_work(o, context));
  context.config_digest = run.config_digest();
  context.provenance = run.provenance().dump();
  const std::string last = train::train_prior(o, context);
  if (run.options().json) run.print(last + "\n");
}

}  // namespace
ME2_TOOL("me2-prior", "Draw CLIP image tokens from the diffusion prior", {cli::verb("sample", "DDIM or DDPM sampling, given backbone tokens", sample),
          cli::verb("train", "the prior alone, on stored tokens", train_prior)})
}  // namespace me2
