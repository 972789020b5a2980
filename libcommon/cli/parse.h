// From argv to a verb with its options filled in.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/tool.h"

namespace me2::cli {

struct Parsed {
  std::string verb;
  std::shared_ptr<Verb::Instance> instance;  // its options struct is set
  CommonOptions common;                      // checked
};

// Empty when help, version, docs or completion was asked for and printed. Exit::usage with one sentence otherwise.
std::optional<Parsed> parse(const Tool& tool, const std::vector<std::string>& arguments);

}  // namespace me2::cli
