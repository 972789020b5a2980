// The only main and the only catch: parse, check, run, and turn an error into one line and an exit status.
#include <cstdio>
#include <iostream>

#include <CLI/CLI.hpp>

#include "base/error.h"
#include "base/version.h"
#include "cli/tool.h"

namespace me2::cli {
namespace {

CLI::Option* bind(CLI::App& app, const Item& item) {
  auto* option = item.role == Item::Role::flag
                     ? app.add_flag_function(item.name, [&item](std::int64_t) { item.set({"true"}); }, item.help)
                     : app.add_option_function<std::vector<std::string>>(
                           item.name, [&item](const std::vector<std::string>& words) { item.set(words); }, item.help);
  if (item.role != Item::Role::flag) {
    option->type_name(item.type);
    if (item.repeated) option->expected(item.required ? 1 : 0, -1);
    else option->expected(1);
    option->required(item.required);
  }
  return option;
}

int run(int argc, char** argv) {
  const Tool& tool = this_tool();
  CLI::App app(tool.summary, tool.name);
  app.set_version_flag("--version", tool.name + " " + ME2_VERSION);
  app.require_subcommand(1);
  CommonOptions common;
  Describe common_described;
  common.describe(common_described);
  std::vector<std::pair<CLI::App*, std::shared_ptr<Verb::Instance>>> verbs;
  for (const auto& verb : tool.verbs) {
    auto* sub = app.add_subcommand(verb.name, verb.summary);
    auto instance = verb.make();
    for (const auto& item : instance->described.items()) bind(*sub, item);
    for (const auto& item : common_described.items()) bind(*sub, item)->group("Common options");
    verbs.emplace_back(sub, instance);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);
    throw usage_error("{} (see {} --help)", e.what(), tool.name);
  }
  for (auto& [sub, instance] : verbs) {
    if (!sub->parsed()) continue;
    Run run(tool.name, sub->get_name(), common, &instance->described);
    instance->run(run);
  }
  return 0;
}

}  // namespace
}  // namespace me2::cli

int main(int argc, char** argv) {
  try {
    return me2::cli::run(argc, argv);
  } catch (const me2::Error& e) {
    std::fprintf(stderr, "%s: %s\n", me2::cli::this_tool().name.c_str(), e.what());
    return static_cast<int>(e.exit());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s: internal error: %s\n", me2::cli::this_tool().name.c_str(), e.what());
    return static_cast<int>(me2::Exit::internal);
  }
}
