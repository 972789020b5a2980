#include "ingest/events.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "ingest/stimuli.h"
#include "store/table.h"
#include "store/zarr.h"

namespace me2::ingest {

namespace fs = std::filesystem;

std::vector<Event> read_events(const CustomOptions& options, std::int64_t& ignored) {
  const std::set<std::string> ignore(options.ignore.begin(), options.ignore.end());
  std::vector<Event> out;
  ignored = 0;
  for (std::size_t k = 0; k < options.events.size(); ++k) {
    const auto table = store::Table::read(options.events[k].path);
    std::optional<std::size_t> stimulus;
    if (!options.stimulus_column.empty()) {
      stimulus = table.need(options.stimulus_column);
    } else {
      for (const char* name : {"stim_file", "stimulus", "image", "trial_type"})
        if (!stimulus) stimulus = table.find(name);
      if (!stimulus) throw data_error("{}: none of the columns stim_file, stimulus, image, trial_type is there; name one by --stimulus-column; the table has {}",
                                      table.where(), fmt::join(table.columns(), ", "));
    }
    const bool bold = !options.bold.empty();
    const auto onset = bold ? table.need("onset") : table.find("onset").value_or(SIZE_MAX), duration = bold ? table.need("duration") : table.find("duration").value_or(SIZE_MAX);
    const auto session = table.find("session"), run = table.find("run");
    std::optional<std::size_t> split;
    if (options.split.starts_with("column:")) split = table.need(options.split.substr(7));
    std::map<std::tuple<int, int, double>, std::int64_t> seen;
    for (std::int64_t r = 0; r < table.rows(); ++r) {
      Event e;
      e.table = static_cast<int>(k);
      e.line = table.line(r);
      e.row = r;
      e.session = session ? static_cast<int>(table.integer(r, *session)) : 1;
      // Without a run column every table is a run; within a session they count from 1.
      e.run = run ? static_cast<int>(table.integer(r, *run)) : static_cast<int>(k) + 1;
      if (e.session < 1 || e.run < 1 || e.session > 30000 || e.run > 30000)
        throw data_error("{}: line {}: session {} and run {}; both count from 1", table.where(), e.line, e.session, e.run);
      e.stimulus = table.text(r, *stimulus);
      if (table.empty(r, *stimulus) || ignore.contains(e.stimulus)) {
        ++ignored;
        continue;
      }
      if (onset != SIZE_MAX) {
        e.time.onset = table.number(r, onset);
        if (!std::isfinite(e.time.onset)) throw data_error("{}: line {}: onset is missing", table.where(), e.line);
        const auto [at, fresh] = seen.emplace(std::tuple{e.session, e.run, e.time.onset}, e.line);
        if (!fresh) throw data_error("{}: line {}: duplicate trial: run {} has another event at {} s (line {})", table.where(), e.line, e.run, e.time.onset, at->second);
      }
      if (duration != SIZE_MAX) {
        e.time.duration = table.number(r, duration);
        if (std::isnan(e.time.duration)) e.time.duration = 0;
        if (e.time.duration < 0) throw data_error("{}: line {}: duration {} is negative", table.where(), e.line, e.time.duration);
      }
      if (split) e.split = table.text(r, *split);
      out.push_back(std::move(e));
    }
  }
  if (out.empty()) throw data_error("{}: no trials in the events", options.events.empty() ? "--events" : options.events[0].path);
  return out;
}

std::vector<std::int32_t> stimulus_rows(const CustomOptions& options, const std::vector<Event>& events, std::vector<std::string>& names) {
  if (options.images && options.stimuli) throw usage_error("--images and --stimuli: only one of the two");
  std::vector<std::string> known;
  std::string where;
  if (options.images) {
    where = options.images->path;
    if (!fs::is_directory(where)) throw missing_error("{}: no such folder; images were expected", where);
    known = list_images(where);
  } else if (options.stimuli) {
    where = options.stimuli->path;
    known = store::Group::open(where).array("name").read_strings();
  } else {
    std::set<std::string> all;
    for (const auto& e : events) all.insert(e.stimulus);
    known.assign(all.begin(), all.end());
    names = known;
  }
  std::map<std::string, std::int32_t> row;
  std::map<std::string, int> tails;  // file names without folder that occur once may be given so
  for (std::size_t i = 0; i < known.size(); ++i) row.emplace(known[i], static_cast<std::int32_t>(i));
  std::map<std::string, std::int32_t> by_tail;
  for (std::size_t i = 0; i < known.size(); ++i) {
    const std::string tail = fs::path(known[i]).filename().string();
    if (++tails[tail] == 1) by_tail[tail] = static_cast<std::int32_t>(i);
  }
  std::vector<std::int32_t> out;
  for (const Event& e : events) {
    auto found = row.find(e.stimulus);
    if (found == row.end()) {
      const std::string tail = fs::path(e.stimulus).filename().string();
      if (tails.contains(tail) && tails[tail] == 1) found = by_tail.find(tail);
      else throw data_error("{}: line {}: image {} is not in {}", options.events[static_cast<std::size_t>(e.table)].path, e.line, e.stimulus, where);
    }
    out.push_back(found->second);
  }
  return out;
}

namespace {

std::set<int> numbers(const std::string& rule, const std::string& text) {
  std::set<int> out;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    int value = 0;
    const auto [stop, error] = std::from_chars(text.data() + at, text.data() + end, value);
    if (error != std::errc() || stop != text.data() + end) throw usage_error("--split {}: numbers separated by commas expected", rule);
    out.insert(value);
    at = end + 1;
  }
  return out;
}

}  // namespace

std::vector<std::int8_t> split_events(const CustomOptions& options, const std::vector<Event>& events, const std::vector<std::int32_t>& stimulus, std::uint64_t seed) {
  std::vector<std::int8_t> out(events.size(), 0);
  const std::string& rule = options.split;
  if (rule.empty()) return out;
  const std::size_t colon = rule.find(':');
  const std::string kind = rule.substr(0, colon), rest = colon == std::string::npos ? "" : rule.substr(colon + 1);
  if (kind == "run" || kind == "session") {
    const auto chosen = numbers(rule, rest);
    for (std::size_t i = 0; i < events.size(); ++i) out[i] = chosen.contains(kind == "run" ? events[i].run : events[i].session);
  } else if (kind == "share") {
    double share = 0;
    const auto [stop, error] = std::from_chars(rest.data(), rest.data() + rest.size(), share);
    if (error != std::errc() || stop != rest.data() + rest.size() || !(share > 0 && share < 1)) throw usage_error("--split {}: a share between 0 and 1 expected", rule);
    const std::set<std::int32_t> unique(stimulus.begin(), stimulus.end());
    std::vector<std::int32_t> images(unique.begin(), unique.end());
    Random(seed, "split").shuffle(std::span(images));
    const auto n = std::clamp<std::size_t>(static_cast<std::size_t>(std::lround(share * static_cast<double>(images.size()))), 1, images.size());
    const std::set<std::int32_t> test(images.begin(), images.begin() + static_cast<std::ptrdiff_t>(n));
    for (std::size_t i = 0; i < events.size(); ++i) out[i] = test.contains(stimulus[i]);
  } else if (kind == "file") {
    const std::string text = read_file(rest);
    std::set<std::string> test, seen;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = std::min(text.find('\n', at), text.size());
      std::string name = text.substr(at, end - at);
      if (name.ends_with('\r')) name.pop_back();
      if (!name.empty()) test.insert(name);
      at = end + 1;
    }
    for (std::size_t i = 0; i < events.size(); ++i) {
      out[i] = test.contains(events[i].stimulus);
      if (out[i]) seen.insert(events[i].stimulus);
    }
    for (const auto& name : test)
      if (!seen.contains(name)) throw data_error("{}: '{}' is no stimulus of any event", rest, name);
  } else if (kind == "column") {
    for (std::size_t i = 0; i < events.size(); ++i) {
      const std::string& word = events[i].split;
      if (word != "test" && word != "train" && word != "1" && word != "0")
        throw data_error("{}: line {}: column '{}': train or test expected, '{}' found", options.events[static_cast<std::size_t>(events[i].table)].path, events[i].line, rest, word);
      out[i] = word == "test" || word == "1";
    }
  } else {
    throw usage_error("--split {}: run:, session:, share:, file: or column: expected", rule);
  }
  const auto tests = std::count(out.begin(), out.end(), 1);
  if (tests == 0) throw data_error("--split {}: an empty split: no trial is a test trial", rule);
  if (tests == static_cast<std::ptrdiff_t>(out.size())) throw data_error("--split {}: an empty split: every trial is a test trial", rule);
  return out;
}

}  // namespace me2::ingest
