#include "store/parallel.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "store/zarr.h"

namespace me2::store {
namespace {

int allowed_processors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

std::atomic<int> threads_setting{0};  // 0: as many as this process may use

}  // namespace

void set_store_threads(int n) { threads_setting = std::max(0, n); }

int store_threads() {
  const int n = threads_setting;
  return n > 0 ? n : allowed_processors();
}

void parallel_for(std::int64_t n, int threads, const std::function<void(std::int64_t)>& f) {
  threads = static_cast<int>(std::min<std::int64_t>(threads, n));
  if (threads <= 1) {
    for (std::int64_t i = 0; i < n; ++i) f(i);
    return;
  }
  std::atomic<std::int64_t> next{0};
  std::atomic<bool> stop{false};
  std::mutex mutex;
  std::int64_t failed_at = n;
  std::exception_ptr failure;
  const auto work = [&] {
    while (!stop) {
      const std::int64_t i = next++;
      if (i >= n) return;
      try {
        f(i);
      } catch (...) {
        stop = true;
        const std::lock_guard lock(mutex);
        if (i < failed_at) failed_at = i, failure = std::current_exception();
      }
    }
  };
  {
    std::vector<std::jthread> helpers;
    for (int t = 1; t < threads; ++t) {
      try {
        helpers.emplace_back(work);
      } catch (const std::system_error&) {
        break;  // no more threads to be had: fewer do the work
      }
    }
    work();
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace me2::store
