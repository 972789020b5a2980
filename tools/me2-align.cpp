// me2-align: one subject's betas into the latent space that all subjects share.
#include <ATen/core/Tensor.h>

#include "base/json.h"
#include "cli/tool.h"
#include "models/align_stage.h"
#include "nn/device.h"
#include "train/align_fit.h"

namespace me2 {
template <>
const EnumNames<models::TrialSplit>& enum_names() {
  static const EnumNames<models::TrialSplit> names{
      {models::TrialSplit::train, "train"}, {models::TrialSplit::test, "test"}, {models::TrialSplit::all, "all"}};
  return names;
}
template <>
const EnumNames<models::Brain>& enum_names() {
  static const EnumNames<models::Brain> names{{models::Brain::own, "own"}, {models::Brain::mean, "mean"}, {models::Brain::shuffled, "shuffled"}};
  return names;
}
template <>
const EnumNames<models::Average>& enum_names() {
  static const EnumNames<models::Average> names{{models::Average::repeats, "repeats"}, {models::Average::none, "none"}};
  return names;
}

namespace {

struct ApplyOptions {
  InputPath subject_store;
  OutputPath output;
  ModelPath model;
  std::string subject;
  std::optional<std::int64_t> ridge;
  models::TrialSplit split = models::TrialSplit::all;
  std::optional<models::Average> average;
  models::Brain brain = models::Brain::own;
  void describe(Describe& d) {
    d.positional("SUBJECT", subject_store, "subject store; reads betas f4 [trial, voxel]");
    d.positional("OUTPUT", output, "stage store; writes latent f4 [sample, hidden], or clip_tokens f4 [sample, token, feature] when the model is of fit --to tokens");
    d.required("--model", model, "model directory or official checkpoint");
    d.option("--subject", subject, "whose ridge to use, subjNN (default: as the store says); a checkpoint of one subject has only that one");
    d.option("--ridge", ridge, "position of the ridge in the checkpoint, from 0, instead of --subject");
    d.option("--split", split, "trials to keep; all: train and test, without those a store marks as unused");
    d.option("--average", average, "repeats: one row for each stimulus, ascending, the outputs of its trials averaged as in me2-embed brain; none: one row for each trial "
                                   "(default: none for latents, repeats for clip_tokens)");
    d.option("--brain", brain, "for floors: mean, the mean of the training trials in place of every trial's betas; shuffled, those of another image");
  }
};

void apply(const ApplyOptions& o, cli::Run& run) {
  nn::set_threads(run.threads());
  const auto device = nn::open_device(run.options().device, run.dry_run());
  const models::AlignStage stage(o.subject_store.path, weights::StateDict::open(o.model.path),
                                 {o.subject, o.ridge, o.split, o.average, nn::parse_dtype(run.dtype_name()), o.brain, run.dry_run() ? device : c10::Device(c10::kCPU)});
  const auto spec = stage.spec();
  const auto rows = static_cast<std::int64_t>(spec.stimulus.size());
  if (run.dry_run()) {
    store::Shape shape = spec.arrays[0].row_shape;
    shape.insert(shape.begin(), rows);
    run.plan().array(spec.arrays[0].name, "f4", shape);
    run.plan_work(stage.work(run.batch_size(64)));
    return;
  }
  store::StageWriter out(o.output.path, spec, run.write_options());
  auto progress = run.progress("trials", rows);
  stage.run(out, run.batch_size(64), [&](std::int64_t n) { progress.advance(n); });
  out.publish(run.provenance());
}

void fit(const train::FitOptions& o, cli::Run& run) {
  nn::set_threads(run.threads());
  nn::open_device(run.options().device, run.dry_run());  // one that is not there is an error here too, though a fit is the processor's work
  if (run.dry_run()) return run.plan_work(train::fit_work(o));
  const std::string report = train::fit_subject(o, run.provenance().dump());
  if (run.options().json) run.print(report + "\n");
}

}  // namespace
ME2_TOOL("me2-align", "Map a subject's voxels into the shared latent space", {cli::verb("apply", "project betas through the subject's ridge", apply),
          cli::verb("fit", "a closed-form ridge for a new subject; on the processor", fit)})
}  // namespace me2
