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

}  // namespace

const Score* Scores::find(const std::string& name) const {
  const auto it = std::find_if(scores.begin(), scores.end(), [&](const Score& s) { return s.name == name; });
  return it == scores.end() ? nullptr : &*it;
}

Json scores_json(const Scores& scores, const Json& provenance) {
  Json out;
  out["scores"] = list_json(scores.scores);
  out["not_run"] = Json::object();
  for (const auto& [name, reason] : scores.not_run) out["not_run"][name] = reason;
  out["notes"] = scores.notes;
  out["ids"] = scores.ids;
  if (!scores.splits.empty())
    for (const auto& [name, list] : scores.splits) out["splits"][name] = list_json(list);
  for (const auto& [name, list] : scores.baselines) out["baselines"][name] = list_json(list);
  out["provenance"] = provenance;
  return out;
}

std::string scores_csv(const Scores& scores) {
  std::string out = "score,value,low,high,n,split\n";
  const auto add = [&](const std::vector<Score>& list, const std::string& split) {
    for (const auto& s : list) out += fmt::format("{},{},{},{},{},{}\n", quoted(s.name), cell(s.value), cell(s.low), cell(s.high), s.n, quoted(split));
  };
  add(scores.scores, "");
  for (const auto& [name, list] : scores.splits) add(list, name);
  for (const auto& [name, list] : scores.baselines) add(list, "baseline " + name);
  return out;
}

std::string scores_table(const Scores& scores) {
  std::string out = fmt::format("{:<24} {:>8} {:>8} {:>8} {:>7}\n", "score", "value", "low", "high", "n") + rows(scores.scores);
  for (const auto& [name, list] : scores.splits) out += fmt::format("\nsplit {}\n", name) + rows(list);
  for (const auto& [name, list] : scores.baselines) out += fmt::format("\nbaseline {}\n", name) + rows(list);
  for (const auto& [name, reason] : scores.not_run) out += fmt::format("{:<24} not run: {}\n", name, reason);
  for (const auto& note : scores.notes) out += "note: " + note + "\n";
  return out;
}

std::string per_image_csv(const Scores& scores) {
  std::string out = "id";
  for (const auto& s : scores.scores)
    if (s.per_image.size() == scores.ids.size()) out += "," + quoted(s.name);
  out += "\n";
  for (std::size_t i = 0; i < scores.ids.size(); ++i) {
    out += quoted(scores.ids[i]);
    for (const auto& s : scores.scores)
      if (s.per_image.size() == scores.ids.size()) out += "," + cell(s.per_image[i]);
    out += "\n";
  }
  return out;
}

}  // namespace me2::report
