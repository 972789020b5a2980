#include "weights/parallel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

namespace me2::weights {
namespace {

TEST(ParallelFor, RunsEveryPartOnceOnSeveralThreads) {
  const int before = at::get_num_threads();
  at::set_num_threads(3);
  std::vector<std::atomic<int>> done(1000);
  std::set<std::thread::id> threads;
  std::mutex mutex;
  std::atomic<int> inside = 0;
  parallel_for(0, 1000, 10, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) ++done[static_cast<std::size_t>(i)];
    inside += at::in_parallel_region();
    const std::lock_guard lock(mutex);
    threads.insert(std::this_thread::get_id());
  });
#if defined(__GNUC__) && !defined(__clang__)
  EXPECT_EQ(threads.size(), 3u);  // one: the source was compiled without OpenMP
  EXPECT_EQ(inside, 3);
#endif
  EXPECT_TRUE(std::all_of(done.begin(), done.end(), [](const auto& n) { return n == 1; }));
  EXPECT_THROW(parallel_for(0, 1000, 10, [](std::int64_t, std::int64_t) { throw std::runtime_error("x"); }), std::runtime_error);
  parallel_for(0, 0, 1, [](std::int64_t, std::int64_t) { FAIL(); });
  at::set_num_threads(before);
}

}  // namespace
}  // namespace me2::weights
