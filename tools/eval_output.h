// What the scoring verbs of me2-eval share: how scores leave, and subjects dealt out.
#pragma once
#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/tool.h"
#include "report/subjects.h"

namespace me2 {

struct OutputOptions {  // --json is a common option
  bool csv = false;
  std::optional<OutputPath> per_image;
  std::optional<OutputPath> out;
  void describe(Describe& d) {
    d.option("--csv", csv, "print the scores as CSV");
    d.option("--per-image", per_image, "write a CSV with one row per image (and subject) and one column per score");
    d.option("--out", out, "write the scores as JSON (docs/scores-schema.md)");
  }
};

inline void emit(const report::Scores& scores, const OutputOptions& options, cli::Run& run) {
  const std::string json = report::scores_json(scores, run.provenance()).dump(1) + "\n";
  if (options.per_image) write_file_atomic(options.per_image->path, report::per_image_csv(scores));
  if (options.out) write_file_atomic(options.out->path, json);
  run.print(run.options().json ? json : options.csv ? report::scores_csv(scores) : report::scores_table(scores));
}

// What subject i of several is given: one for all, or one each in the same order.
template <class Path>
std::optional<Path> of_subject(const std::vector<Path>& given, std::size_t i, std::size_t subjects, const char* option) {
  if (given.empty()) return {};
  if (given.size() != 1 && given.size() != subjects) throw usage_error("{}: one for all or one for each of the {} subjects expected, {} given", option, subjects, given.size());
  return given[given.size() == 1 ? 0 : i];
}

// Scores subject by subject, and their mean when there are several or labels were given.
template <class Path, class ScoreOne>
void emit_subjects(const std::vector<Path>& leading, const std::vector<std::string>& labels, std::int64_t resamples, const OutputOptions& options, cli::Run& run, const ScoreOne& score_one) {
  std::vector<std::string> paths;
  for (const auto& one : leading) paths.push_back(one.path);
  const bool several = paths.size() > 1 || !labels.empty();
  const auto names = several ? report::subject_labels(paths, labels) : std::vector<std::string>{""};
  std::vector<std::pair<std::string, report::Scores>> subjects;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    auto scores = score_one(i);
    if (run.dry_run()) continue;
    subjects.emplace_back(names[i], std::move(scores));
  }
  if (run.dry_run()) return;
  metrics::BootstrapOptions how;
  how.resamples = resamples, how.seed = run.seed(), how.threads = run.threads();
  emit(several ? report::mean_over_subjects(std::move(subjects), how) : subjects.front().second, options, run);
}

}  // namespace me2
