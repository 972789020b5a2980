#include "report/compare_runs.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "metrics/bootstrap.h"
#include "store/table.h"

namespace me2::report {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

struct Subject {  // one file
  std::string file;
  bool per_image = false;
  std::vector<std::string> scores;                             // in the file's order
  std::map<std::string, std::map<std::string, double>> images;  // score -> id -> value; not from a scores file
  std::map<std::string, double> values;                        // score -> mean, or what the scores file says
  std::map<std::string, bool> higher;                          // known from a scores file
  std::map<std::string, std::int64_t> n;
};
struct CompareRun {
  std::string label;
  std::map<std::string, Subject> subjects;
};

double mean_of(const std::vector<double>& v) { return std::accumulate(v.begin(), v.end(), 0.0) / static_cast<double>(v.size()); }

// Of a file, its subject, named ""; or those of its column `subject`.
std::map<std::string, Subject> read_subjects(const std::string& file) {
  if (file.ends_with(".json")) {
    Subject out;
    out.file = file;
    const Json j = read_json_file(file);
    if (!j.is_object() || !j.contains("scores") || !j["scores"].is_object()) throw data_error("{}: no scores: a file of me2-eval score --out or --per-image expected", file);
    for (const auto& [name, s] : j["scores"].items()) {
      out.scores.push_back(name);
      out.values[name] = s.is_object() && s.contains("value") && s["value"].is_number() ? s["value"].get<double>() : kNaN;
      out.higher[name] = !s.is_object() || s.value("higher_is_better", true);
      out.n[name] = s.is_object() && s.contains("n") && s["n"].is_number_integer() ? s["n"].get<std::int64_t>() : 0;
    }
    return {{"", std::move(out)}};
  }
  const auto table = store::Table::read(file);
  const auto id = table.need("id");
  const auto subject = table.find("subject");
  std::map<std::string, Subject> out;
  for (std::int64_t r = 0; r < table.rows(); ++r) {
    Subject& of = out[subject ? table.text(r, *subject) : ""];
    for (std::size_t c = 0; c < table.columns().size(); ++c) {
      if (c == id || (subject && c == *subject)) continue;
      const auto& name = table.columns()[c];
      if (!of.per_image) of.scores.push_back(name);
      if (!of.images[name].emplace(table.text(r, id), table.number(r, c)).second)
        throw data_error("{}: line {}: image \"{}\" is there twice", file, table.line(r), table.text(r, id));
    }
    of.file = file, of.per_image = true;
  }
  if (out.empty() || out.begin()->second.scores.empty()) throw data_error("{}: no scores per image: columns id and one per score, and a line per image expected", file);
  for (auto& [label, of] : out)
    for (const auto& [name, images] : of.images) {
      std::vector<double> known;
      for (const auto& [image, value] : images)
        if (!std::isnan(value)) known.push_back(value);
      of.values[name] = known.empty() ? kNaN : mean_of(known);
      of.n[name] = static_cast<std::int64_t>(known.size());
    }
  return out;
}

std::vector<CompareRun> read_runs(const std::vector<std::string>& files, const CompareOptions& o) {
  if (!o.runs.empty() && o.runs.size() != files.size()) throw usage_error("--run: {} labels for {} files", o.runs.size(), files.size());
  if (!o.subjects.empty() && o.subjects.size() != files.size()) throw usage_error("--subject: {} labels for {} files", o.subjects.size(), files.size());
  std::vector<CompareRun> runs;
  for (std::size_t i = 0; i < files.size(); ++i) {
    std::string label = o.runs.empty() ? std::filesystem::path(files[i]).stem().string() : o.runs[i];
    const std::string subject = o.subjects.empty() ? "" : o.subjects[i];
    const auto named = [&](const CompareRun& r) { return r.label == label; };
    auto it = std::find_if(runs.begin(), runs.end(), named);
    if (it != runs.end() && o.runs.empty()) label = files[i], it = std::find_if(runs.begin(), runs.end(), named);  // two folders, one name
    if (it == runs.end()) it = runs.insert(runs.end(), {label, {}});
    for (auto& [of, values] : read_subjects(files[i])) {
      const std::string name = of.empty() ? subject : of;
      if (!it->subjects.emplace(name, std::move(values)).second)
        throw usage_error("{}: a second file of run \"{}\"{}: --run and --subject tell files apart", files[i], label, name.empty() ? "" : fmt::format(" and subject \"{}\"", name));
    }
  }
  if (runs.size() < 2) throw usage_error("two runs or more expected, {} given", runs.size());
  return runs;
}

// Per subject, the paired differences of the images both have; and the ids on one side only.
struct Pairs {
  std::vector<std::vector<double>> by_subject;
  std::map<std::string, std::vector<double>> by_image;
  std::set<std::string> missing;
  std::int64_t undefined = 0;
};

void pair_images(const Subject& a, const Subject& b, const std::string& score, Pairs& out) {
  const auto &x = a.images.at(score), &y = b.images.at(score);
  std::vector<double> differences;
  for (const auto& [id, value] : x) {
    const auto it = y.find(id);
    if (it == y.end()) out.missing.insert(fmt::format("{} (not in {})", id, b.file));
    else if (std::isnan(value) || std::isnan(it->second)) ++out.undefined;
    else differences.push_back(value - it->second), out.by_image[id].push_back(differences.back());
  }
  for (const auto& [id, value] : y)
    if (!x.contains(id)) out.missing.insert(fmt::format("{} (not in {})", id, a.file));
  if (!differences.empty()) out.by_subject.push_back(std::move(differences));
}

Comparison compare_one(const CompareRun& a, const CompareRun& b, const std::string& score, const CompareOptions& o, std::vector<std::string>& notes) {
  Comparison out{score, a.label, b.label};
  out.higher_is_better = score != "effnet" && score != "swav";
  out.low = out.high = out.p = out.p_holm = out.p_bootstrap = out.p_equivalence = kNaN;
  std::vector<double> values_a, values_b;
  Pairs pairs;
  bool per_image = true;
  for (const auto& [subject, x] : a.subjects) {
    const auto it = b.subjects.find(subject);
    if (it == b.subjects.end()) throw data_error("subject \"{}\" is in run {} and not in run {}", subject, a.label, b.label);
    const Subject& y = it->second;
    if (!x.values.contains(score) || !y.values.contains(score)) continue;
    values_a.push_back(x.values.at(score)), values_b.push_back(y.values.at(score));
    if (const auto known = x.higher.find(score); known != x.higher.end()) out.higher_is_better = known->second;
    out.n += x.n.at(score);
    if (x.per_image && y.per_image) pair_images(x, y, score, pairs);
    else per_image = false;
  }
  for (const auto& [subject, y] : b.subjects)
    if (!a.subjects.contains(subject)) throw data_error("subject \"{}\" is in run {} and not in run {}", subject, b.label, a.label);
  out.subjects = static_cast<std::int64_t>(values_a.size());
  out.value_a = mean_of(values_a), out.value_b = mean_of(values_b);
  out.difference = out.value_a - out.value_b;
  if (!per_image) {
    const std::string note = fmt::format("{} and {}: a scores file holds no scores per image: differences only (give the CSVs of --per-image to test them)", a.label, b.label);
    if (std::find(notes.begin(), notes.end(), note) == notes.end()) notes.push_back(note);
    return out;
  }
  if (!pairs.missing.empty()) {
    std::vector<std::string> some(pairs.missing.begin(), pairs.missing.end());
    const auto all = some.size();
    if (all > 10) some.resize(10), some.push_back("...");
    const std::string text = fmt::format("{} images on one side only: {}", all, fmt::join(some, ", "));
    if (!o.allow_missing) throw data_error("{} and {}: {} (--allow-missing compares the others)", a.label, b.label, text);
    const std::string note = fmt::format("{} and {}: {}", a.label, b.label, text);
    if (std::find(notes.begin(), notes.end(), note) == notes.end()) notes.push_back(note);
  }
  if (pairs.by_subject.empty()) throw data_error("{} and {}: no image has {} in both", a.label, b.label, score);
  if (pairs.undefined) notes.push_back(fmt::format("{} and {}: {} undefined for {} images, left out", a.label, b.label, score, pairs.undefined));
  std::vector<double> differences, zeros;
  for (const auto& [id, list] : pairs.by_image) differences.push_back(mean_of(list));
  zeros.resize(differences.size());
  const metrics::BootstrapOptions how{o.resamples, 0.95, o.seed, o.threads};
  const auto test = metrics::paired_tests(differences, zeros, o.margin, how);
  out.n = static_cast<std::int64_t>(differences.size());
  out.p = test.p_permutation, out.p_bootstrap = test.p_bootstrap, out.p_equivalence = o.margin > 0 ? test.p_equivalence : kNaN;
  auto interval = test.difference;
  out.interval = "BCa bootstrap over images";
  if (pairs.by_subject.size() > 1) interval = metrics::hierarchical_mean(pairs.by_subject, how), out.interval = "bootstrap over subjects and images within";
  out.difference = interval.value, out.low = interval.low, out.high = interval.high;
  return out;
}

std::string shown(double v, int digits) { return std::isnan(v) ? "-" : fmt::format("{:.{}f}", v, digits); }
std::string p_shown(double p) { return std::isnan(p) ? "-" : p < 1e-4 ? "<.0001" : fmt::format("{:.4f}", p); }

}  // namespace

std::string Comparison::verdict(double margin) const {
  if (std::isnan(p_holm)) return "not tested";
  if (margin > 0 && p_equivalence < 0.05) return fmt::format("equivalent within {}", margin);
  if (p_holm >= 0.05) return "no difference shown";
  return fmt::format("{} better", (difference > 0) == higher_is_better ? a : b);
}

ComparisonTable compare_runs(const std::vector<std::string>& files, const CompareOptions& o) {
  const auto runs = read_runs(files, o);
  ComparisonTable out;
  out.margin = o.margin;
  const auto labelled = [&](const CompareRun& r) { return r.label == o.baseline; };
  if (!o.baseline.empty() && std::none_of(runs.begin(), runs.end(), labelled)) throw usage_error("--baseline: no run is named \"{}\"", o.baseline);
  for (std::size_t i = 0; i < runs.size(); ++i)
    for (std::size_t j = i + 1; j < runs.size(); ++j) {
      if (!o.baseline.empty() && !labelled(runs[i]) && !labelled(runs[j])) continue;
      const bool turn = labelled(runs[i]) && !o.baseline.empty();  // the baseline is b, so that a gain is positive
      const CompareRun &a = turn ? runs[j] : runs[i], &b = turn ? runs[i] : runs[j];
      const auto before = out.rows.size();
      for (const auto& score : a.subjects.begin()->second.scores) {
        if (!o.metrics.empty() && std::find(o.metrics.begin(), o.metrics.end(), score) == o.metrics.end()) continue;
        const auto& other = b.subjects.begin()->second.scores;
        if (std::find(other.begin(), other.end(), score) != other.end()) out.rows.push_back(compare_one(a, b, score, o, out.notes));
      }
      if (out.rows.size() == before) throw data_error("{} and {} have no score in common", a.label, b.label);
    }
  std::vector<double> p;
  for (const auto& row : out.rows)
    if (!std::isnan(row.p)) p.push_back(row.p);
  const auto corrected = metrics::holm(p);
  std::size_t next = 0;
  for (auto& row : out.rows)
    if (!std::isnan(row.p)) row.p_holm = corrected[next++];
  return out;
}

Json comparison_json(const ComparisonTable& table, const Json& provenance) {
  const auto number = [](double v) { return std::isfinite(v) ? Json(v) : Json(nullptr); };
  Json out{{"comparisons", Json::array()}, {"notes", table.notes}, {"margin", table.margin}};
  for (const auto& r : table.rows)
    out["comparisons"].push_back({{"score", r.score}, {"a", r.a}, {"b", r.b}, {"value_a", number(r.value_a)}, {"value_b", number(r.value_b)},
                                  {"difference", number(r.difference)}, {"low", number(r.low)}, {"high", number(r.high)}, {"interval", r.interval},
                                  {"p_permutation", number(r.p)}, {"p_holm", number(r.p_holm)}, {"p_bootstrap", number(r.p_bootstrap)},
                                  {"p_equivalence", number(r.p_equivalence)}, {"n", r.n}, {"subjects", r.subjects},
                                  {"higher_is_better", r.higher_is_better}, {"verdict", r.verdict(table.margin)}});
  out["provenance"] = provenance;
  return out;
}

std::string comparison_csv(const ComparisonTable& table) {
  std::string out = "score,a,b,value_a,value_b,difference,low,high,p_permutation,p_holm,p_bootstrap,p_equivalence,n,subjects,verdict\n";
  const auto cell = [](double v) { return std::isfinite(v) ? fmt::format("{}", v) : std::string(); };
  const auto quoted = [](const std::string& text) {  // RFC 4180
    if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
    std::string q = "\"";
    for (const char c : text) q.append(c == '"' ? 2 : 1, c);
    return q + "\"";
  };
  for (const auto& r : table.rows)
    out += fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n", quoted(r.score), quoted(r.a), quoted(r.b), cell(r.value_a), cell(r.value_b), cell(r.difference),
                       cell(r.low), cell(r.high), cell(r.p), cell(r.p_holm), cell(r.p_bootstrap), cell(r.p_equivalence), r.n, r.subjects, quoted(r.verdict(table.margin)));
  return out;
}

std::string comparison_table(const ComparisonTable& table) {
  std::string out = fmt::format("{:<16} {:<24} {:>8} {:>8} {:>9} {:>9} {:>9} {:>7} {:>7} {:>7} {:>6}  {}\n", "score", "a - b", "a", "b", "diff", "low", "high", "p", "p holm", "p equiv", "n", "");
  for (const auto& r : table.rows)
    out += fmt::format("{:<16} {:<24} {:>8} {:>8} {:>9} {:>9} {:>9} {:>7} {:>7} {:>7} {:>6}  {}\n", r.score, r.a + " - " + r.b, shown(r.value_a, 4), shown(r.value_b, 4),
                       r.difference == 0 ? "0" : fmt::format("{:+.4f}", r.difference), shown(r.low, 4), shown(r.high, 4), p_shown(r.p), p_shown(r.p_holm), p_shown(r.p_equivalence), r.n, r.verdict(table.margin));
  for (const auto& note : table.notes) out += "note: " + note + "\n";
  return out;
}

}  // namespace me2::report
