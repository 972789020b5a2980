// me2-eval rerun: replay what a result came from, and say what differs.
#pragma once
#include <filesystem>

#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/temp.h"
#include "cli/rerun.h"
#include "cli/tool.h"
#include "report/compare_outputs.h"

namespace me2 {

struct RerunVerb {
  InputPath file;
  std::optional<OutputPath> keep;
  double tolerance = 1e-5;
  int last = 0;
  void describe(Describe& d) {
    d.positional("FILE", file, "scores file (JSON), report (HTML), store or model directory of these tools");
    d.option("--tolerance", tolerance, "|a - b| <= this * max(1, |a|) counts as within tolerance");
    d.option("--last", last, "replay the last so many steps only, on the stores there are (0: the whole chain)");
    d.option("--keep", keep, "folder to replay in, and to keep (default: a temporary one, removed)");
  }
};

namespace eval_rerun {

struct Row {
  std::string step;
  report::Compared compared;
};

inline std::string table(const std::vector<cli::ReplayStep>& steps, const std::vector<Row>& rows) {
  std::string out;
  std::vector<std::string> shipped;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    out += fmt::format("{:>2}  {}\n", i + 1, steps[i].command());
    for (const auto& source : steps[i].sources)
      if (source.shipped && std::find(shipped.begin(), shipped.end(), source.path) == shipped.end()) shipped.push_back(source.path);
  }
  if (!shipped.empty()) out += fmt::format("as they lie, for their records do not say where they were made: {}\n", fmt::join(shipped, ", "));
  std::size_t width = 10;
  for (const auto& row : rows) width = std::max(width, row.compared.what.size());
  out += fmt::format("\nstep  {:<{}}  result\n", "what", width);
  for (const auto& [step, c] : rows)
    out += fmt::format("{:>4}  {:<{}}  {}{}\n", step, c.what, width, report::sameness_name(c.state), c.detail.empty() ? "" : ": " + c.detail);
  return out;
}

inline Json json(const std::vector<cli::ReplayStep>& steps, const std::vector<Row>& rows, bool reproduced) {
  Json out{{"reproduced", reproduced}, {"steps", Json::array()}, {"compared", Json::array()}};
  for (const auto& step : steps) out["steps"].push_back({{"tool", step.tool}, {"verb", step.verb}, {"command", (*step.record)["command"]}, {"seconds", step.seconds}});
  for (const auto& [step, c] : rows)
    out["compared"].push_back({{"step", std::stoi(step)}, {"what", c.what}, {"result", report::sameness_name(c.state)}, {"detail", c.detail}});
  return out;
}

// The output of the step that FILE is, when FILE was moved: of its name, else the only one of its kind. -1: what was printed.
inline int place_of(const cli::ReplayStep& step, const std::filesystem::path& file) {
  int found = -1, alike = 0;
  for (std::size_t i = 0; i < step.outputs.size(); ++i) {
    const std::filesystem::path path = step.outputs[i].path;
    if (path == file || path.filename() == file.filename()) return static_cast<int>(i);
    if (path.extension() == file.extension()) found = static_cast<int>(i), ++alike;
  }
  return alike == 1 ? found : -1;
}

}  // namespace eval_rerun

inline void rerun(const RerunVerb& o, cli::Run& run) {
  namespace fs = std::filesystem;
  using report::Sameness;
  if (!(o.tolerance >= 0)) throw usage_error("--tolerance: a number from 0 expected, {} given", o.tolerance);
  if (o.last < 0) throw usage_error("--last: a number from 0 expected, {} given", o.last);
  const auto records = report::provenance_records(o.file.path);
  auto steps = cli::replay_steps(records, o.file.path, o.last);
  if (const auto lost = cli::gone(steps); !lost.empty()) {
    std::vector<std::string> names;
    for (const auto& source : lost) names.push_back(fmt::format("{} ({})", source.path, source.option));
    throw missing_error("{}: {} of what it was made from {} gone: {}", o.file.path, lost.size(), lost.size() == 1 ? "is" : "are", fmt::join(names, ", "));
  }
  if (run.dry_run()) {
    double seconds = 0;
    for (std::size_t i = 0; i < steps.size(); ++i) {
      run.plan().note(fmt::format("step {}", i + 1), steps[i].command());
      seconds += steps[i].record->value("seconds", 0.0);
    }
    run.plan().seconds(seconds, "what the steps took when they were recorded");
    return;
  }
  std::vector<eval_rerun::Row> rows;
  std::optional<TemporaryFolder> scratch;
  if (o.keep) fs::create_directories(o.keep->path);
  else scratch.emplace("me2-rerun-");
  const std::string folder = o.keep ? o.keep->path : scratch->path();
  const fs::path file = fs::absolute(o.file.path).lexically_normal();
  const bool single = !file.string().ends_with(".html");  // FILE itself is what the last step made
  auto progress = run.progress("rerun", static_cast<std::int64_t>(steps.size()));
  for (std::size_t i = 0; i < steps.size(); ++i) {
    auto& step = steps[i];
    const std::string number = std::to_string(i + 1);
    for (const auto& source : step.sources)
      if (source.step < 0 && sha256_path(source.path) != source.sha256)
        rows.push_back({number, {source.path, Sameness::different, fmt::format("{} is not the file it was: its SHA-256 has changed", source.option)}});
    cli::replay(steps, i, folder, cli::own_folder(), run.options().threads);
    const bool last = single && i + 1 == steps.size();
    const int place = last ? eval_rerun::place_of(step, file) : -1;
    for (std::size_t k = 0; k < step.outputs.size(); ++k) {
      const std::string original = last && place == static_cast<int>(k) ? file.string() : step.outputs[k].path;
      const auto list = report::compare_outputs(original, step.outputs[k].replayed, fs::path(original).filename().string(), o.tolerance);
      for (const auto& one : list) rows.push_back({number, one});
    }
    if (last && place < 0)  // FILE is what a run with --json printed
      for (const auto& one : report::compare_scores(read_json_file(file), read_json_file(step.printed), file.filename().string(), o.tolerance)) rows.push_back({number, one});
    progress.advance();
  }
  std::size_t differ = 0;
  for (const auto& row : rows) differ += row.compared.state == Sameness::different;
  run.print(run.options().json ? eval_rerun::json(steps, rows, differ == 0).dump(1) + "\n" : eval_rerun::table(steps, rows));
  if (differ) throw data_error("{}: {} of {} differ from what they were", o.file.path, differ, rows.size());
}

}  // namespace me2
