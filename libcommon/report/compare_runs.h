// me2-eval compare: runs side by side, image by image.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/json_fwd.h"

namespace me2::report {

struct CompareOptions {
  std::vector<std::string> runs;      // label per file; empty: the file's name without extension, each file its own run
  std::vector<std::string> subjects;  // label per file; empty: one subject
  std::string baseline;               // compare the others with this run only; empty: all pairs
  std::vector<std::string> metrics;   // empty: all that a pair has in common
  double margin = 0;                  // of equivalence; 0: not tested
  bool allow_missing = false;
  std::int64_t resamples = 10000;
  std::uint64_t seed = 42;
  int threads = 1;
};

struct Comparison {
  std::string score, a, b;
  double value_a = 0, value_b = 0;                // means over images (of subject means); as scored in scores files
  double difference = 0, low = 0, high = 0;       // a - b, 95%; NaN without scores per image
  double p = 0, p_holm = 0, p_bootstrap = 0;      // permutation; corrected over all rows; bootstrap. NaN likewise
  double p_equivalence = 0;                       // larger than this margin is ruled out at p; NaN without a margin
  std::int64_t n = 0, subjects = 1;
  bool higher_is_better = true;
  std::string interval;
  std::string verdict(double margin) const;       // "A better", "no difference shown", "equivalent"
};

struct ComparisonTable {
  std::vector<Comparison> rows;
  std::vector<std::string> notes;
  double margin = 0;
};

// Files: CSV of `me2-eval score --per-image` (of several subjects where it has a column `subject`), or scores files (values only: no test). A
// run of several subjects is the mean of its subjects; its interval draws subjects, then images (hierarchical bootstrap), its p values flip images averaged over subjects.
// Exit::data for files without a score in common or other images on one side; Exit::usage for labels that do not fit the files.
ComparisonTable compare_runs(const std::vector<std::string>& files, const CompareOptions& options);

Json comparison_json(const ComparisonTable& table, const Json& provenance);
std::string comparison_csv(const ComparisonTable& table);
std::string comparison_table(const ComparisonTable& table);

}  // namespace me2::report
