// Whole-file and memory-mapped reading, and crash-safe writing.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace me2 {

// Exit::no_input when it is not there, Exit::io when it cannot be read.
std::string read_file(const std::string& path);

// Temporary file, fsync, rename: readers see the old content or the new, never a part. Exit::io with path and reason on failure.
void write_file_atomic(const std::string& path, std::string_view content);

// The same for content that comes in pieces: nothing appears under `path` before commit(); without it nothing is left behind.
class AtomicWriter {
 public:
  explicit AtomicWriter(const std::string& path);  // Exit::cant_create, or Exit::io when the disk is full
  ~AtomicWriter();
  AtomicWriter(const AtomicWriter&) = delete;
  AtomicWriter& operator=(const AtomicWriter&) = delete;
  void write(const void* data, std::size_t size);  // Exit::io with path and reason
  void commit();                                   // fsync, rename

 private:
  [[noreturn]] void fail(const char* step);
  std::string path_, temporary_;
  int descriptor_ = -1;
};

void sync_directory(const std::string& path);  // fsync of a folder, so that a rename in it survives a power cut

// A file mapped read-only for the life of the object (shared: copies keep it mapped).
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);
  std::span<const std::byte> bytes() const { return {data_.get(), size_}; }
  const std::string& path() const { return path_; }
  std::shared_ptr<const std::byte[]> owner() const { return data_; }

 private:
  std::string path_;
  std::shared_ptr<const std::byte[]> data_;
  std::size_t size_ = 0;
};

}  // namespace me2
