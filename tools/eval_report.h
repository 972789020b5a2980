// me2-eval report: one HTML page from score files and the stores behind them.
#pragma once
#include <c10/core/InferenceMode.h>

#include "base/error.h"
#include "base/file.h"
#include "cli/tool.h"
#include "nn/device.h"
#include "report/build_report.h"

namespace me2 {

struct ReportVerb {
  OutputPath out;
  std::vector<InputPath> scores;
  std::optional<InputPath> truth, recon, refined, lowlevel, captions, references, per_image, brain, targets;
  report::ReportInputs inputs;
  void describe(Describe& d) {
    d.positional("OUTPUT", out, "HTML file to write, self-contained");
    d.required("--scores", scores, "score files of me2-eval score, retrieval or rsa (--out); several are joined");
    d.option("--truth", truth, "the images seen: store, .npy, .pt or folder");
    d.option("--recon", recon, "reconstructions");
    d.option("--refined", refined, "refined reconstructions");
    d.option("--lowlevel", lowlevel, "low-level images");
    d.option("--captions", captions, "predicted captions: store or JSON");
    d.option("--references", references, "reference captions: store or JSON");
    d.option("--per-image", per_image, "CSV of me2-eval score --per-image: scores on the cards, and what they are sorted by");
    d.option("--subject", inputs.subject, "whose scores of --per-image these pictures have, of several subjects (default: what --recon says)");
    d.option("--brain", brain, "brain embeddings, for retrieval examples and the map");
    d.option("--targets", targets, "image embeddings of the same stimuli");
    d.option("--brain-array", inputs.brain_array, "array of --brain");
    d.option("--target-array", inputs.target_array, "array of --targets");
    d.option("--title", inputs.title, "title of the page");
    d.option("--paper", inputs.paper, "40 or 1: show the paper's figures for so many sessions beside ours");
    d.option("--images", inputs.images, "stimuli shown, in the order tested");
    d.option("--thumbnail", inputs.thumbnail, "largest side of a picture on the page, in pixels");
    d.option("--map-points", inputs.map_points, "stimuli on the map");
  }
};

inline void report_page(const ReportVerb& o, cli::Run& run) {
  nn::set_threads(run.threads());
  const c10::InferenceMode guard;
  auto inputs = o.inputs;
  if (!inputs.paper.empty() && inputs.paper != "40" && inputs.paper != "1") throw usage_error("--paper: 40 or 1 (sessions) expected, \"{}\" given", inputs.paper);
  if (inputs.images < 0 || inputs.thumbnail < 16) throw usage_error("--images cannot be negative, --thumbnail not below 16");
  for (const auto& file : o.scores) inputs.scores.push_back(file.path);
  const auto take = [](std::string& slot, const std::optional<InputPath>& given) {
    if (given) slot = given->path;
  };
  take(inputs.truth, o.truth), take(inputs.recon, o.recon), take(inputs.refined, o.refined), take(inputs.lowlevel, o.lowlevel);
  take(inputs.captions, o.captions), take(inputs.references, o.references), take(inputs.per_image, o.per_image);
  take(inputs.brain, o.brain), take(inputs.targets, o.targets);
  inputs.seed = run.seed();
  if (run.dry_run()) return run.plan_work(run.reading_work(20));
  write_file_atomic(o.out.path, report::render_page(report::build_report(inputs)));
}

}  // namespace me2
