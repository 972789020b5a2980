#include "cli/rerun.h"

#include <algorithm>
#include <boost/process/args.hpp>
#include <boost/process/child.hpp>
#include <boost/process/exe.hpp>
#include <boost/process/io.hpp>
#include <boost/process/start_dir.hpp>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <system_error>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/signals.h"

namespace me2::cli {
namespace {

namespace fs = std::filesystem;

// Options that say how a run went and not what it made.
constexpr const char* kNotReplayed[] = {"--resume", "--overwrite", "--shard", "--dry-run", "--progress", "--log-format", "--quiet", "--verbose", "--threads"};

const Json& member(const Json& record, const char* key, const std::string& where) {
  if (!record.is_object() || !record.contains(key)) throw data_error("{}: its provenance has no \"{}\": it cannot be replayed", where, key);
  return record[key];
}

std::string text_of(const Json& record, const char* key, const std::string& where) {
  const Json& value = member(record, key, where);
  if (!value.is_string()) throw data_error("{}: \"{}\" of its provenance is not text", where, key);
  return value.get<std::string>();
}

std::string absolute(const std::string& folder, const std::string& path) {
  std::string out = (fs::path(folder) / path).lexically_normal().string();
  while (out.size() > 1 && out.back() == '/') out.pop_back();
  return out;
}

bool is_tool(const std::string& name) {
  return name.starts_with("me2-") && name.size() > 4 && std::all_of(name.begin() + 4, name.end(), [](char c) { return c >= 'a' && c <= 'z'; });
}

std::string identity(const Json& record) {
  std::string out;
  for (const char* key : {"tool", "folder", "command", "started"}) out += record.contains(key) ? record[key].dump() : "-";
  return out;
}

// Which output of the maker this input is: by its path, else the only one, else the one of the same name (a store that was moved).
int output_of(const ReplayStep& maker, const std::string& path, std::string& inside) {
  for (std::size_t i = 0; i < maker.outputs.size(); ++i) {
    const auto& of = maker.outputs[i].path;
    if (path == of) return static_cast<int>(i);
    if (path.starts_with(of + "/")) {
      inside = path.substr(of.size() + 1);
      return static_cast<int>(i);
    }
  }
  if (maker.outputs.size() == 1) return 0;
  for (std::size_t i = 0; i < maker.outputs.size(); ++i)
    if (fs::path(maker.outputs[i].path).filename() == fs::path(path).filename()) return static_cast<int>(i);
  return -1;
}

int add(std::vector<ReplayStep>& steps, const Json& record, const std::string& where, int depth) {
  if (depth > 32) throw data_error("{}: its provenance is more than 32 steps deep", where);
  if (!record.is_object()) throw data_error("{}: its provenance is not a record", where);
  if (const int known = step_of(steps, record); known >= 0) return known;
  ReplayStep step;
  step.tool = text_of(record, "tool", where), step.verb = text_of(record, "verb", where), step.folder = text_of(record, "folder", where);
  if (!is_tool(step.tool) || step.verb == "rerun") throw data_error("{}: its provenance names \"{} {}\": a verb of an me2 tool expected", where, step.tool, step.verb);
  if (!member(record, "command", where).is_array()) throw data_error("{}: \"command\" of its provenance is not a list of words", where);
  if (!member(record, "options", where).is_object()) throw data_error("{}: \"options\" of its provenance is not an object", where);
  for (const auto& output : member(record, "outputs", where))
    step.outputs.push_back({text_of(output, "option", where), absolute(step.folder, text_of(output, "path", where)), ""});
  for (const char* list : {"inputs", "models"})
    for (const auto& source : member(record, list, where)) {
      ReplaySource in{text_of(source, "option", where), absolute(step.folder, text_of(source, "path", where)), text_of(source, "sha256", where)};
      in.shipped = source.contains("provenance") && source["provenance"].is_object() && !source["provenance"].contains("folder");
      if (source.contains("provenance") && !in.shipped) {
        const int maker = add(steps, source["provenance"], where, depth + 1);
        in.output = output_of(steps[maker], in.path, in.inside);
        if (in.output >= 0) in.step = maker;  // else: something beside what the maker says it wrote, read where it lies
      }
      step.sources.push_back(std::move(in));
    }
  step.record = std::make_shared<const Json>(record);
  steps.push_back(std::move(step));
  return static_cast<int>(steps.size()) - 1;
}

bool typed(const std::vector<std::string>& command, const std::string& option) {
  return std::any_of(command.begin(), command.end(), [&](const std::string& word) { return word == option || word.starts_with(option + "="); });
}

// Words of the replayed command: what was typed, taken from the recorded values so that "-" and relative paths are resolved.
std::vector<std::string> words_of(const std::vector<ReplayStep>& steps, const ReplayStep& step, int threads) {
  const Json& record = *step.record;
  std::vector<std::string> command;
  for (const auto& word : record["command"]) command.push_back(word.is_string() ? word.get<std::string>() : word.dump());
  const auto now = [&](const ReplaySource& source) {
    return source.step < 0 ? source.path : steps[source.step].outputs[source.output].replayed + (source.inside.empty() ? "" : "/" + source.inside);
  };
  const auto mapped = [&](const std::string& option, const std::string& value) {
    const auto is = [&](const auto& p) { return (p.option == option || p.option.starts_with(option + ",")) && p.path == absolute(step.folder, value); };
    if (const auto it = std::find_if(step.outputs.begin(), step.outputs.end(), is); it != step.outputs.end()) return it->replayed;
    const auto it = std::find_if(step.sources.begin(), step.sources.end(), is);
    if (const auto equals = value.find('='); it == step.sources.end() && equals != std::string::npos) {  // NAME=PATH
      const auto named = [&](const ReplaySource& p) { return p.option == option && p.path == absolute(step.folder, value.substr(equals + 1)); };
      if (const auto of = std::find_if(step.sources.begin(), step.sources.end(), named); of != step.sources.end())
        return value.substr(0, equals + 1) + now(*of);
    }
    if (it == step.sources.end()) {
      // Folders and files without a digest (a release, several runs of BOLD) are not among the recorded inputs: the replay runs elsewhere.
      const bool path_like = !option.starts_with("--") || value.find_first_of("/.") != std::string::npos;
      std::error_code failed;
      return path_like && fs::exists(absolute(step.folder, value), failed) ? absolute(step.folder, value) : value;
    }
    return now(*it);
  };
  std::vector<std::string> words{step.verb}, positional;
  const auto take = [&](const std::string& option, const Json& value) {
    if (!value.is_string()) return;
    const std::string text = mapped(option, value.get<std::string>());
    if (option.starts_with("--")) words.push_back(option + "=" + text);
    else positional.push_back(text);
  };
  for (const char* name : {"options", "common_options"}) {
    const Json group = record.value(name, Json::object());
    for (const auto& [option, value] : group.items()) {
      const bool named = option.starts_with("--");
      if (named && (!typed(command, option) || std::find(std::begin(kNotReplayed), std::end(kNotReplayed), option) != std::end(kNotReplayed))) continue;
      if (value.is_array())
        for (const auto& one : value) take(option, one);
      else if (named && value == "true" && std::find(command.begin(), command.end(), option) != command.end() && !typed(command, option + "=true"))
        words.push_back(option);
      else
        take(option, value);
    }
  }
  const int recorded = record.value("threads", Json()).is_number_integer() ? record["threads"].get<int>() : 0;
  if (const int n = threads > 0 ? threads : recorded; n > 0) words.push_back(fmt::format("--threads={}", n));
  words.push_back("--quiet");
  words.insert(words.end(), positional.begin(), positional.end());
  return words;
}

int run(const std::string& tool, const std::vector<std::string>& words, const std::string& folder, const std::string& out, const std::string& err) {
  namespace bp = boost::process;
  std::error_code failed;
  bp::child child(bp::exe = tool, bp::args = words, bp::start_dir = folder, bp::std_in < bp::null, bp::std_out > out, bp::std_err > err, failed);
  if (failed) throw missing_error("{}: {}", tool, failed.message());
  bool told = false;
  while (child.running(failed)) {
    if (stop_requested() && !told) {
      ::kill(child.id(), SIGTERM);  // it ends in order, and we after it
      told = true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  check_stop();
  return child.exit_code();
}

std::string last_line(const std::string& file) {
  std::string text = read_file(file);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.substr(text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1);
}

}  // namespace

std::string ReplayStep::command() const {
  std::string out;
  for (const auto& word : (*record)["command"]) out += (out.empty() ? "" : " ") + (word.is_string() ? word.get<std::string>() : word.dump());
  return out;
}

int step_of(const std::vector<ReplayStep>& steps, const Json& record) {
  for (std::size_t i = 0; i < steps.size(); ++i)
    if (identity(*steps[i].record) == identity(record)) return static_cast<int>(i);
  return -1;
}

std::vector<ReplayStep> replay_steps(const std::vector<Json>& records, const std::string& where, int last) {
  std::vector<ReplayStep> steps;
  for (const auto& record : records) add(steps, record, where, 0);
  if (last <= 0 || last >= static_cast<int>(steps.size())) return steps;
  const int cut = static_cast<int>(steps.size()) - last;
  steps.erase(steps.begin(), steps.begin() + cut);
  for (auto& step : steps)
    for (auto& source : step.sources) source.step = std::max(-1, source.step - cut);
  return steps;
}

std::vector<ReplaySource> gone(const std::vector<ReplayStep>& steps) {
  std::vector<ReplaySource> out;
  for (const auto& step : steps)
    for (const auto& source : step.sources)
      if (std::error_code failed; source.step < 0 && !fs::exists(source.path, failed)) out.push_back(source);
  return out;
}

void replay(std::vector<ReplayStep>& steps, std::size_t index, const std::string& scratch, const std::string& tools_folder, int threads) {
  ReplayStep& step = steps[index];
  const std::string folder = absolute(fs::absolute(scratch).string(), fmt::format("{:02}-{}-{}", index + 1, step.tool.substr(4), step.verb));
  fs::create_directories(folder + "/out");
  std::vector<std::string> names;
  for (auto& output : step.outputs) {
    std::string name = fs::path(output.path).filename().string();
    while (std::find(names.begin(), names.end(), name) != names.end()) name = "_" + name;
    names.push_back(name);
    output.replayed = folder + "/out/" + name;
  }
  const std::string tool = tools_folder + "/" + step.tool, err = folder + "/stderr.txt";
  if (!fs::exists(tool)) throw missing_error("{}: not there, and step {} ({}) needs it", tool, index + 1, step.name());
  auto words = words_of(steps, step, threads);
  const auto fail = [&](int code) {
    return data_error("step {} ({}) ended with {}: {}", index + 1, step.name(), code, last_line(err));
  };
  // A record is data: what it makes the tool write is asked of the tool itself before it may.
  auto asked = words;
  asked.insert(asked.begin() + 1, "--dry-run");
  if (!typed(asked, "--json")) asked.insert(asked.begin() + 1, "--json");
  const std::string plan_file = folder + "/plan.json";
  if (const int code = run(tool, asked, folder, plan_file, err); code != 0) throw fail(code);
  const Json planned = read_json_file(plan_file).value("outputs", Json::object());
  for (const auto& [option, path] : planned.items())
    if (!path.is_string() || !absolute(folder, path.get<std::string>()).starts_with(folder + "/"))
      throw data_error("step {} ({}) would write {} {} outside the scratch folder: not replayed", index + 1, step.name(), option, path.dump());
  step.printed = folder + "/stdout.txt";
  const auto start = std::chrono::steady_clock::now();
  if (const int code = run(tool, words, folder, step.printed, err); code != 0) throw fail(code);
  step.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string own_folder() {
  std::error_code failed;
  const auto self = fs::read_symlink("/proc/self/exe", failed);
  if (failed) throw Error(Exit::internal, "the folder of this executable cannot be found: " + failed.message());
  return self.parent_path().string();
}

}  // namespace me2::cli
