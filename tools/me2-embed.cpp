// me2-embed: from the shared latent space to CLIP-shaped tokens.
#include <ATen/core/Tensor.h>

#include "cli/tool.h"
#include "models/brain_stage.h"
#include "nn/device.h"

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
  const auto device = nn::open_device(run.options().device);
  const auto dtype = run.dry_run() ? c10::kFloat : nn::parse_dtype(run.dtype_name());
  const models::BrainStage stage(o.latents.path, weights::StateDict::open(o.model.path), {o.average, o.only, dtype, device});
  const auto spec = stage.spec();
  const auto rows = static_cast<std::int64_t>(spec.stimulus.size());
  if (run.dry_run()) {
    for (const auto& array : spec.arrays) {
      store::Shape shape = array.row_shape;
      shape.insert(shape.begin(), rows);
      run.plan().array(array.name, "f4", shape);
    }
    run.plan().memory("backbone", stage.weight_bytes());
    return;
  }
  store::StageWriter out(o.output.path, spec, run.write_options());
  auto progress = run.progress("samples", rows);
  stage.run(out, run.batch_size(24), [&](std::int64_t n) { progress.advance(n); });
  out.publish(run.provenance());
}

}  // namespace
ME2_TOOL("me2-embed", "Embed brain activity in CLIP space", {cli::verb("brain", "latents through the backbone and its heads", brain)})
}  // namespace me2
