#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/error.h"

namespace me2 {
namespace {

class Descriptor {
 public:
  Descriptor(const std::string& path, int flags, int mode = 0) : fd_(::open(path.c_str(), flags | O_CLOEXEC, mode)) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

Error open_error(const std::string& path) {
  const int reason = errno;
  return Error(reason == ENOENT || reason == ENOTDIR ? Exit::no_input : Exit::io,
               fmt::format("{}: {}", path, std::strerror(reason)));
}

std::size_t regular_file_size(int fd, const std::string& path) {
  struct stat info;
  if (::fstat(fd, &info) != 0) throw io_error("{}: {}", path, std::strerror(errno));
  if (!S_ISREG(info.st_mode)) throw data_error("{}: not a regular file", path);
  return static_cast<std::size_t>(info.st_size);
}

}  // namespace

std::string read_file(const std::string& path) {
  const Descriptor file(path, O_RDONLY);
  if (file.get() < 0) throw open_error(path);
  std::string content(regular_file_size(file.get(), path), '\0');
  for (std::size_t done = 0; done < content.size();) {
    const ssize_t n = ::read(file.get(), content.data() + done, content.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw io_error("{}: {}", path, std::strerror(errno));
    if (n == 0) throw io_error("{}: shrank while being read", path);
    done += static_cast<std::size_t>(n);
  }
  return content;
}

AtomicWriter::AtomicWriter(const std::string& path) : path_(path), temporary_(fmt::format("{}.{}.tmp", path, ::getpid())) {
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor_ >= 0) return;
  const int reason = errno;
  throw Error(reason == ENOSPC || reason == EDQUOT || reason == EIO ? Exit::io : Exit::cant_create,
              fmt::format("{}: cannot create: {}", path, std::strerror(reason)));
}

AtomicWriter::~AtomicWriter() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

void AtomicWriter::fail(const char* step) { throw io_error("{}: {} failed: {}", path_, step, std::strerror(errno)); }

void AtomicWriter::write(const void* data, std::size_t size) {
  for (const char* at = static_cast<const char*>(data); size > 0;) {
    const ssize_t n = ::write(descriptor_, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("write");
    at += n;
    size -= static_cast<std::size_t>(n);
  }
}

void AtomicWriter::commit() {
  if (::fsync(descriptor_) != 0) fail("fsync");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("rename");
  ::close(descriptor_);
  descriptor_ = -1;
}

void write_file_atomic(const std::string& path, std::string_view content) {
  AtomicWriter file(path);
  file.write(content.data(), content.size());
  file.commit();
}

void sync_directory(const std::string& path) {
  const Descriptor folder(path, O_RDONLY | O_DIRECTORY);
  if (folder.get() < 0) throw open_error(path);
  // EINVAL, ENOTSUP: some file systems have no fsync of a folder; nothing more can be done there.
  if (::fsync(folder.get()) != 0 && errno != EINVAL && errno != ENOTSUP) throw io_error("{}: fsync failed: {}", path, std::strerror(errno));
}

MappedFile::MappedFile(const std::string& path) : path_(path) {
  const Descriptor file(path, O_RDONLY);
  if (file.get() < 0) throw open_error(path);
  size_ = regular_file_size(file.get(), path);
  if (size_ == 0) return;
  void* address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (address == MAP_FAILED) throw io_error("{}: cannot map: {}", path, std::strerror(errno));
  const std::size_t size = size_;
  data_ = std::shared_ptr<const std::byte[]>(static_cast<const std::byte*>(address), [size](const std::byte* p) {
    ::munmap(const_cast<std::byte*>(p), size);
  });
}

}  // namespace me2
