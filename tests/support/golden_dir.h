// Where a golden case lies; free of LibTorch.
#pragma once
#include <cstdlib>
#include <filesystem>
#include <string>

namespace me2::test {

// ME2_GOLDENS/<name> (another set of the same cases) first, then tests/golden/<name>, then ../shared/goldens/<name>, for the cases
// that are not committed. Empty when it is nowhere.
inline std::string golden_dir(const std::string& name) {
  namespace fs = std::filesystem;
  if (const char* extra = std::getenv("ME2_GOLDENS"))
    if (const auto p = fs::path(extra) / name; fs::exists(p)) return p;
  if (const auto p = fs::path(ME2_SOURCE_DIR) / "tests/golden" / name; fs::exists(p)) return p;
  const char* shared = std::getenv("ME2_SHARED");
  const auto p = (shared ? fs::path(shared) : fs::path(ME2_SOURCE_DIR) / "../shared") / "goldens" / name;
  return fs::exists(p) ? fs::canonical(p).string() : "";
}

}  // namespace me2::test

// First line of a test on a golden that may be absent.
#define ME2_NEEDS_GOLDEN(name) \
  if (me2::test::golden_dir(name).empty()) GTEST_SKIP() << "golden case " << name << " is not on this machine"
