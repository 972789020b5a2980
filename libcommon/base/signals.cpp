#include "base/signals.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include <atomic>
#include <initializer_list>

#include "base/error.h"

namespace me2 {
namespace {

std::atomic<int> received{0};
std::atomic<long> received_at{0};
std::atomic<int> grace{30};

long seconds_now() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);  // async-signal-safe
  return now.tv_sec;
}

void on_signal(int signal) {
  if (received.load() == 0) {
    received = signal;
    received_at = seconds_now();
  } else if (seconds_now() - received_at.load() > 1) {  // asked again, not the same request sent twice
    sigset_t one;
    ::sigemptyset(&one);
    ::sigaddset(&one, signal);
    ::signal(signal, SIG_DFL);
    ::pthread_sigmask(SIG_UNBLOCK, &one, nullptr);
    ::raise(signal);
  }
}

sigset_t watched;

[[noreturn]] void* wait_for_signals(void*) {
  for (;;)
    if (int signal = 0; ::sigwait(&watched, &signal) == 0) on_signal(signal);
}

}  // namespace

void watch_signals() {
  ::sigemptyset(&watched);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) {
    struct sigaction before {};
    ::sigaction(signal, nullptr, &before);
    if (before.sa_handler != SIG_IGN) ::sigaddset(&watched, signal);  // nohup stays nohup
  }
  ::signal(SIGPIPE, SIG_IGN);
  ::pthread_sigmask(SIG_BLOCK, &watched, nullptr);
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  ::pthread_attr_setstacksize(&attributes, std::size_t{256} << 10);
  pthread_t thread;
  const bool watching = ::pthread_create(&thread, &attributes, wait_for_signals, nullptr) == 0;
  ::pthread_attr_destroy(&attributes);
  if (watching) return;
  // No thread to be had: a handler, on a stack of its own.
  static char stack[64 << 10];
  stack_t other{};
  other.ss_sp = stack;
  other.ss_size = sizeof stack;
  ::sigaltstack(&other, nullptr);
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1})
    if (::sigismember(&watched, signal)) ::sigaction(signal, &action, nullptr);
  ::pthread_sigmask(SIG_UNBLOCK, &watched, nullptr);
}

bool stop_requested() { return received.load(std::memory_order_relaxed) != 0; }

std::string stop_signal_name() {
  switch (received.load()) {
    case 0: return "";
    case SIGTERM: return "SIGTERM";
    case SIGINT: return "SIGINT";
    case SIGHUP: return "SIGHUP";
    case SIGUSR1: return "SIGUSR1";
    default: return fmt::format("signal {}", received.load());
  }
}

void request_stop(int signal, int seconds_ago) {
  received_at = seconds_now() - seconds_ago;
  received = signal;
}

void clear_stop() { received = 0; }

void check_stop() {
  if (stop_requested()) throw Error(Exit::temp_fail, fmt::format("stopped by {}", stop_signal_name()));
}

bool stop_overdue() { return stop_requested() && seconds_now() - received_at.load() >= grace.load(); }
void set_stop_grace(int seconds) { grace = seconds; }
void check_stop_overdue() {
  if (stop_overdue()) check_stop();
}

}  // namespace me2
