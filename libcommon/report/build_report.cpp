#include "report/build_report.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "report/caption_evaluation.h"
#include "report/image_set.h"
#include "report/paper.h"
#include "report/report_tables.h"
#include "report/subjects.h"
#include "report/svg.h"
#include "store/stage.h"
#include "store/table.h"

namespace me2::report {
namespace {

// Where each key of a set is, under its first name and its second.
std::map<std::string, std::int64_t> index_of(const ImageSet& set) {
  std::map<std::string, std::int64_t> out;
  for (std::size_t i = 0; i < set.aliases().size(); ++i) out.emplace(set.aliases()[i], static_cast<std::int64_t>(i));
  for (std::size_t i = 0; i < set.keys().size(); ++i) out[set.keys()[i]] = static_cast<std::int64_t>(i);
  return out;
}

double number_or_nan(const Json& j) { return j.is_number() ? j.get<double>() : std::nan(""); }

void add_scores(ReportPage& page, const std::vector<std::string>& files, const std::string& paper, Json& provenance) {
  std::map<std::string, std::size_t> at;
  std::vector<Json> read;
  for (const auto& file : files) {
    const Json j = read_json_file(file);
    if (!j.contains("scores") || !j["scores"].is_object()) throw data_error("{}: no scores: a file of me2-eval score --out expected", file);
    read.push_back(j);
    for (const auto& [name, s] : j["scores"].items()) {
      ReportScore score;
      score.name = name;
      const auto meaning = meaning_of(name);
      score.label = meaning.label, score.meaning = meaning.text;
      const std::string published = "among 300";  // retrieval's; of fewer images it was among those
      if (const auto place = meaning.text.find(published); place != std::string::npos && s.contains("details") && s["details"].value("ways", Json()).is_number())
        score.meaning.replace(place, published.size(), fmt::format("among {}", s["details"]["ways"].get<double>()));
      score.value = number_or_nan(s.value("value", Json()));
      if (s.contains("low") && s["low"].is_number()) score.low = s["low"].get<double>();
      if (s.contains("high") && s["high"].is_number()) score.high = s["high"].get<double>();
      score.n = s.value("n", std::int64_t{0});
      score.lower_is_better = !s.value("higher_is_better", true);
      score.paper = paper_figure(paper, name);
      const auto [it, fresh] = at.emplace(name, page.scores.size());
      if (fresh) page.scores.push_back(score);
      else page.scores[it->second] = score;
    }
    if (j.contains("not_run"))
      for (const auto& [name, why] : j["not_run"].items()) page.not_run.emplace_back(name, why.get<std::string>());
    if (j.contains("notes"))
      for (const auto& note : j["notes"]) page.notes.push_back(note.get<std::string>());
    provenance.push_back({{"file", file}, {"provenance", j.value("provenance", Json())}});
  }
  std::set<std::string> told;  // of a score that another file has, or has told of, nothing
  std::erase_if(page.not_run, [&](const auto& score) { return at.contains(score.first) || !told.insert(score.first).second; });
  page.tables = report_tables(read);
}

// The commands of a provenance record and of all its inputs, oldest first, each once.
void add_commands(const Json& record, std::vector<std::string>& out) {
  if (record.is_array()) {
    for (const auto& r : record) add_commands(r, out);
    return;
  }
  if (!record.is_object()) return;
  for (const auto& [key, value] : record.items())
    if (value.is_structured() && key != "command" && key != "options") add_commands(value, out);
  if (!record.contains("command") || !record["command"].is_array()) return;
  std::string line;
  for (const auto& word : record["command"]) line += (line.empty() ? "" : " ") + (word.is_string() ? word.get<std::string>() : word.dump());
  if (std::find(out.begin(), out.end(), line) == out.end()) out.push_back(line);
}

struct Pictures {
  std::string label;
  ImageSet set;
  std::map<std::string, std::int64_t> index;
};

// Whose rows of the CSV belong to the pictures.
std::string shown_subject(const ReportInputs& in, const store::Table& table, std::size_t column) {
  std::vector<std::string> there;
  for (std::int64_t r = 0; r < table.rows(); ++r)
    if (std::find(there.begin(), there.end(), table.text(r, column)) == there.end()) there.push_back(table.text(r, column));
  const std::string wanted = !in.subject.empty() || in.recon.empty() ? in.subject : subject_labels({in.recon}, {}).front();
  if (std::find(there.begin(), there.end(), wanted) == there.end())
    throw usage_error("{}: scores of the subjects {}: --subject says whose pictures these are", in.per_image, fmt::join(there, ", "));
  return wanted;
}

void add_cards(ReportPage& page, const ReportInputs& in) {
  std::vector<Pictures> sets;
  const auto open = [&](const std::string& label, const std::string& path) {
    if (path.empty()) return;
    auto set = ImageSet::open(path);
    auto index = index_of(set);
    sets.push_back({label, std::move(set), std::move(index)});
  };
  open("stimulus", in.truth), open("reconstruction", in.recon), open("refined", in.refined), open("low-level", in.lowlevel);
  const Captions captions = in.captions.empty() ? Captions{} : read_captions(in.captions);
  const Captions references = in.references.empty() ? Captions{} : read_captions(in.references);
  std::map<std::string, std::vector<std::pair<std::string, double>>> scores;  // by id
  if (!in.per_image.empty()) {
    const auto table = store::Table::read(in.per_image);
    const auto id = table.need("id");
    const auto subject = table.find("subject");
    const std::string shown = subject ? shown_subject(in, table, *subject) : "";
    for (std::int64_t r = 0; r < table.rows(); ++r)
      for (std::size_t c = 0; c < table.columns().size(); ++c)
        if (c != id && c != subject && (!subject || table.text(r, *subject) == shown)) scores[table.text(r, id)].emplace_back(table.columns()[c], table.number(r, c));
  }
  if (sets.empty()) return;
  // The order is the reconstructions' (or whatever comes first after the stimuli).
  const auto& leading = sets.size() > 1 ? sets[1] : sets[0];
  const auto count = std::min<std::int64_t>(in.images, leading.set.size());
  for (std::int64_t i = 0; i < count; ++i) {
    ReportCard card;
    card.id = leading.set.keys().empty() ? std::to_string(i) : leading.set.keys()[static_cast<std::size_t>(i)];
    for (const auto& pictures : sets) {
      std::int64_t row = i;
      if (!pictures.index.empty()) {
        const auto found = pictures.index.find(card.id);
        if (found == pictures.index.end()) {
          if (pictures.label == "stimulus") throw data_error("{}: stimulus {} is not there, which {} shows", pictures.set.path(), card.id, leading.set.path());
          continue;
        }
        row = found->second;
      }
      card.pictures.push_back({pictures.label, picture_uri(pictures.set.read({row})[0], in.thumbnail)});
    }
    if (const auto it = captions.find(card.id); it != captions.end() && !it->second.empty()) card.caption = it->second.front();
    if (const auto it = references.find(card.id); it != references.end() && !it->second.empty()) card.reference = it->second.front();
    if (const auto it = scores.find(card.id); it != scores.end()) card.scores = it->second;
    page.cards.push_back(std::move(card));
  }
}

void add_charts(ReportPage& page) {
  std::vector<Bar> bars;
  for (const auto& s : page.scores)
    if (s.value >= 0 && s.value <= 1) bars.push_back({s.label, s.value, s.low.value_or(s.value), s.high.value_or(s.value), s.paper.value_or(-1)});
  if (!bars.empty()) page.charts.push_back(bar_chart(std::any_of(bars.begin(), bars.end(), [](const Bar& b) { return b.reference >= 0; }) ? "Scores (red: the paper)" : "Scores", bars));
  if (page.cards.empty() || page.cards.front().scores.size() < 2) return;
  const auto& names = page.cards.front().scores;
  Dots dots{"images", "#3d7ea6", {}, {}};
  for (const auto& card : page.cards)
    if (card.scores.size() >= 2) dots.points.emplace_back(card.scores[0].second, card.scores[1].second), dots.names.push_back(card.id);
  const auto x = meaning_of(names[0].first).label, y = meaning_of(names[1].first).label;
  page.charts.push_back(scatter(y + " against " + x + ", one dot for each stimulus", x, y, {dots}));
}

}  // namespace

ReportPage build_report(const ReportInputs& in) {
  ReportPage page;
  page.title = in.title;
  Json provenance = Json::array();
  add_scores(page, in.scores, in.paper, provenance);
  add_cards(page, in);
  for (const char* name : {"effnet", "swav", "pixcorr", "ssim"})  // what agrees best with people first
    if (page.sort_by.empty() && !page.cards.empty())
      for (const auto& [score, value] : page.cards.front().scores)
        if (score == name) page.sort_by = name;
  add_charts(page);
  if (!in.brain.empty() && !in.targets.empty()) {
    std::function<std::string(std::int32_t)> picture_of;
    if (!in.truth.empty())
      picture_of = [set = ImageSet::open(in.truth), limit = in.thumbnail](std::int32_t id) {
        const auto index = index_of(set);
        const auto it = index.find(std::to_string(id));
        return it == index.end() ? std::string() : picture_uri(set.read({it->second})[0], limit);
      };
    add_embeddings(page, in, picture_of);
  }
  page.setting = fmt::format("{} stimuli shown, {} scores. Values are fractions; intervals are 95% bootstraps over images.", page.cards.size(), page.scores.size());
  if (in.paper == "40" || in.paper == "1")
    page.setting += fmt::format(" The paper's column is the mean of subjects 1, 2, 5 and 7 with {} ({}).", in.paper == "40" ? "40 sessions" : "one session", kPaperSource);
  add_commands(provenance, page.commands);
  page.provenance = provenance.dump(2);
  return page;
}

}  // namespace me2::report
