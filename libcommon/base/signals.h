// Signals as a flag: SIGTERM, SIGINT, SIGHUP and SIGUSR1 (SLURM's warning) ask for an orderly stop. Whoever writes in units polls
// stop_requested() between them and leaves with Exit::temp_fail; a unit that takes longer than the grace asks stop_overdue() within it and
// is given up. The same signal again, two seconds later, ends the process at once.
// A thread waits for them; in all others they are blocked, so that no handler ever runs on a stack that computes. oneDNN's matrix products
// point the stack pointer at heap memory while they run (jit_avx512_common_gemm_f32 with a workspace): a signal's frame would be
// written below it, over whatever the heap has there ("corrupted double-linked list").
// SIGPIPE is ignored: a reader that went away shows as EPIPE on the write, and cli/main.cpp then leaves quietly with 141.
#pragma once
#include <string>

namespace me2 {

void watch_signals();   // once, at the start of main, before any other thread is started
bool stop_requested();  // a signal came
std::string stop_signal_name();  // "SIGTERM"; empty when none came
void request_stop(int signal, int seconds_ago = 0);  // as if the signal had come (tests, and threads that must end the run)
void clear_stop();               // forgets it (tests)

// Throws Exit::temp_fail ("stopped by SIGTERM") when a signal came: for loops that have nothing half-written.
void check_stop();

// The unit in hand has had its time to be finished: 30 seconds after the signal, none where the result could not be resumed.
bool stop_overdue();
void set_stop_grace(int seconds);
void check_stop_overdue();  // throws as check_stop() does

}  // namespace me2
