#include "cli/stdout.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iostream>

#include "base/error.h"

namespace me2::cli {
namespace {

[[noreturn]] void fail(int reason) {
  if (reason == EPIPE) throw BrokenPipe();
  throw io_error("stdout: cannot write: {}", std::strerror(reason));
}

}  // namespace

void write_stdout(std::string_view text) {
  errno = 0;
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) fail(errno ? errno : EIO);
}

void finish_stdout() {
  errno = 0;
  std::cout.flush();
  if (std::fflush(stdout) != 0 || std::ferror(stdout) || std::cout.bad()) fail(errno ? errno : EIO);
}

void open_closed_streams() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) != -1 || errno != EBADF) continue;
    // The lowest free number is `fd` itself. Opened the wrong way round, so that stdout and stdin fail when used; stderr is just lost.
    [[maybe_unused]] const int opened = ::open("/dev/null", fd == STDOUT_FILENO ? O_RDONLY : fd == STDIN_FILENO ? O_RDONLY : O_WRONLY);
  }
}

}  // namespace me2::cli
