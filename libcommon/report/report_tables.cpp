#include "report/report_tables.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "base/json.h"
#include "report/build_report.h"

namespace me2::report {
namespace {

struct Numbers {
  std::map<std::string, Json> scores;                                    // {"value", "details", ...}
  std::map<std::string, std::map<std::string, Json>> baselines, splits, subjects;  // by their name, then by score
  std::vector<std::string> order;                                        // of scores, as first met
};

std::string shown(const Json& v) {
  if (!v.is_number()) return "";
  const double x = v.get<double>();
  return std::isfinite(x) && x == std::round(x) && std::abs(x) > 1 ? fmt::format("{:.0f}", x) : fmt::format("{:.3f}", x);
}

std::string value_of(const std::map<std::string, Json>& scores, const std::string& name) {
  const auto it = scores.find(name);
  return it == scores.end() ? "" : shown(it->second.value("value", Json()));
}

// One line for all the baselines: those the tools make are explained, pictures that were given are named.
std::string baselines_text(const std::map<std::string, std::map<std::string, Json>>& baselines) {
  static const std::map<std::string, const char*> texts{
      {"mean", "the mean of all reconstructions in place of each"},
      {"other", "each image scored with the reconstruction of another"},
      {"nearest", "the training image whose tokens are nearest to the predicted ones"},
      {"shuffled", "the same reconstructions or embeddings, dealt to other images"},
      {"mean_brain", "one query for all: the mean of the predictions"},
      {"nearest_train", "the training embedding nearest to the prediction, in its place"}};
  std::string made, given;
  for (const auto& [name, scores] : baselines) {
    if (const auto it = texts.find(name); it != texts.end()) made += fmt::format("{}{}: {}", made.empty() ? "" : "; ", name, it->second);
    else given += (given.empty() ? "" : ", ") + name;
  }
  if (!given.empty()) made += (made.empty() ? "" : "; ") + given + ": pictures given for comparison";
  return made + ". A method that reads the brain is ahead of them all, but for ceilings such as pictures from true tokens.";
}

// What a detail says: exact keys, and those that end in a number.
std::string detail_text(const std::string& key) {
  static const std::map<std::string, const char*> exact{
      {"way_full_pool", "share that is found among all images"},
      {"rank_percentile", "mean share of wrong candidates that the right one beats"},
      {"pool", "images that candidates are drawn from"},
      {"labels", "possible answers"},
      {"csls", "the same, re-ranked so that candidates near to everything count less (CSLS)"},
      {"mean_pairwise_correlation", "how alike the reconstructions are to each other; far above the next line: they have collapsed"},
      {"mean_pairwise_correlation_truth", "how alike the images seen are to each other"},
      {"draws_low", "95% interval over draws as the reference prints it: lower bound"},
      {"draws_high", "the same: upper bound"},
      {"draws_sem", "standard error over draws"},
      {"ways", "candidates of a draw"},
      {"subjects", "subjects that the mean is of"},
      {"subjects_sd", "standard deviation between subjects"},
      {"reliability", "share of the averaged embeddings' variance that repeats (Spearman-Brown)"},
      {"correlation", "of the averaged embeddings with the images'"},
      {"repeats", "showings of an image that are averaged"},
      {"repeat_correlation", "correlation of one showing's response with another's"},
      {"noise_ceiling", "the best that any prediction can reach, from the repeats"},
      {"ceiling_low", "noise ceiling: a subject against the mean of the others"},
      {"ceiling_high", "noise ceiling: a subject against the mean of all"},
      {"chance", "by guessing"},
      {"chance_shuffled", "by answering as often with each label as these do"},
      {"true_images", "the same for the images seen themselves: the ceiling of the measure"},
      {"same_as_true_image", "share where picture and image seen get the same label"},
      {"bootstrap_median", "median of 1,000 resampled means, which the reference prints in place of the mean"}};
  static constexpr std::array<std::pair<const char*, const char*>, 4> prefixes{
      {{"full_pool_top_", "share whose right one is among that many best of all"}, {"top_", "share whose right one is among that many best of all"},
       {"way_", "share that is found among that many candidates"}, {"subject_", "this subject alone"}}};
  if (const auto it = exact.find(key); it != exact.end()) return it->second;
  for (const auto& [prefix, text] : prefixes)
    if (key.starts_with(prefix)) return text;
  return "";
}

// Columns of other numbers for the same scores.
ReportTable beside(const Numbers& numbers, const std::map<std::string, std::map<std::string, Json>>& others, const std::string& own) {
  ReportTable table;
  table.head = {"score", own};
  for (const auto& [name, scores] : others) table.head.push_back(name);
  for (const auto& score : numbers.order) {
    if (std::none_of(others.begin(), others.end(), [&](const auto& other) { return other.second.contains(score); })) continue;
    const bool lower = !numbers.scores.at(score).value("higher_is_better", true);
    std::vector<std::string> row{meaning_of(score).label + (lower ? " \u2193" : ""), value_of(numbers.scores, score)};
    for (const auto& [name, scores] : others) row.push_back(value_of(scores, score));
    table.rows.push_back(std::move(row));
  }
  return table;
}

}  // namespace

std::vector<ReportTable> report_tables(const std::vector<Json>& files) {
  Numbers numbers;
  for (const auto& file : files) {
    const Json scores = file.value("scores", Json::object());  // named: a loop over a temporary's items() would outlive it
    for (const auto& [name, score] : scores.items()) {
      if (!numbers.scores.contains(name)) numbers.order.push_back(name);
      numbers.scores[name] = score;
    }
    for (const auto& [field, into] : {std::pair{"baselines", &numbers.baselines}, std::pair{"splits", &numbers.splits}}) {
      const Json lists = file.value(field, Json::object());
      for (const auto& [name, list] : lists.items())
        for (const auto& [score, value] : list.items()) (*into)[name][score] = value;
    }
    const Json subjects = file.value("subjects", Json::object());
    for (const auto& [name, part] : subjects.items())
      for (const auto& [score, value] : part.at("scores").items()) numbers.subjects[name][score] = value;
  }
  std::vector<ReportTable> out;
  if (!numbers.subjects.empty()) {
    ReportTable table = beside(numbers, numbers.subjects, "mean");
    table.title = "Each subject";
    table.text = "The same scores of each subject alone, and their mean, whose interval draws subjects and images within them.";
    out.push_back(std::move(table));
  }
  auto baselines = numbers.baselines;
  for (const auto& [name, score] : numbers.scores)
    if (const auto details = score.value("details", Json::object()); details.contains("baseline_shuffled")) baselines["shuffled"][name] = {{"value", details["baseline_shuffled"]}};
  if (!baselines.empty()) {
    ReportTable table = beside(numbers, baselines, "this run");
    table.title = "Beside baselines";
    table.text = baselines_text(baselines);
    out.push_back(std::move(table));
  }
  if (!numbers.splits.empty()) {
    ReportTable table = beside(numbers, numbers.splits, "all images");
    table.title = "On the test images of split files";
    table.text = "The same scores over those images alone, candidates of identification included.";
    out.push_back(std::move(table));
  }
  ReportTable details;
  details.title = "More on each score", details.folded = true;
  details.head = {"score", "figure", "value", "what it says"};
  for (const auto& name : numbers.order) {
    const auto& score = numbers.scores.at(name);
    const Json figures = score.value("details", Json::object());
    for (const auto& [key, value] : figures.items())
      if (key != "baseline_shuffled") details.rows.push_back({meaning_of(name).label, key, shown(value), detail_text(key)});
  }
  if (!details.rows.empty()) out.push_back(std::move(details));
  return out;
}

}  // namespace me2::report
