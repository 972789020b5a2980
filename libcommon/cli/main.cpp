// The only main and the only catch: parse, check, run, and turn an error into one line and an exit status.
#include <algorithm>
#include <cstdlib>
#include <new>
#include <string>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/signals.h"
#include "cli/parse.h"
#include "cli/paths.h"
#include "cli/stdout.h"
#include "cli/tool.h"

namespace me2::cli {
namespace {

constexpr int kBrokenPipe = 141;  // what a shell shows for a command that SIGPIPE ended

// As far as it can be known before parsing, so that usage errors are in the right form too.
LogSettings first_settings(const Tool& tool, const std::vector<std::string>& arguments) {
  LogSettings log{tool.name, "", LogLevel::info, false};
  if (!arguments.empty())
    for (const auto& verb : tool.verbs)
      if (verb.name == arguments.front()) log.verb = verb.name;
  for (std::size_t i = 0; i < arguments.size(); ++i)
    log.json |= arguments[i] == "--log-format=json" || (arguments[i] == "--log-format" && i + 1 < arguments.size() && arguments[i + 1] == "json");
  return log;
}

void run(const Tool& tool, const std::vector<std::string>& arguments) {
  const auto parsed = parse(tool, arguments);
  if (!parsed) return;
  const CommonOptions& common = parsed->common;
  const auto level = common.quiet ? LogLevel::error : common.verbose ? LogLevel::debug : LogLevel::info;
  set_log({tool.name, parsed->verb, level, common.log_format == LogFormat::json});
  set_progress_mode(common.progress);
  Paths paths(parsed->instance->described.items(), common);
  Run run(tool.name, parsed->verb, common, &parsed->instance->described);
  run.set_paths(&paths);
  std::vector<std::string> command{tool.name};
  command.insert(command.end(), arguments.begin(), arguments.end());
  run.set_command(std::move(command));
  if (common.dry_run) {
    for (const auto* list : {&paths.inputs(), &paths.models()})
      for (const auto& [option, path] : *list) run.plan().input(option, path);
    for (const auto& [option, path] : paths.outputs()) run.plan().output(option, path);
  }
  parsed->instance->run(run);
  if (common.dry_run) write_stdout(common.json ? run.plan().to_json().dump(2) + "\n" : run.plan().to_text());
  finish_stdout();
  paths.hand_over();
}

int failed(const Error& error, const std::vector<std::string>& arguments) {
  if (std::find(arguments.begin(), arguments.end(), "-") != arguments.end()) discard_handover();
  set_status_line("");
  log_failure(error);
  return static_cast<int>(error.exit());
}

}  // namespace
}  // namespace me2::cli

int main(int argc, char** argv) {
  using namespace me2;
  const cli::Tool& tool = cli::this_tool();
  const std::vector<std::string> arguments(argv + (argc > 0), argv + argc);
  cli::open_closed_streams();
  watch_signals();
  set_log(cli::first_settings(tool, arguments));
  try {
    cli::run(tool, arguments);
    return 0;
  } catch (const cli::BrokenPipe&) {
    return cli::kBrokenPipe;
  } catch (const Error& e) {
    return cli::failed(e, arguments);
  } catch (const Json::exception& e) {  // text that parsed, and then held something else than what was asked for
    const std::string text = e.what();
    return cli::failed(Error(Exit::data, "a field of a model's config.json or of a store's attributes: " + text.substr(text.find("] ") + 1 ? text.find("] ") + 2 : 0)), arguments);
  } catch (const std::bad_alloc&) {
    return cli::failed(Error(Exit::internal, "not enough memory (a smaller --batch-size or fewer --threads may help)"), arguments);
  } catch (const std::system_error& e) {  // of the standard library: files and fmt::print
    if (e.code() == std::errc::broken_pipe) return cli::kBrokenPipe;
    return cli::failed(Error(Exit::io, e.what()), arguments);
  } catch (const std::exception& e) {
    const std::string text = e.what();
    if (text.find("CUDA out of memory") != text.npos)
      return cli::failed(Error(Exit::internal, "not enough GPU memory (a smaller --batch-size, or --dtype bf16, may help)"), arguments);
    return cli::failed(Error(Exit::internal, "internal error: " + text.substr(0, text.find('\n'))), arguments);
  }
}
