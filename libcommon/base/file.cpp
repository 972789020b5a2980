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

void write_file_atomic(const std::string& path, std::string_view content) {
  const std::string temporary = fmt::format("{}.{}.tmp", path, ::getpid());
  const auto give_up = [&](const char* step) {
    const int reason = errno;
    ::unlink(temporary.c_str());
    return io_error("{}: {} failed: {}", path, step, std::strerror(reason));
  };
  {
    const Descriptor file(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (file.get() < 0) {
      const int reason = errno;
      throw Error(reason == ENOSPC || reason == EDQUOT || reason == EIO ? Exit::io : Exit::cant_create,
                  fmt::format("{}: cannot create: {}", path, std::strerror(reason)));
    }
    for (std::size_t done = 0; done < content.size();) {
      const ssize_t n = ::write(file.get(), content.data() + done, content.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) throw give_up("write");
      done += static_cast<std::size_t>(n);
    }
    if (::fsync(file.get()) != 0) throw give_up("fsync");
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) throw give_up("rename");
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
