// me2-eval retrieval: find the image of a brain embedding, and the brain embedding of an image.
#pragma once
#include <c10/core/InferenceMode.h>

#include "eval_output.h"
#include "nn/device.h"
#include "report/retrieval_evaluation.h"
#include "report/scoring_work.h"

namespace me2 {

struct RetrievalVerb {
  std::vector<InputPath> brain, truth, train_tokens;
  std::vector<std::string> subjects;
  report::RetrievalOptions options;
  std::optional<InputPath> draws_file;
  int ways = 300, draws = 30;
  OutputOptions output;
  void describe(Describe& d) {
    d.positional("BRAIN", brain, "brain embeddings: stage store (clip [sample, T, D]) or .npy [n, ...]; of several subjects: one each");
    d.required("--truth", truth, "image embeddings of the same stimuli: target store or .npy; for all subjects, or one each");
    d.option("--subject", subjects, "label of each subject (default: what its store says, else the file's name)");
    d.option("--brain-array", options.brain_array, "array of BRAIN (default: clip, clip_tokens, clip_pooled or tokens)");
    d.option("--truth-array", options.image_array, "array of --truth (default: the same list)");
    d.option("--ways", ways, "candidates of a draw");
    d.option("--draws", draws, "draws of candidates");
    d.option("--draws-file", draws_file, ".npy [draws, ways] of positions, in place of random draws");
    d.option("--train-tokens", train_tokens, "embeddings of training images, as --truth: also score the nearest of them in place of BRAIN");
    d.option("--allow-missing", options.allow_missing, "score the stimuli both sides have");
    output.describe(d);
  }
};

inline void retrieval(const RetrievalVerb& o, cli::Run& run) {
  nn::set_threads(run.threads());
  const c10::InferenceMode guard;
  auto how = o.options;
  if (o.ways < 2 || o.draws < 1) throw usage_error("--ways: 2 or more, --draws: 1 or more expected");
  how.ways = o.ways, how.draws = o.draws, how.seed = run.seed(), how.threads = run.threads();
  if (o.draws_file) how.draws_file = o.draws_file->path;
  Work planned;
  emit_subjects(o.brain, o.subjects, how.resamples, o.output, run, [&](std::size_t i) {
    const auto truth = of_subject(o.truth, i, o.brain.size(), "--truth"), train = of_subject(o.train_tokens, i, o.brain.size(), "--train-tokens");
    how.train_tokens = train ? train->path : "";
    if (!run.dry_run()) return report::score_retrieval(o.brain[i].path, truth->path, how);
    planned += report::retrieval_work(o.brain[i].path, truth->path, how);
    return report::Scores();
  });
  if (run.dry_run()) run.plan_work(planned);
}

}  // namespace me2
