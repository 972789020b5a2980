#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/signals.h"
#include "base/temp.h"
#include "support/temp_dir.h"

namespace me2 {
namespace {

namespace fs = std::filesystem;

// Runs `body` in a process of its own and gives its wait status.
template <class F>
int in_child(F body) {
  const pid_t child = ::fork();
  if (child == 0) {
    body();
    std::exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

void sleep_ms(int n) { std::this_thread::sleep_for(std::chrono::milliseconds(n)); }

void send(int signal) {
  ::kill(::getpid(), signal);
  for (int i = 0; i < 3000 && !stop_requested(); ++i) sleep_ms(10);
}

TEST(Signals, SetTheFlagAndNameThemselves) {
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGHUP}) {
    const int status = in_child([signal] {
      ::signal(signal, SIG_DFL);  // tests started by nohup, or in the background, inherit an ignored one
      watch_signals();
      if (stop_requested()) ::_exit(1);
      send(signal);
      if (!stop_requested()) ::_exit(2);
      try {
        check_stop();
        ::_exit(3);
      } catch (const Error& e) {
        ::_exit(e.exit() == Exit::temp_fail && std::string(e.what()) == "stopped by " + stop_signal_name() ? 0 : 4);
      }
    });
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << signal << ": " << status;
  }
}

TEST(Signals, TheSameRequestSentTwiceAtOnceDoesNotKill) {
  const int status = in_child([] {
    ::signal(SIGTERM, SIG_DFL);
    watch_signals();
    send(SIGTERM);
    send(SIGTERM);
    sleep_ms(200);  // for the second to be taken
    ::_exit(0);
  });
  EXPECT_TRUE(WIFEXITED(status));
}

TEST(Signals, AskedAgainLaterEndsTheProcess) {
  const int status = in_child([] {
    ::signal(SIGTERM, SIG_DFL);
    watch_signals();
    request_stop(SIGTERM, 5);  // five seconds ago
    ::kill(::getpid(), SIGTERM);
    sleep_ms(30000);
    ::_exit(0);
  });
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM) << status;
}

#ifdef __x86_64__
// Waits for `done` with the stack pointer at `top`, as oneDNN's matrix products do with a block of the heap.
[[gnu::noinline]] void wait_on_another_stack(char* top, const std::atomic<int>* done) {
  asm volatile(
      "mov %%rsp, %%rbx\n\t"
      "mov %0, %%rsp\n\t"
      "1: pause\n\t"
      "cmpl $0, (%1)\n\t"
      "je 1b\n\t"
      "mov %%rbx, %%rsp"
      :
      : "r"(top), "r"(done)
      : "rbx", "memory", "cc");
}

TEST(Signals, WriteNothingOntoAStackThatComputes) {
  const int status = in_child([] {
    ::signal(SIGTERM, SIG_DFL);
    watch_signals();
    std::vector<char> memory(1 << 20, 'x');
    char* const top = memory.data() + (reinterpret_cast<std::uintptr_t>(memory.data()) % 64 ? 64 - reinterpret_cast<std::uintptr_t>(memory.data()) % 64 : 0) + (1 << 19);
    std::atomic<int> begun{0}, done{0};
    std::thread sender([&] {
      while (!begun) sleep_ms(1);
      sleep_ms(50);
      send(SIGTERM);
      done = 1;
    });
    begun = 1;
    wait_on_another_stack(top, &done);
    sender.join();
    if (!stop_requested()) ::_exit(2);
    ::_exit(std::all_of(memory.begin(), memory.end(), [](char c) { return c == 'x'; }) ? 0 : 1);
  });
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}
#endif

TEST(Signals, WhatTheParentIgnoresStaysIgnored) {
  const int status = in_child([] {
    ::signal(SIGHUP, SIG_IGN);  // nohup
    watch_signals();
    ::kill(::getpid(), SIGHUP);
    sleep_ms(200);
    ::_exit(stop_requested() ? 1 : 0);
  });
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

class Temporary : public testing::Test {
 protected:
  void SetUp() override { ::setenv("ME2_TMPDIR", place_.path().c_str(), 1); }
  void TearDown() override { ::unsetenv("ME2_TMPDIR"); }
  bool empty() const { return fs::is_empty(place_.path()); }
  test::TempDir place_;
};

TEST_F(Temporary, FolderGoesWithItsObject) {
  {
    TemporaryFolder folder("x-");
    std::error_code failed;
    fs::create_directories(folder.path() + "/a/b", failed);
    TemporaryFolder moved = std::move(folder);
    EXPECT_TRUE(fs::exists(moved.path()));
  }
  EXPECT_TRUE(empty());
}

TEST_F(Temporary, KeptFolderStays) {
  {
    TemporaryFolder folder;
    folder.keep();
  }
  EXPECT_FALSE(empty());
}

TEST_F(Temporary, FolderGoesAtExitWithoutUnwinding) {
  in_child([] {
    new TemporaryFolder;  // never destroyed
    std::exit(3);
  });
  EXPECT_TRUE(empty());
}

TEST_F(Temporary, AForkedChildLeavesItsParentsFolderAlone) {
  const TemporaryFolder folder;
  in_child([] {});
  EXPECT_TRUE(fs::exists(folder.path()));
}

TEST_F(Temporary, APlaceThatIsNotThereIsNamed) {
  ::setenv("ME2_TMPDIR", "/nonexistent/place", 1);
  try {
    TemporaryFolder folder;
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.exit(), Exit::cant_create);
    EXPECT_NE(std::string(e.what()).find("/nonexistent/place"), std::string::npos);
  }
}

}  // namespace
}  // namespace me2
