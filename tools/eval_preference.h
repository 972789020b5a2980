// me2-eval preference, preference-score: a survey page, and what its answers say.
#pragma once
#include <c10/core/InferenceMode.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/tool.h"
#include "report/image_set.h"
#include "report/preference.h"

namespace me2 {

struct PreferenceVerb {
  InputPath recon, truth;
  OutputPath out;
  std::optional<InputPath> against;
  bool no_random = false;
  report::PreferenceOptions options;
  void describe(Describe& d) {
    d.positional("RECON", recon, "reconstructions: store, .npy, .pt or a folder of images");
    d.positional("OUTPUT", out, "HTML file to write, self-contained; it saves each rater's answers as CSV");
    d.required("--truth", truth, "the images that were seen, in any of the same forms; joined by id or name");
    d.option("--against", against, "another run to choose between: unrefined beside refined, B beside A");
    d.option("--no-random", no_random, "leave out the trials against the reconstruction of another image");
    d.option("--trials", options.trials, "images asked about, of each kind (0: all)");
    d.option("--checks", options.checks, "attention checks: the image itself against another one");
    d.option("--pixels", options.pixels, "largest side of a picture");
    d.option("--title", options.title, "heading of the page");
    d.option("--allow-missing", options.allow_missing, "ask about the images that all sides have");
  }
};

inline void preference(const PreferenceVerb& o, cli::Run& run) {
  const c10::InferenceMode guard;
  auto how = o.options;
  how.run = o.recon.path, how.truth = o.truth.path, how.random = !o.no_random, how.seed = run.seed();
  if (o.against) how.against = o.against->path;
  if (how.trials < 0 || how.checks < 0 || how.pixels < 16) throw usage_error("--trials and --checks cannot be negative, --pixels not below 16");
  if (o.no_random && !o.against) throw usage_error("--no-random leaves nothing to ask without --against");
  if (run.dry_run()) return run.plan_work(run.reading_work(20));
  write_file_atomic(o.out.path, report::preference_page(how));
}

struct PreferenceScoreVerb {
  std::vector<InputPath> answers;
  double least_checks = 0.8;
  int resamples = 10000;
  bool csv = false;
  std::optional<OutputPath> out;
  void describe(Describe& d) {
    d.positional("ANSWERS", answers, "CSVs that the survey page saved, one or more raters each");
    d.option("--least-checks", least_checks, "share of attention checks a rater must have right to count");
    d.option("--resamples", resamples, "bootstrap resamples of raters");
    d.option("--csv", csv, "print as CSV");
    d.option("--out", out, "write the scores as JSON (docs/scores-schema.md)");
  }
};

inline void preference_score(const PreferenceScoreVerb& o, cli::Run& run) {
  if (!(o.least_checks >= 0 && o.least_checks <= 1)) throw usage_error("--least-checks: a number from 0 to 1 expected");
  if (o.resamples < 1) throw usage_error("--resamples: 1 or more expected");
  std::vector<std::string> files;
  for (const auto& file : o.answers) files.push_back(file.path);
  const auto scores = report::score_preference(files, o.least_checks, o.resamples, run.seed(), run.threads());
  if (run.dry_run()) return run.plan_work(run.reading_work(20));
  const std::string json = report::scores_json(scores, run.provenance()).dump(1) + "\n";
  if (o.out) write_file_atomic(o.out->path, json);
  run.print(run.options().json ? json : o.csv ? report::scores_csv(scores) : report::scores_table(scores));
}

}  // namespace me2
