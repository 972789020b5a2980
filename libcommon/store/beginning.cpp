#include "store/beginning.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace me2::store {

std::string read_beginning(const std::string& path, std::size_t most) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);  // a FIFO must not hang us
  if (fd < 0) {
    const int reason = errno;
    throw Error(reason == ENOENT || reason == ENOTDIR ? Exit::no_input : Exit::io, fmt::format("{}: {}", path, std::strerror(reason)));
  }
  std::string content(most, '\0');
  std::size_t done = 0;
  int reason = 0;
  while (done < most) {
    const ssize_t n = ::read(fd, content.data() + done, most - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) reason = errno;
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
  ::close(fd);
  if (reason != 0 && reason != EISDIR && reason != EAGAIN) throw io_error("{}: {}", path, std::strerror(reason));
  content.resize(done);
  return content;
}

bool is_of_the_system(int reason) {
  for (const int known : {EIO, EACCES, EPERM, EMFILE, ENFILE, ENOMEM, ESTALE})
    if (reason == known) return true;
  return false;
}

}  // namespace me2::store
