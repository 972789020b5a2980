#include "report/subjects.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "store/zarr.h"

namespace me2::report {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// What is resampled of one subject; empty when the score is not known image by image.
metrics::Scored drawn_of(const Score& s) {
  if (s.drawn) return *s.drawn;
  metrics::Scored out;
  std::copy_if(s.per_image.begin(), s.per_image.end(), std::back_inserter(out.values), [](double v) { return !std::isnan(v); });
  return out;
}

Score mean_of(const std::vector<const Score*>& each, const metrics::BootstrapOptions& options) {
  Score out;
  out.name = each.front()->name, out.higher_is_better = each.front()->higher_is_better;
  out.value = out.low = out.high = kNaN;
  std::vector<const Score*> defined;
  std::copy_if(each.begin(), each.end(), std::back_inserter(defined), [](const Score* s) { return std::isfinite(s->value); });
  const auto count = static_cast<double>(defined.size());
  std::vector<metrics::Scored> drawn;
  for (const auto* s : defined) {
    out.n += s->n;
    drawn.push_back(drawn_of(*s));
  }
  out.note = fmt::format("mean of {} subjects", defined.size());
  if (defined.size() < each.size()) out.note += fmt::format("; undefined for {}", each.size() - defined.size());
  out.details["subjects"] = count;
  out.interval = "none";
  if (defined.empty()) return out;
  out.value = 0;
  for (const auto* s : defined) out.value += s->value / count;
  double squares = 0;
  for (const auto* s : defined) squares += (s->value - out.value) * (s->value - out.value);
  out.details["subjects_sd"] = defined.size() > 1 ? std::sqrt(squares / (count - 1)) : kNaN;
  for (const auto& [key, first] : defined.front()->details) {  // of those that all have
    double sum = 0;
    bool all = true;
    for (const auto* s : defined) {
      const auto it = s->details.find(key);
      all = all && it != s->details.end();
      if (all) sum += it->second;
    }
    if (all) out.details[key] = sum / count;
  }
  if (std::any_of(drawn.begin(), drawn.end(), [](const auto& d) { return d.values.empty(); })) return out;
  const auto interval = metrics::hierarchical(drawn, options);
  out.low = interval.low, out.high = interval.high;
  out.interval = "percentile bootstrap over subjects and images within";
  return out;
}

// One list of scores from each subject -> their means, in the order in which names first appear.
std::vector<Score> mean_of_lists(const std::vector<const std::vector<Score>*>& lists, const metrics::BootstrapOptions& options) {
  std::vector<std::string> names;
  std::map<std::string, std::vector<const Score*>> by_name;
  for (const auto* list : lists)
    for (const auto& s : *list) {
      auto& of = by_name[s.name];
      if (of.empty()) names.push_back(s.name);
      of.push_back(&s);
    }
  std::vector<Score> out;
  for (const auto& name : names) {
    out.push_back(mean_of(by_name[name], options));
    if (by_name[name].size() < lists.size()) out.back().note += fmt::format("; {} others have none", lists.size() - by_name[name].size());
  }
  return out;
}

using Named = std::map<std::string, std::vector<Score>>;
Named mean_of_named(const std::vector<std::pair<std::string, Scores>>& subjects, Named Scores::*member, const metrics::BootstrapOptions& options) {
  std::map<std::string, std::vector<const std::vector<Score>*>> lists;
  for (const auto& [label, scores] : subjects)
    for (const auto& [name, list] : scores.*member) lists[name].push_back(&list);
  Named out;
  for (const auto& [name, of] : lists) out[name] = mean_of_lists(of, options);
  return out;
}

bool is_store(const std::string& path) { return std::filesystem::exists(path + "/zarr.json") || std::filesystem::exists(path + "/.zgroup"); }

// --subject of the command that made this, or of one before it.
std::string subject_in(const Json& record, int depth = 0) {
  if (!record.is_object() || depth > 32) return "";
  if (record.contains("options") && record["options"].is_object() && record["options"].contains("--subject"))
    if (const Json& value = record["options"]["--subject"]; value.is_string() && !value.get_ref<const std::string&>().empty()) return value.get<std::string>();
  if (record.contains("inputs"))
    for (const auto& input : record["inputs"])
      if (input.is_object() && input.contains("provenance"))
        if (const auto found = subject_in(input["provenance"], depth + 1); !found.empty()) return found;
  return "";
}

}  // namespace

Scores mean_over_subjects(std::vector<std::pair<std::string, Scores>> subjects, const metrics::BootstrapOptions& options) {
  if (subjects.empty()) throw usage_error("one subject or more expected");
  Scores out;
  if (subjects.size() == 1) {
    out = subjects.front().second;
    out.subjects = std::move(subjects);
    return out;
  }
  std::set<std::string> labels, ids;
  std::map<std::pair<std::string, std::string>, std::vector<std::string>> not_run;
  std::map<std::string, std::vector<std::string>> notes;
  std::vector<const std::vector<Score>*> lists;
  for (const auto& [label, scores] : subjects) {
    if (!labels.insert(label).second) throw usage_error("two subjects are named \"{}\"", label);
    for (const auto& id : scores.ids)
      if (ids.insert(id).second) out.ids.push_back(id);
    for (const auto& entry : scores.not_run) {
      auto& of = not_run[entry];
      if (of.empty()) out.not_run.push_back(entry);
      of.push_back(label);
    }
    for (const auto& note : scores.notes) {
      auto& of = notes[note];
      if (of.empty()) out.notes.push_back(note);
      of.push_back(label);
    }
    lists.push_back(&scores.scores);
  }
  for (auto& note : out.notes)
    if (const auto& of = notes[note]; of.size() < subjects.size()) note = fmt::format("{}: {}", fmt::join(of, ", "), note);
  for (auto& entry : out.not_run)
    if (const auto& of = not_run[entry]; of.size() < subjects.size()) entry.second += fmt::format(" (subject {})", fmt::join(of, ", "));
  out.scores = mean_of_lists(lists, options);
  out.splits = mean_of_named(subjects, &Scores::splits, options);
  out.baselines = mean_of_named(subjects, &Scores::baselines, options);
  out.subjects = std::move(subjects);
  return out;
}

std::vector<std::string> subject_labels(const std::vector<std::string>& paths, const std::vector<std::string>& given) {
  if (!given.empty() && given.size() != paths.size()) throw usage_error("--subject: {} labels for {} subjects", given.size(), paths.size());
  std::vector<std::string> out;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    std::string label = given.empty() ? "" : given[i];
    if (label.empty() && is_store(paths[i])) {
      const Json attributes = store::Group::open(paths[i]).attributes();
      if (attributes.contains("subject") && attributes["subject"].is_string()) label = attributes["subject"].get<std::string>();
      else label = subject_in(attributes.value("me2", Json()));
    }
    if (label.empty()) label = std::filesystem::path(paths[i]).stem().string();
    if (std::find(out.begin(), out.end(), label) != out.end()) throw usage_error("{}: a second subject \"{}\": --subject tells them apart", paths[i], label);
    out.push_back(std::move(label));
  }
  return out;
}

}  // namespace me2::report
