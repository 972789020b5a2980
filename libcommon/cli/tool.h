// One tool = one file in tools/: its verbs, each an options struct with describe() and a function.
//     ME2_TOOL("me2-align", "Map a subject's voxels into the shared latent space",
//              {verb("apply", "project betas through a ridge map", apply), verb("fit", "...", fit)});
// Everything else (parsing, help, checks, provenance, exit status) happens in cli/main.cpp.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/describe.h"
#include "cli/run.h"

namespace me2::cli {

struct Verb {
  std::string name;
  std::string summary;
  struct Instance {  // one options struct, described
    Describe described;
    std::function<void(Run&)> run;
  };
  std::function<std::shared_ptr<Instance>()> make;
};

struct Tool {
  std::string name;
  std::string summary;
  std::vector<Verb> verbs;
};

template <class Options>
Verb verb(std::string name, std::string summary, void (*function)(const Options&, Run&)) {
  return {std::move(name), std::move(summary), [function] {
            struct Holder : Verb::Instance {
              Options options;
            };
            auto holder = std::make_shared<Holder>();
            holder->options.describe(holder->described);
            holder->run = [function, options = &holder->options](Run& run) { function(*options, run); };
            return std::shared_ptr<Verb::Instance>(holder);
          }};
}

const Tool& this_tool();  // defined by ME2_TOOL in each tool

}  // namespace me2::cli

#define ME2_TOOL(name, summary, ...)                                  \
  const me2::cli::Tool& me2::cli::this_tool() {                       \
    static const me2::cli::Tool tool{name, summary, __VA_ARGS__};     \
    return tool;                                                      \
  }
