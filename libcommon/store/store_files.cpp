#include "store/store_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "store/parallel.h"

namespace me2::store {
namespace fs = std::filesystem;

// ---- reading

ReadFile::ReadFile(int fd, std::string path, std::uint64_t size, std::uint64_t stamp)
    : fd_(fd), path_(std::move(path)), size_(size), stamp_(stamp) {}
ReadFile::ReadFile(ReadFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)), size_(other.size_), stamp_(other.stamp_) {}
ReadFile& ReadFile::operator=(ReadFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
  size_ = other.size_;
  stamp_ = other.stamp_;
  return *this;
}
ReadFile::~ReadFile() {
  if (fd_ >= 0) ::close(fd_);
}

void ReadFile::read(std::uint64_t offset, void* to, std::size_t n) const {
  char* at = static_cast<char*>(to);
  while (n > 0) {
    const ssize_t got = ::pread(fd_, at, n, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw io_error("{}: {}", path_, std::strerror(errno));
    if (got == 0) throw io_error("{}: shrank while being read", path_);
    at += got;
    offset += static_cast<std::uint64_t>(got);
    n -= static_cast<std::size_t>(got);
  }
}

// ---- writing

NewFile::NewFile(std::string path) : path_(std::move(path)) {
  static std::atomic<unsigned> counter{0};
  const std::size_t slash = path_.rfind('/');
  temporary_ = fmt::format("{}/.{}.{}.{}{}", path_.substr(0, slash), path_.substr(slash + 1), ::getpid(), counter++,
                           kTemporarySuffix);
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
  fd_ = ::open(temporary_.c_str(), kFlags, 0666);
  if (fd_ < 0 && errno == ENOENT) {
    std::error_code error;
    fs::create_directories(path_.substr(0, slash), error);
    if (error) errno = error.value();
    else fd_ = ::open(temporary_.c_str(), kFlags, 0666);
  }
  if (fd_ < 0) {
    const int reason = errno;
    const bool refused = reason == EACCES || reason == EPERM || reason == EROFS || reason == ENOTDIR || reason == EEXIST;
    throw Error(refused ? Exit::cant_create : Exit::io, fmt::format("{}: cannot create: {}", path_, std::strerror(reason)));
  }
}
NewFile::NewFile(NewFile&& other) noexcept
    : path_(std::move(other.path_)), temporary_(std::move(other.temporary_)), fd_(std::exchange(other.fd_, -1)) {
  other.temporary_.clear();
}
NewFile::~NewFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void NewFile::fail(const char* step) {
  const int reason = errno;
  throw io_error("{}: {} failed: {}", path_, step, std::strerror(reason));  // the destructor removes the temporary
}

void NewFile::write(std::uint64_t offset, const void* from, std::size_t n) {
  const char* at = static_cast<const char*>(from);
  while (n > 0) {
    const ssize_t put = ::pwrite(fd_, at, n, static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail("write");
    at += put;
    offset += static_cast<std::uint64_t>(put);
    n -= static_cast<std::size_t>(put);
  }
}

void NewFile::start_writeback() {
  if (fsync_wanted()) ::sync_file_range(fd_, 0, 0, SYNC_FILE_RANGE_WRITE);
}

bool fsync_wanted() {
  static const bool wanted = [] {
    const char* setting = std::getenv("ME2_FSYNC");
    return !setting || std::string_view(setting) != "off";
  }();
  return wanted;
}

void NewFile::commit() {
  if (fsync_wanted() && ::fsync(fd_) != 0) fail("fsync");
  if (::close(std::exchange(fd_, -1)) != 0) fail("close");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("rename");
  temporary_.clear();
}

void sync_folders(const std::string& root, const std::vector<std::string>& files) {
  if (!fsync_wanted()) return;
  std::set<std::string> folders;
  for (const std::string& file : files)
    for (std::string folder = file.substr(0, file.rfind('/')); folders.insert(folder).second && folder.size() > root.size();)
      folder = folder.substr(0, folder.rfind('/'));
  const std::vector<std::string> list(folders.begin(), folders.end());
  parallel_for(static_cast<std::int64_t>(list.size()), kSyncsAtOnce, [&](std::int64_t i) {
    sync_directory(list[static_cast<std::size_t>(i)]);
  });
}

// ---- the store's folder

namespace {

std::string resolved(const std::string& path) {
  char* real = ::realpath(path.c_str(), nullptr);
  if (!real) return {};
  std::string out = real;
  std::free(real);
  return out;
}

bool below(const std::string& path, const std::string& root) {
  return path == root || (path.size() > root.size() && path.compare(0, root.size(), root) == 0 &&
                          (root == "/" || path[root.size()] == '/'));
}

// An O_PATH-free open that cannot leave `root`: openat2 where the kernel has it, else a check of where we ended.
int open_beneath(int root, const std::string& real_root, const std::string& relative, int flags) {
  static std::atomic<bool> has_openat2{true};
  if (has_openat2) {
    open_how how{};
    how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    const long fd = ::syscall(SYS_openat2, root, relative.c_str(), &how, sizeof how);
    if (fd >= 0 || (errno != ENOSYS && errno != EPERM && errno != EINVAL && errno != EAGAIN)) return static_cast<int>(fd);
    if (errno != EAGAIN) has_openat2 = false;
  }
  const std::string where = resolved(real_root + "/" + relative);
  if (where.empty()) return -1;  // errno is realpath's
  if (!below(where, real_root)) {
    errno = EXDEV;
    return -1;
  }
  return ::open(where.c_str(), flags | O_CLOEXEC | O_NOFOLLOW);
}

}  // namespace

StoreFiles::StoreFiles(const std::string& root) : root_(root) {
  while (root_.size() > 1 && root_.back() == '/') root_.pop_back();
  real_ = resolved(root_.empty() ? "." : root_);
  if (real_.empty()) {
    const int reason = errno;
    throw Error(reason == ENOENT || reason == ENOTDIR ? Exit::no_input : Exit::io,
                fmt::format("{}: {}", root_, reason == ENOENT ? "no such store" : std::strerror(reason)));
  }
  fd_ = ::open(real_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd_ < 0 && errno == ENOTDIR) throw data_error("{}: not a Zarr store: a folder was expected", root_);
  if (fd_ < 0) throw io_error("{}: {}", root_, std::strerror(errno));
}
StoreFiles::~StoreFiles() { ::close(fd_); }

std::optional<ReadFile> StoreFiles::open(const std::string& relative) const {
  // O_NONBLOCK: a FIFO in a chunk's place must not hang us.
  const int fd = open_beneath(fd_, real_, relative, O_RDONLY | O_NONBLOCK);
  if (fd < 0) {
    const int reason = errno;
    if (reason == ENOENT || reason == ENOTDIR) return std::nullopt;
    if (reason == EXDEV || reason == ELOOP) throw data_error("{}: a link that leaves the store is not followed", shown(relative));
    if (reason == ENXIO) throw data_error("{}: not a regular file", shown(relative));
    throw io_error("{}: {}", shown(relative), std::strerror(reason));
  }
  struct stat info;
  const bool known = ::fstat(fd, &info) == 0;
  ReadFile file(fd, shown(relative), known ? static_cast<std::uint64_t>(info.st_size) : 0,
                known ? static_cast<std::uint64_t>(info.st_ino) * 1000003u ^
                            static_cast<std::uint64_t>(info.st_mtim.tv_sec * 1000000000LL + info.st_mtim.tv_nsec)
                      : 0);
  if (!known) throw io_error("{}: {}", shown(relative), std::strerror(errno));
  if (!S_ISREG(info.st_mode)) throw data_error("{}: not a regular file", shown(relative));
  return file;
}

std::optional<std::string> StoreFiles::read(const std::string& relative) const {
  constexpr std::uint64_t kMost = std::uint64_t{64} << 20;
  const std::optional<ReadFile> file = open(relative);
  if (!file) return std::nullopt;
  if (file->size() > kMost) throw data_error("{}: {} bytes of metadata, at most {} expected", shown(relative), file->size(), kMost);
  std::string content(file->size(), '\0');
  file->read(0, content.data(), content.size());
  return content;
}

std::vector<std::string> StoreFiles::folders(const std::string& relative) const {
  const int fd = open_beneath(fd_, real_, relative.empty() ? "." : relative, O_RDONLY | O_DIRECTORY);
  if (fd < 0) {
    const int reason = errno;
    if (reason == ENOENT || reason == ENOTDIR) return {};
    if (reason == EXDEV || reason == ELOOP) throw data_error("{}: a link that leaves the store is not followed", shown(relative));
    throw io_error("{}: {}", shown(relative), std::strerror(reason));
  }
  DIR* dir = ::fdopendir(fd);
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(dir)) {
    if (entry->d_name[0] == '.' || std::strncmp(entry->d_name, "__", 2) == 0) continue;
    bool folder = entry->d_type == DT_DIR;
    if (entry->d_type == DT_UNKNOWN || entry->d_type == DT_LNK) {
      struct stat info;
      folder = ::fstatat(fd, entry->d_name, &info, 0) == 0 && S_ISDIR(info.st_mode);
    }
    if (folder) names.emplace_back(entry->d_name);
  }
  ::closedir(dir);
  std::sort(names.begin(), names.end());
  return names;
}

std::string StoreFiles::writable(const std::string& relative) const {
  const std::string path = full(relative);
  for (std::string folder = path.substr(0, path.rfind('/')); folder.size() > real_.size(); folder.resize(folder.rfind('/'))) {
    const std::string real = resolved(folder);
    if (real.empty()) continue;  // still to be made
    if (!below(real, real_)) throw data_error("{}: a link that leaves the store is not followed", shown(relative));
    break;
  }
  return path;
}

void replace_file(const StoreFiles& files, const std::string& relative, std::string_view content) {
  NewFile file(files.writable(relative));
  file.write(0, content.data(), content.size());
  file.commit();
  sync_folders(files.real(), {file.path()});
}

void check_node_path(const std::string& store, const std::string& path) {
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string_view name(path.data() + at, end - at);
    if (name.empty() || name.find_first_not_of('.') == std::string_view::npos || name.substr(0, 2) == "__" || name == "zarr.json" ||
        name.find('\0') != std::string_view::npos || name.find('\\') != std::string_view::npos)
      throw data_error("{}: \"{}\" is not a name an array or group may have", store, path);
    at = end + 1;
  }
}

}  // namespace me2::store
