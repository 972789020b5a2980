// Every text that is made from the descriptions of a tool's verbs.
#pragma once
#include <string>

#include "cli/tool.h"

namespace me2::cli {

std::string tool_help(const Tool& tool);
std::string verb_help(const Tool& tool, const Verb& verb);
std::string version_text(const Tool& tool);
std::string tool_markdown(const Tool& tool);    // docs/tools/<tool>.md
std::string common_markdown();                  // the table in docs/common-options.md
std::string completion(const Tool& tool, const std::string& shell);  // bash, zsh or fish; Exit::usage for another

}  // namespace me2::cli
