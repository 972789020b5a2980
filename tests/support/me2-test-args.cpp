// A tool of the tests that takes every type of argument, so that the parser is tested once and not in each tool.
#include <unistd.h>

#include <fstream>

#include "base/json.h"
#include "base/signals.h"
#include "cli/tool.h"
#include "store/stage.h"

namespace me2 {
namespace {

enum class Colour { red, green, dark_blue };

struct AllOptions {
  InputPath input;
  std::optional<std::string> word;
  bool flag = false;
  int whole = 3;
  std::int64_t large = -5;
  std::uint64_t natural = 7;
  double real = 0.1;
  std::string text = "plain";
  Colour colour = Colour::green;
  std::optional<int> maybe;
  std::vector<int> sessions;
  std::vector<std::string> names;
  std::vector<Colour> colours;
  std::optional<InputPath> mask;
  std::vector<InputPath> more;
  std::string needed;
  void describe(Describe& d) {
    d.positional("INPUT", input, "a file or folder");
    d.positional("WORD", word, "anything");
    d.required("--needed", needed, "must be given");
    d.option("--flag", flag, "on or off");
    d.option("--whole", whole, "a whole number");
    d.option("--large", large, "64 bits");
    d.option("--natural", natural, "64 bits from 0");
    d.option("--real", real, "a number");
    d.option("--text", text, "a text with a | in its help");
    d.option("--colour", colour, "one of three");
    d.option("--maybe", maybe, "may stay unset");
    d.option("--sessions", sessions, "several whole numbers");
    d.option("--names", names, "several texts");
    d.option("--colours", colours, "several of three");
    d.option("--mask", mask, "another input");
    d.option("--more", more, "several inputs");
  }
};

// Prints what was understood, as JSON.
void all(const AllOptions&, cli::Run& run) {
  Json seen = run.provenance()["options"];
  seen["threads"] = run.threads();
  run.print(seen.dump() + "\n");
}

struct CopyOptions {
  InputPath input;
  OutputPath output;
  std::optional<ModelPath> model;
  std::string fail;
  int steps = 0;
  void describe(Describe& d) {
    d.positional("INPUT", input, "a folder with a file `text`");
    d.positional("OUTPUT", output, "a folder to be made");
    d.option("--model", model, "a file; its content is not read");
    d.option("--fail", fail, "end with this error before OUTPUT is written");
    d.option("--steps", steps, "steps of a tenth of a second, which signals can end");
  }
};

// OUTPUT/text = INPUT/text plus a line, and OUTPUT/zarr.json with the provenance: as small as a stage can be.
void copy(const CopyOptions& options, cli::Run& run) {
  if (run.dry_run()) {
    run.plan().array("text", "u1", {2, 3}).memory("one line", 4096).seconds(options.steps * 0.1, "0.1 s a step").note("lines", "1");
    return;
  }
  if (options.fail == "internal") throw std::runtime_error("a fault\nwith a second line");
  if (!options.fail.empty()) throw data_error("{}: {}", options.input.path, options.fail);
  {
    auto progress = run.progress("steps", options.steps);
    for (int i = 0; i < options.steps; ++i) {
      check_stop();
      ::usleep(100000);
      progress.advance();
    }
  }
  std::string text;
  std::getline(std::ifstream(options.input.path + "/text"), text, '\0');
  std::filesystem::create_directory(options.output.path);
  std::ofstream(options.output.path + "/text") << text << "copied\n";
  Json attributes{{"me2", run.provenance()}, {"digest", run.config_digest()}, {"rows", run.write_options().rows_per_unit}};
  std::ofstream(options.output.path + "/zarr.json") << Json{{"attributes", attributes}}.dump();
}

struct ManyOptions {
  std::vector<InputPath> inputs;
  OutputPath output;
  void describe(Describe& d) {
    d.positional("INPUT", inputs, "one or more inputs");
    d.positional("OUTPUT", output, "comes last");
  }
};
void many(const ManyOptions& options, cli::Run& run) {
  run.print(std::to_string(options.inputs.size()) + " " + options.output.path + "\n");
}

}  // namespace

template <>
const EnumNames<Colour>& enum_names() {
  static const EnumNames<Colour> names{{Colour::red, "red"}, {Colour::green, "green"}, {Colour::dark_blue, "dark-blue"}};
  return names;
}

ME2_TOOL("me2-test-args", "Takes every type of argument",
         {cli::verb("all", "print the options as understood", all), cli::verb("copy", "copy a folder", copy), cli::verb("many", "count inputs", many)})
}  // namespace me2
