#include "train/launch.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/signals.h"

namespace me2::train {
namespace {

struct Rank {
  pid_t pid = -1;
  int log = -1;  // what it wrote to stderr
  bool ended = false;
  int status = 0;
};

int listening_socket(int& port) {  // bound before anybody asks for it: no other program can take the port
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (fd < 0 || ::bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(fd, 128) != 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    throw Error(Exit::unavailable, "no port of 127.0.0.1 can be listened to, which several processes need");
  port = ntohs(address.sin_port);
  return fd;
}

std::vector<std::string> own_arguments() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);  // its size is not told
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  std::vector<std::string> out;
  for (std::size_t first = 0; first < text.size();) {
    const auto end = text.find('\0', first);
    out.push_back(text.substr(first, end - first));
    first = end == std::string::npos ? text.size() : end + 1;
  }
  return out;
}

std::string last_line(int fd) {
  std::string text(4096, 0);
  const off_t size = ::lseek(fd, 0, SEEK_END);
  const ssize_t got = ::pread(fd, text.data(), text.size(), std::max<off_t>(0, size - 4096));
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(0, got)));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  const auto line = text.rfind('\n');
  return line == std::string::npos ? text : text.substr(line + 1);
}

}  // namespace

bool launched_here() { return std::getenv("ME2_LAUNCHED") != nullptr; }

int launch_ranks(int count, int threads_each) {
  int port = 0;
  const int socket = listening_socket(port);
  const auto arguments = own_arguments();
  std::vector<char*> argv;
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  std::vector<Rank> ranks(static_cast<std::size_t>(count));
  for (int r = 0; r < count; ++r) {
    Rank& rank = ranks[static_cast<std::size_t>(r)];
    if (r > 0) rank.log = ::memfd_create("me2-rank", MFD_CLOEXEC);
    const auto set = [](const char* name, const std::string& value) { ::setenv(name, value.c_str(), 1); };
    set("RANK", std::to_string(r)), set("LOCAL_RANK", std::to_string(r)), set("WORLD_SIZE", std::to_string(count));
    set("MASTER_ADDR", "127.0.0.1"), set("MASTER_PORT", std::to_string(port)), set("ME2_LAUNCHED", "1");
    set("OMP_NUM_THREADS", std::to_string(threads_each));
    if (r == 0) set("ME2_LISTEN_FD", std::to_string(socket));
    else ::unsetenv("ME2_LISTEN_FD");
    ::unsetenv("TORCHELASTIC_USE_AGENT_STORE");
    const pid_t parent = ::getpid();
    rank.pid = ::fork();
    if (rank.pid < 0) throw Error(Exit::unavailable, fmt::format("--nproc {}: process {} cannot be started", count, r));
    if (rank.pid == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGTERM);  // nobody goes on without the one that was started
      if (::getppid() != parent) ::_exit(static_cast<int>(Exit::temp_fail));
      if (r == 0) {
        ::fcntl(socket, F_SETFD, 0);
      } else {
        const int nothing = ::open("/dev/null", O_RDWR);
        ::dup2(nothing, 0), ::dup2(nothing, 1), ::dup2(rank.log, 2);
      }
      ::execv("/proc/self/exe", argv.data());
      ::_exit(static_cast<int>(Exit::internal));
    }
  }
  ::close(socket);

  using Clock = std::chrono::steady_clock;
  Clock::time_point failed_at{};
  int first_failed = -1, running = count;
  bool passed_on = false, killed = false;
  while (running > 0) {
    ::poll(nullptr, 0, 50);
    if (stop_requested() && !passed_on) {
      passed_on = true;
      const std::string name = stop_signal_name();
      for (const auto& rank : ranks)
        if (!rank.ended) ::kill(rank.pid, name == "SIGINT" ? SIGINT : name == "SIGUSR1" ? SIGUSR1 : name == "SIGHUP" ? SIGHUP : SIGTERM);
    }
    for (int r = 0; r < count; ++r) {
      Rank& rank = ranks[static_cast<std::size_t>(r)];
      if (rank.ended || ::waitpid(rank.pid, &rank.status, WNOHANG) != rank.pid) continue;
      rank.ended = true;
      --running;
      if (rank.status != 0 && first_failed < 0) first_failed = r, failed_at = Clock::now();
    }
    if (first_failed >= 0 && !killed && Clock::now() - failed_at > std::chrono::seconds(15)) {
      killed = true;
      for (const auto& rank : ranks)
        if (!rank.ended) ::kill(rank.pid, SIGKILL);
    }
  }
  if (first_failed < 0) return 0;
  const auto code = [](const Rank& rank) { return WIFEXITED(rank.status) ? WEXITSTATUS(rank.status) : -1; };
  const Rank& first = ranks[static_cast<std::size_t>(first_failed)];
  int result = static_cast<int>(Exit::temp_fail);
  for (const auto& rank : ranks)
    if (code(rank) > 0 && code(rank) != static_cast<int>(Exit::temp_fail)) result = code(rank);
  if (code(ranks.front()) > 0) return result;  // rank 0 has said what is wrong
  if (code(first) < 0)
    throw Error(Exit::temp_fail, fmt::format("process {} of {} was ended by signal {}: --resume goes on from the last checkpoint", first_failed, count, WTERMSIG(first.status)));
  throw Error(static_cast<Exit>(result), fmt::format("process {} of {} ended: {}", first_failed, count, last_line(first.log)));
}

}  // namespace me2::train
