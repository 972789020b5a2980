#include "cli/paths.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/signals.h"
#include "cli/stdout.h"

namespace me2::cli {
namespace {

namespace fs = std::filesystem;
constexpr const char* kPrefix = "me2-pipe-";
constexpr const char* kMarker = ".me2-pipe";
constexpr std::size_t kLongestPath = 64 << 10;
constexpr int kLookMs = 20;  // between two looks at a pipe

bool exists(const std::string& path) {
  struct stat info;
  return ::lstat(path.c_str(), &info) == 0;
}

fs::path real(const std::string& path) {
  std::error_code failed;
  const auto out = fs::weakly_canonical(fs::absolute(path), failed);
  auto text = (failed ? fs::absolute(path) : out).lexically_normal().string();
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  return text;
}

bool lies_in(const fs::path& inner, const fs::path& outer) {
  const std::string a = inner.string(), b = outer.string();
  return b == "/" || (a.size() > b.size() && a.compare(0, b.size(), b) == 0 && a[b.size()] == '/');
}

// Set when this path is a store that a "-" output handed over.
std::string handed_folder(const std::string& path) {
  const auto folder = fs::path(path).parent_path();
  if (folder.filename().string().rfind(kPrefix, 0) != 0) return "";
  struct stat info;
  return ::stat((folder / kMarker).c_str(), &info) == 0 && info.st_uid == ::geteuid() ? folder.string() : "";
}

// Removes the store whose path the command before has printed.
void discard(std::string path) {
  if (!path.empty() && path.back() == '\n') path.pop_back();
  if (const auto folder = handed_folder(path); !folder.empty()) TemporaryFolder::adopt(folder);
}

// Everything on stdin until its end. `wait`: false takes only what is there already.
std::string read_stdin(bool wait) {
  std::string text;
  while (text.size() <= kLongestPath) {
    pollfd ready{STDIN_FILENO, POLLIN, 0};
    const int n = ::poll(&ready, 1, wait ? kLookMs : 0);  // by turns: a signal just before poll() would not end it
    if (wait && stop_requested()) {
      discard(text);  // the path can be here already while the command before still winds down
      check_stop();
    }
    if (n < 0 && errno == EINTR) continue;
    if (n == 0 && wait) continue;
    if (n <= 0) break;
    char block[4096];
    const ssize_t got = ::read(STDIN_FILENO, block, sizeof block);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw io_error("stdin: {}", std::strerror(errno));
    if (got == 0) break;
    text.append(block, static_cast<std::size_t>(got));
  }
  return text;
}

// Returns when the reader of a piped stdout has taken what was written. A reader that ends before it does (stopped while it still starts,
// say) would leave the store to nobody, so until then it is ours: the pipe without readers throws BrokenPipe, a signal Exit::temp_fail.
void wait_until_taken() {
  struct stat info;
  if (::fstat(STDOUT_FILENO, &info) != 0 || !S_ISFIFO(info.st_mode)) return;
  for (int waiting = 0; ::ioctl(STDOUT_FILENO, FIONREAD, &waiting) == 0 && waiting > 0;) {
    check_stop();
    pollfd readers{STDOUT_FILENO, 0, 0};
    if (::poll(&readers, 1, kLookMs) > 0 && (readers.revents & POLLERR)) throw BrokenPipe();
  }
}

std::string path_from_stdin(const std::string& option) {
  if (::isatty(STDIN_FILENO))
    throw usage_error("{}: - reads the path of a store from a pipe, and stdin is a terminal (me2-... OUTPUT - | me2-... - OUTPUT)", option);
  std::string text = read_stdin(true);
  if (!text.empty() && text.back() == '\n') text.pop_back();
  if (text.empty()) throw missing_error("{}: - reads the path of a store from stdin, which was empty: the command before failed", option);
  if (text.find('\n') != std::string::npos || text.find('\0') != std::string::npos || text.size() > kLongestPath)
    throw data_error("{}: - reads one line, the path of a store, from stdin; \"{}...\" was found", option, text.substr(0, 80));
  return text;
}

std::string advice(const std::string& path) {
  return exists(path + ".partial") ? fmt::format(" ({}.partial is there: the run that writes it has not finished; run it again with --resume)", path)
                                   : std::string();
}

}  // namespace

Paths::Paths(const std::vector<Item>& items, const CommonOptions& common) {
  const Item* piped = nullptr;
  for (const auto& item : items) {
    if (item.access == Item::Access::value) continue;
    for (const auto& path : item.paths()) {
      if (item.access == Item::Access::input && path == "-") {
        if (piped) throw usage_error("{} and {}: only one input can be -", piped->name, item.name);
        piped = &item;
      } else if (item.access == Item::Access::output) {
        outputs_.push_back({item.name, path});
      } else {
        auto& list = item.access == Item::Access::model ? models_ : inputs_;
        list.push_back({item.name, path});
        check_input(list.back());
      }
    }
  }
  for (const auto& output : outputs_) check_output(output, common);
  for (const auto& item : items)
    if (item.access == Item::Access::output) resolve_output(item);
  if (piped) resolve_input(*piped);  // last: it waits for the command before, and nothing that fails at once should wait
}

void Paths::check_input(const NamedPath& input) const {
  struct stat info;
  if (::stat(input.path.c_str(), &info) != 0)
    throw missing_error("{}: {}: {}{}", input.option, input.path, std::strerror(errno), advice(input.path));
  if (::access(input.path.c_str(), S_ISDIR(info.st_mode) ? R_OK | X_OK : R_OK) != 0)
    throw missing_error("{}: {}: {}", input.option, input.path, std::strerror(errno));
}

void Paths::check_output(const NamedPath& output, const CommonOptions& common) const {
  const auto refuse = [&](const std::string& why) {
    return Error(Exit::cant_create, fmt::format("{}: {}: {}", output.option, output.path, why));
  };
  if (output.path == "-") {
    if (common.resume) throw usage_error("{}: --resume needs a named output, not -", output.option);
    if (common.shard != "1/1") throw usage_error("{}: --shard needs a named output, not -", output.option);
    return;
  }
  const fs::path path = real(output.path);
  for (const auto& input : inputs_) {
    const fs::path from = real(input.path);
    if (path == from) throw refuse(fmt::format("is also the input {}", input.option));
    if (lies_in(path, from) && fs::is_directory(from)) throw refuse(fmt::format("lies inside the input {} ({})", input.option, input.path));
    if (lies_in(from, path)) throw refuse(fmt::format("contains the input {} ({})", input.option, input.path));
  }
  for (const auto& model : models_) {
    const fs::path from = real(model.path);
    if (path == from || lies_in(from, path)) throw refuse(fmt::format("would replace {} ({})", model.option, model.path));
  }
  for (const auto& other : outputs_)
    if (&other != &output && other.path != "-" && real(other.path) == path && other.option != output.option)
      throw refuse(fmt::format("is given for both {} and {}", other.option, output.option));
  if (exists(output.path) && !common.overwrite && !common.resume)
    throw refuse("exists (--overwrite replaces it)");
  const fs::path folder = path.parent_path();
  std::error_code failed;
  if (!fs::is_directory(folder, failed)) throw refuse(fmt::format("the folder {} does not exist", folder.string()));
  if (::access(folder.c_str(), W_OK | X_OK) != 0) throw refuse(fmt::format("cannot write into {}: {}", folder.string(), std::strerror(errno)));
}

void Paths::resolve_output(const Item& item) {
  auto paths = item.get();
  bool changed = false;
  for (auto& path : paths) {
    if (path != "-") continue;
    if (!handed_.empty()) throw usage_error("{}: only one output can be -", item.name);
    temporaries_.emplace_back(kPrefix);
    const std::string& folder = temporaries_.back().path();
    write_file_atomic(folder + "/" + kMarker, "A store on its way from one me2 tool to the next; its reader removes this folder.\n");
    path = handed_ = fs::absolute(folder).string() + "/out.zarr";
    set_stop_grace(0);  // what goes away with its folder is not worth finishing
    changed = true;
  }
  if (!changed) return;
  item.set(paths);
  for (auto& output : outputs_)
    if (output.path == "-") output.path = handed_;
}

void Paths::resolve_input(const Item& item) {
  const std::string path = path_from_stdin(item.name);
  if (const auto folder = handed_folder(path); !folder.empty()) temporaries_.push_back(TemporaryFolder::adopt(folder));
  auto paths = item.get();
  for (auto& one : paths)
    if (one == "-") one = path;
  item.set(paths);
  inputs_.push_back({item.name, path});
  check_input(inputs_.back());
}

void Paths::hand_over() {
  if (handed_.empty() || !exists(handed_)) return;  // a dry run wrote nothing
  check_stop();
  write_stdout(handed_ + "\n");
  wait_until_taken();
  for (auto& temporary : temporaries_)
    if (handed_.rfind(temporary.path() + "/", 0) == 0 || handed_.rfind(fs::absolute(temporary.path()).string() + "/", 0) == 0) temporary.keep();
}

void discard_handover() {
  struct stat info;
  if (::fstat(STDIN_FILENO, &info) != 0 || !S_ISFIFO(info.st_mode)) return;
  try {
    const std::string path = read_stdin(false);
    ::close(STDIN_FILENO);  // a path printed from here on fails in the command before, which then removes its store
    discard(path);
  } catch (const std::exception&) {
    // The run failed already; its own reason is the one to tell.
  }
}

}  // namespace me2::cli
