// The result of an evaluation as data, and its forms: JSON (docs/scores-schema.json), CSV, a table for people, per-image CSV.
// The HTML report, compare and rerun start from this.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json_fwd.h"
#include "metrics/bootstrap.h"

namespace me2::report {

struct Score {
  std::string name;                 // pixcorr, alexnet2, image_retrieval, brain_corr_V1, bleu4, ...
  double value = 0;                 // a fraction; NaN when undefined
  double low = 0, high = 0;         // 95% interval; NaN when there is none
  std::int64_t n = 0;               // images it is over
  bool higher_is_better = true;
  std::string interval = "BCa bootstrap over images";
  std::string note;                 // what a reader must know: "2 constant images left out"
  std::map<std::string, double> details;  // top1, way_10, rank_percentile, fwd, ...
  std::vector<double> per_image;    // in the order of Scores::ids; NaN where undefined; empty for corpus scores
  std::optional<metrics::Scored> drawn;  // what a bootstrap resamples, where that is not per_image (BLEU, ratios)
};

struct Scores {
  std::vector<Score> scores;
  std::vector<std::pair<std::string, std::string>> not_run;  // score name, "needs FILE ..."
  std::vector<std::string> notes;                            // resizes, missing images, pool sizes
  std::vector<std::string> ids;                              // of the images, as joined
  std::map<std::string, std::vector<Score>> splits;          // the same scores on the test ids of a split file, by its name
  std::map<std::string, std::vector<Score>> baselines;       // the same scores of other pictures for the same images, by their name
  std::vector<std::pair<std::string, Scores>> subjects;      // of several subjects (report/subjects.h): each alone; `scores` is then their mean
  const Score* find(const std::string& name) const;
};

// {"scores": {NAME: {"value", "low", "high", "n", ...}}, "not_run": {NAME: reason}, "notes", "ids", "splits", "baselines", "subjects", "provenance"}.
// NaN becomes null.
Json scores_json(const Scores& scores, const Json& provenance);
std::string scores_csv(const Scores& scores);
std::string scores_table(const Scores& scores);
std::string per_image_csv(const Scores& scores);  // id, with several subjects subject, then one column per score

}  // namespace me2::report
