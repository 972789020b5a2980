#include "base/signals.h"

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
    ::signal(signal, SIG_DFL);
    ::raise(signal);
  }
}

}  // namespace

void watch_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  ::sigemptyset(&action.sa_mask);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) {
    struct sigaction before {};
    ::sigaction(signal, nullptr, &before);
    if (before.sa_handler != SIG_IGN) ::sigaction(signal, &action, nullptr);  // nohup stays nohup
  }
  ::signal(SIGPIPE, SIG_IGN);
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
