// Starting the processes of a training on this machine: the program runs itself N times, each with torchrun's variables.
#pragma once
#include <string>

namespace me2::train {

bool launched_here();  // by launch_ranks

// Runs /proc/self/exe with this process's own command line `count` times and waits. Signals that ask for an end are passed on. When a process
// fails the others get a moment to end by themselves and are then ended. The exit status: 0; 128 + n never, but Exit::temp_fail after
// a process was killed. Rank 0 has this process's stdout and stderr; of the others the last line of the first that failed is logged
// if rank 0 said nothing itself.
int launch_ranks(int count, int threads_each);

}  // namespace me2::train
