#include "base/temp.h"

#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>
#include <utility>

#include "base/error.h"

namespace me2 {
namespace {

struct Registry {  // what still is to be removed, and by which process: a forked child must not remove its parent's
  std::mutex mutex;
  std::map<std::string, pid_t> paths;
};

Registry& registry() {
  static auto* const registry = [] {
    auto* made = new Registry;  // never destroyed: used by the exit handler
    std::atexit([] {
      for (const auto& [path, owner] : ::me2::registry().paths)
        if (std::error_code ignored; owner == ::getpid()) std::filesystem::remove_all(path, ignored);
    });
    return made;
  }();
  return *registry;
}

void add(const std::string& path) {
  const std::lock_guard lock(registry().mutex);
  registry().paths[path] = ::getpid();
}

bool drop(const std::string& path) {
  const std::lock_guard lock(registry().mutex);
  const auto found = registry().paths.find(path);
  if (found == registry().paths.end()) return false;
  const bool ours = found->second == ::getpid();
  registry().paths.erase(found);
  return ours;
}

}  // namespace

TemporaryFolder::TemporaryFolder(const std::string& prefix) {
  const char* place = std::getenv("ME2_TMPDIR");
  if (!place || !*place) place = std::getenv("TMPDIR");
  if (!place || !*place) place = "/tmp";
  path_ = fmt::format("{}/{}XXXXXX", place, prefix);
  if (!::mkdtemp(path_.data()))
    throw Error(Exit::cant_create, fmt::format("{}: cannot make a temporary folder: {} (ME2_TMPDIR names another place)", place,
                                               std::strerror(errno)));
  add(path_);
}

TemporaryFolder::TemporaryFolder(Adopted, std::string path) : path_(std::move(path)) { add(path_); }
TemporaryFolder TemporaryFolder::adopt(const std::string& path) { return TemporaryFolder(Adopted{}, path); }
TemporaryFolder::TemporaryFolder(TemporaryFolder&& other) noexcept : path_(std::exchange(other.path_, "")) {}

TemporaryFolder::~TemporaryFolder() {
  if (path_.empty() || !drop(path_)) return;
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void TemporaryFolder::keep() { drop(path_); }

}  // namespace me2
