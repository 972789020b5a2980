// me2-eval compare: runs side by side, with tests.
#pragma once
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/tool.h"
#include "report/compare_runs.h"

namespace me2 {

struct CompareVerb {
  std::vector<InputPath> files;
  report::CompareOptions options;
  int resamples = 10000;
  bool csv = false;
  std::optional<OutputPath> out;
  void describe(Describe& d) {
    d.positional("FILES", files, "CSVs of me2-eval score --per-image, or scores files (values only), of two runs or more");
    d.option("--run", options.runs, "label of each file's run; files with the same label are one run of several subjects (default: the file's name)");
    d.option("--subject", options.subjects, "label of each file's subject: intervals then draw subjects, and images within them");
    d.option("--baseline", options.baseline, "compare the other runs with this one only (default: all pairs)");
    d.option("--metrics", options.metrics, "which scores (default: all in common)");
    d.option("--margin", options.margin, "also test that runs differ by less than this (two one-sided tests); 0: not");
    d.option("--allow-missing", options.allow_missing, "compare the images both sides have");
    d.option("--resamples", resamples, "bootstrap resamples, and sign flips of the permutation test");
    d.option("--csv", csv, "print as CSV");
    d.option("--out", out, "write as JSON");
  }
};

inline void compare(const CompareVerb& o, cli::Run& run) {
  if (o.resamples < 1) throw usage_error("--resamples: 1 or more expected");
  if (!(o.options.margin >= 0)) throw usage_error("--margin: a number from 0 expected");
  auto how = o.options;
  how.resamples = o.resamples, how.seed = run.seed(), how.threads = run.threads();
  std::vector<std::string> files;
  for (const auto& file : o.files) files.push_back(file.path);
  if (run.dry_run()) {
    how.resamples = 1;  // what is wrong with the tables shows
    report::compare_runs(files, how);
    return run.plan_work(run.reading_work(20));
  }
  const auto table = report::compare_runs(files, how);
  const std::string json = report::comparison_json(table, run.provenance()).dump(1) + "\n";
  if (o.out) write_file_atomic(o.out->path, json);
  run.print(run.options().json ? json : o.csv ? report::comparison_csv(table) : report::comparison_table(table));
}

}  // namespace me2
