// The made-up world of support/made_stores.h as stores, for the Bats files: targets.zarr and NAME.zarr for each subject NAME:VOXELS:SEED.
#include <ATen/ATen.h>

#include "cli/tool.h"
#include "support/made_stores.h"

namespace me2 {
namespace {

struct WorldOptions {
  OutputPath folder;
  std::vector<std::string> subjects;
  bool lowlevel = false, splits = false;
  void describe(Describe& d) {
    d.positional("FOLDER", folder, "a new folder");
    d.positional("SUBJECTS", subjects, "NAME:VOXELS:SEED");
    d.option("--lowlevel", lowlevel, "targets of the low-level head too");
    d.option("--splits", splits, "both of the official splits in every subject");
  }
};

void make(const WorldOptions& o, cli::Run&) {
  const test::MadeWorld world;
  std::filesystem::create_directory(o.folder.path);
  test::made_targets(o.folder.path + "/targets.zarr", world, o.lowlevel);
  for (const auto& text : o.subjects) {
    const auto a = text.find(':'), b = text.rfind(':');
    const std::string name = text.substr(0, a);
    test::made_subject(o.folder.path + "/" + name + ".zarr", world, name, std::stol(text.substr(a + 1, b)), std::stoul(text.substr(b + 1)), o.splits);
  }
}

}  // namespace
ME2_TOOL("me2-test-world", "Made-up stores", {cli::verb("make", "write them", make)})
}  // namespace me2
