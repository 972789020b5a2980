// libme2_faults.so, for LD_PRELOAD: lets the n-th file operation below one folder fail, or kills the process there. What a tool does
// elsewhere (its libraries, /proc, the terminal) is neither counted nor touched.
//     ME2_FAULT_BELOW   the folder, as realpath gives it
//     ME2_FAULT_LOG     a file outside it: one line with its kind for every operation, "hit" after the one that failed
//     ME2_FAULT         "KIND N WHAT": KIND of create (open for writing, mkdir), open (for reading), write, fsync, rename, unlink;
//                       WHAT of ENOSPC, EIO, EDQUOT, EROFS, KILL
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstring>
#include <string>

namespace {

struct Plan {
  std::string below, kind;
  long nth = 0;
  int error = 0;  // 0: kill
  int log = -1;
  std::atomic<long> seen{0};
  Plan() {
    const char* folder = getenv("ME2_FAULT_BELOW");
    if (!folder) return;
    below = folder;
    if (const char* path = getenv("ME2_FAULT_LOG")) {
      const long fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
      log = fcntl(static_cast<int>(fd), F_DUPFD_CLOEXEC, 300);
      syscall(SYS_close, fd);
    }
    char name[16] = "", what[16] = "";
    if (const char* fault = getenv("ME2_FAULT"); fault && sscanf(fault, "%15s %ld %15s", name, &nth, what) == 3) {
      kind = name;
      const std::string w = what;
      error = w == "ENOSPC" ? ENOSPC : w == "EIO" ? EIO : w == "EDQUOT" ? EDQUOT : w == "EROFS" ? EROFS : 0;
    }
  }
};
Plan& plan() {
  static Plan* const p = new Plan;  // outlives every other destructor
  return *p;
}

template <class F>
F next(const char* name) {
  return reinterpret_cast<F>(dlsym(RTLD_NEXT, name));
}

bool is_below(int folder, const char* path) {
  const std::string& below = plan().below;
  if (below.empty() || !path) return false;
  char where[PATH_MAX];
  std::string full = path;
  if (path[0] != '/') {
    const std::string link = folder == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/" + std::to_string(folder);
    const long n = syscall(SYS_readlinkat, AT_FDCWD, link.c_str(), where, sizeof where);
    if (n <= 0) return false;
    full = std::string(where, static_cast<size_t>(n)) + "/" + path;
  }
  return full.compare(0, below.size(), below) == 0 && (full.size() == below.size() || full[below.size()] == '/');
}
bool is_below(int fd) {
  char where[PATH_MAX];
  const long n = syscall(SYS_readlinkat, AT_FDCWD, ("/proc/self/fd/" + std::to_string(fd)).c_str(), where, sizeof where - 1);
  if (n <= 0) return false;
  where[n] = 0;
  return is_below(AT_FDCWD, where);
}

void say(const char* text) {
  if (plan().log >= 0) syscall(SYS_write, plan().log, text, strlen(text));
}

// True when this operation is the one that fails; errno is set.
bool fails(const char* kind) {
  Plan& p = plan();
  say((std::string(kind) + "\n").c_str());
  if (p.kind != kind || ++p.seen != p.nth) return false;
  say("hit\n");
  if (p.error == 0) kill(getpid(), SIGKILL);
  errno = p.error;
  return true;
}

const char* kind_of(int flags) { return (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT) ? "create" : "open"; }

}  // namespace

extern "C" {

#define ME2_OPEN(name)                                                                 \
  int name(const char* path, int flags, ...) {                                         \
    va_list more;                                                                      \
    va_start(more, flags);                                                             \
    const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(more, mode_t) : 0;     \
    va_end(more);                                                                      \
    if (is_below(AT_FDCWD, path) && fails(kind_of(flags))) return -1;                  \
    return next<int (*)(const char*, int, ...)>(#name)(path, flags, mode);             \
  }
#define ME2_OPENAT(name)                                                               \
  int name(int folder, const char* path, int flags, ...) {                             \
    va_list more;                                                                      \
    va_start(more, flags);                                                             \
    const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(more, mode_t) : 0;     \
    va_end(more);                                                                      \
    if (is_below(folder, path) && fails(kind_of(flags))) return -1;                    \
    return next<int (*)(int, const char*, int, ...)>(#name)(folder, path, flags, mode); \
  }
#define ME2_FOPEN(name)                                                                                                      \
  FILE* name(const char* path, const char* mode) {                                                                           \
    if (is_below(AT_FDCWD, path) && fails(mode[0] == 'r' && !strchr(mode, '+') ? "open" : "create")) return nullptr;          \
    return next<FILE* (*)(const char*, const char*)>(#name)(path, mode);                                                     \
  }
ME2_OPEN(open)
ME2_OPEN(open64)
ME2_OPENAT(openat)
ME2_OPENAT(openat64)
ME2_FOPEN(fopen)
ME2_FOPEN(fopen64)

long syscall(long number, ...) {  // openat2 has no function of its own
  va_list more;
  va_start(more, number);
  long a[6];
  for (long& value : a) value = va_arg(more, long);
  va_end(more);
  if (number == SYS_openat2 && is_below(static_cast<int>(a[0]), reinterpret_cast<const char*>(a[1])) &&
      fails(kind_of(static_cast<int>(reinterpret_cast<const open_how*>(a[2])->flags))))
    return -1;
  static const auto real = next<long (*)(long, ...)>("syscall");
  return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int mkdir(const char* path, mode_t mode) noexcept {
  if (is_below(AT_FDCWD, path) && fails("create")) return -1;
  return next<int (*)(const char*, mode_t)>("mkdir")(path, mode);
}

ssize_t write(int fd, const void* data, size_t n) {
  if (is_below(fd) && fails("write")) return -1;
  return next<ssize_t (*)(int, const void*, size_t)>("write")(fd, data, n);
}
ssize_t writev(int fd, const iovec* parts, int n) {
  if (is_below(fd) && fails("write")) return -1;
  return next<ssize_t (*)(int, const iovec*, int)>("writev")(fd, parts, n);
}
ssize_t pwrite(int fd, const void* data, size_t n, off_t at) {
  if (is_below(fd) && fails("write")) return -1;
  return next<ssize_t (*)(int, const void*, size_t, off_t)>("pwrite")(fd, data, n, at);
}
ssize_t pwrite64(int fd, const void* data, size_t n, off64_t at) {
  if (is_below(fd) && fails("write")) return -1;
  return next<ssize_t (*)(int, const void*, size_t, off64_t)>("pwrite64")(fd, data, n, at);
}

int fsync(int fd) {
  if (is_below(fd) && fails("fsync")) return -1;
  return next<int (*)(int)>("fsync")(fd);
}
int fdatasync(int fd) {
  if (is_below(fd) && fails("fsync")) return -1;
  return next<int (*)(int)>("fdatasync")(fd);
}

int rename(const char* from, const char* to) noexcept {
  if (is_below(AT_FDCWD, from) && fails("rename")) return -1;
  return next<int (*)(const char*, const char*)>("rename")(from, to);
}
int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) noexcept {
  if (is_below(from_folder, from) && fails("rename")) return -1;
  return next<int (*)(int, const char*, int, const char*, unsigned)>("renameat2")(from_folder, from, to_folder, to, flags);
}

int unlink(const char* path) noexcept {
  if (is_below(AT_FDCWD, path) && fails("unlink")) return -1;
  return next<int (*)(const char*)>("unlink")(path);
}
int unlinkat(int folder, const char* path, int flags) noexcept {
  if (is_below(folder, path) && fails("unlink")) return -1;
  return next<int (*)(int, const char*, int)>("unlinkat")(folder, path, flags);
}

}  // extern "C"
