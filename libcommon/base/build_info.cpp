#include "base/build_info.h"

#include "base/git_commit.h"
#include "base/version.h"

namespace me2 {
namespace {
std::map<std::string, std::string>& registered() {
  static std::map<std::string, std::string> libraries;
  return libraries;
}
}  // namespace

std::string version() { return ME2_VERSION; }
std::string git_commit() { return ME2_GIT_COMMIT; }

bool register_library(const std::string& name, const std::string& version) {
  registered()[name] = version;
  return true;
}
const std::map<std::string, std::string>& libraries() { return registered(); }

}  // namespace me2
