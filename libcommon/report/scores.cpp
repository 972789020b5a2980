#include "report/scores.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/json.h"

namespace me2::report {
namespace {

Json number(double v) { return std::isfinite(v) ? Json(v) : Json(nullptr); }

Json list_json(const std::vector<Score>& scores) {
  Json out = Json::object();
  for (const auto& s : scores) {
    Json j{{"value", number(s.value)}, {"low", number(s.low)}, {"high", number(s.high)}, {"n", s.n}, {"higher_is_better", s.higher_is_better}, {"interval", s.interval}};
    if (!s.note.empty()) j["note"] = s.note;
    if (!s.details.empty()) {
      j["details"] = Json::object();
      for (const auto& [key, value] : s.details) j["details"][key] = number(value);
    }
    out[s.name] = std::move(j);
  }
  return out;
}

std::string quoted(const std::string& text) {  // RFC 4180
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? "\"\"" : std::string(1, c);
  return out + "\"";
}

std::string cell(double v) { return std::isfinite(v) ? fmt::format("{}", v) : ""; }

std::string rows(const std::vector<Score>& scores) {
  std::string out;
  for (const auto& s : scores) {
    const auto show = [](double v) { return std::isfinite(v) ? fmt::format("{:.4f}", v) : std::string("-"); };
    out += fmt::format("{:<24} {:>8} {:>8} {:>8} {:>7}  {}{}\n", s.name, show(s.value), show(s.low), show(s.high), s.n,
                       s.higher_is_better ? "higher is better" : "lower is better", s.note.empty() ? "" : "; " + s.note);
  }
  return out;
}

Json part_json(const Scores& scores) {
  Json out{{"scores", list_json(scores.scores)}, {"ids", scores.ids}};
  for (const auto& [name, list] : scores.splits) out["splits"][name] = list_json(list);
  for (const auto& [name, list] : scores.baselines) out["baselines"][name] = list_json(list);
  return out;
}

}  // namespace

const Score* Scores::find(const std::string& name) const {
  const auto it = std::find_if(scores.begin(), scores.end(), [&](const Score& s) { return s.name == name; });
  return it == scores.end() ? nullptr : &*it;
}

Json scores_json(const Scores& scores, const Json& provenance) {
  Json out = part_json(scores);
  out["not_run"] = Json::object();
  for (const auto& [name, reason] : scores.not_run) out["not_run"][name] = reason;
  out["notes"] = scores.notes;
  for (const auto& [name, subject] : scores.subjects) out["subjects"][name] = part_json(subject);
  out["provenance"] = provenance;
  return out;
}

std::string scores_csv(const Scores& scores) {
  std::string out = "score,value,low,high,n,split\n";
  const auto add = [&](const std::vector<Score>& list, const std::string& split) {
    for (const auto& s : list) out += fmt::format("{},{},{},{},{},{}\n", quoted(s.name), cell(s.value), cell(s.low), cell(s.high), s.n, quoted(split));
  };
  add(scores.scores, "");
  for (const auto& [name, subject] : scores.subjects) add(subject.scores, "subject " + name);
  for (const auto& [name, list] : scores.splits) add(list, name);
  for (const auto& [name, list] : scores.baselines) add(list, "baseline " + name);
  return out;
}

std::string scores_table(const Scores& scores) {
  std::string out = fmt::format("{:<24} {:>8} {:>8} {:>8} {:>7}\n", "score", "value", "low", "high", "n") + rows(scores.scores);
  for (const auto& [name, subject] : scores.subjects) out += fmt::format("\nsubject {}\n", name) + rows(subject.scores);
  for (const auto& [name, list] : scores.splits) out += fmt::format("\nsplit {}\n", name) + rows(list);
  for (const auto& [name, list] : scores.baselines) out += fmt::format("\nbaseline {}\n", name) + rows(list);
  for (const auto& [name, reason] : scores.not_run) out += fmt::format("{:<24} not run: {}\n", name, reason);
  for (const auto& note : scores.notes) out += "note: " + note + "\n";
  return out;
}

std::string per_image_csv(const Scores& scores) {
  const bool several = !scores.subjects.empty();
  const Scores& first = several ? scores.subjects.front().second : scores;
  std::vector<std::string> names;  // every subject has the same scores
  for (const auto& s : first.scores)
    if (s.per_image.size() == first.ids.size()) names.push_back(s.name);
  std::string out = several ? "id,subject" : "id";
  for (const auto& name : names) out += "," + quoted(name);
  out += "\n";
  const auto add = [&](const std::string& subject, const Scores& part) {
    std::vector<const Score*> columns;
    for (const auto& name : names) columns.push_back(part.find(name));
    for (std::size_t i = 0; i < part.ids.size(); ++i) {
      out += quoted(part.ids[i]);
      if (several) out += "," + quoted(subject);
      for (const auto* s : columns) out += "," + (s && i < s->per_image.size() ? cell(s->per_image[i]) : std::string());
      out += "\n";
    }
  };
  for (const auto& [name, subject] : scores.subjects) add(name, subject);
  if (!several) add("", scores);
  return out;
}

}  // namespace me2::report
