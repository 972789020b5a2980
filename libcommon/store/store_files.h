// The files of one store: everything is opened below its folder, and nothing outside it is reached through links.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace me2::store {

class ReadFile {
 public:
  ReadFile(int fd, std::string path, std::uint64_t size, std::uint64_t stamp);
  ~ReadFile();
  ReadFile(ReadFile&& other) noexcept;
  ReadFile& operator=(ReadFile&& other) noexcept;
  std::uint64_t size() const { return size_; }
  std::uint64_t stamp() const { return stamp_; }  // changes when the file is replaced
  // Exactly n bytes from `offset`; Exit::io when the file cannot be read or has become shorter.
  void read(std::uint64_t offset, void* to, std::size_t n) const;

 private:
  int fd_;
  std::string path_;
  std::uint64_t size_, stamp_;
};

// A file that appears under its name only when it is complete: temporary, fsync, rename. Without commit() it leaves nothing.
class NewFile {
 public:
  explicit NewFile(std::string path);  // makes missing folders
  ~NewFile();
  NewFile(NewFile&& other) noexcept;
  NewFile& operator=(NewFile&&) = delete;
  void write(std::uint64_t offset, const void* from, std::size_t n);
  void start_writeback();  // lets the disk begin; commit() then waits less
  void commit();           // fsync, close, rename; the folder is fsynced by sync_folders
  const std::string& path() const { return path_; }

 private:
  [[noreturn]] void fail(const char* step);
  std::string path_, temporary_;
  int fd_ = -1;
};

// Whether files and folders are fsynced. On, unless the environment says ME2_FSYNC=off: then a crash of the machine (not of the
// process) may lose what was written last. For tests, and for scratch disks where fsync is slow.
bool fsync_wanted();
inline constexpr int kSyncsAtOnce = 16;

inline constexpr std::string_view kTemporarySuffix = ".me2-tmp";

// fsyncs the folders that hold these files, each once, and the folders above them up to `root`, so that the names survive a crash.
void sync_folders(const std::string& root, const std::vector<std::string>& files);

class StoreFiles {
 public:
  explicit StoreFiles(const std::string& root);  // Exit::no_input when there is no such folder
  ~StoreFiles();
  StoreFiles(const StoreFiles&) = delete;
  const std::string& root() const { return root_; }      // as it was given
  const std::string& real() const { return real_; }      // absolute, links resolved

  // Nothing when there is no such file. Exit::data for a link that leaves the store and for what is not a regular file.
  std::optional<ReadFile> open(const std::string& relative) const;
  std::optional<std::string> read(const std::string& relative) const;  // whole; metadata only, at most 64 MiB
  // Names in a folder, sorted, without those that start with a dot; folders only.
  std::vector<std::string> folders(const std::string& relative) const;
  std::string full(const std::string& relative) const { return relative.empty() ? real_ : real_ + "/" + relative; }
  std::string shown(const std::string& relative) const { return relative.empty() ? root_ : root_ + "/" + relative; }
  // The path to write `relative` at; refuses a folder that a link has put outside the store.
  std::string writable(const std::string& relative) const;

 private:
  std::string root_, real_;
  int fd_;
};

// Metadata or another small file, replaced as a whole, folder fsynced.
void replace_file(const StoreFiles& files, const std::string& relative, std::string_view content);

// Refuses what may not name a node: "", ".", "..", only dots, a leading "__", "zarr.json", a NUL, "\\"; `path` may hold several
// names joined by "/". Exit::data naming the path.
void check_node_path(const std::string& store, const std::string& path);

}  // namespace me2::store
