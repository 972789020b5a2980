// Training on several processes over c10d: Gloo between CPUs, NCCL between GPUs of one process each. The only file that knows c10d.
// Gloo is the one inside libtorch_cpu; of Debian's libgloo-dev only the headers are used (the wheel lacks them), and never the library:
// both export the same names. Gloo's types are handled through shared_ptr alone, since those headers are older than the library's.
#pragma once
#include <memory>
#include <string>

#include <c10/core/Device.h>

#include "train/peers.h"

namespace me2::train {

// Who this process is among those that a launcher started.
struct World {
  int rank = 0, size = 1;
  int local_rank = 0;           // on this machine
  std::string host = "127.0.0.1";
  int port = 0;                 // of the store that rank 0 serves
  int listen = -1;              // a socket bound to it already, or -1
  bool agent_serves = false;    // the launcher serves the store (torchrun)
  std::string prefix = "me2";   // of the keys; another one after torchrun's restart
  double start_seconds = 300;   // to wait for the others to come
  double silence_seconds = 20;  // after which a process that shows no sign of life counts as ended
};

// By the variables of torchrun (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT), else those of an srun step of several tasks
// (SLURM_PROCID, SLURM_STEP_NUM_TASKS, SLURM_LOCALID; the address is the step's first host, the port follows from the job's and the
// step's number unless MASTER_ADDR and MASTER_PORT say otherwise). One process without them. Exit::usage when they make no sense.
World world_from_environment();

// The first name of a SLURM node list: "gpu[07-09,12],login" -> "gpu07".
std::string first_host(const std::string& node_list);

// Waits for all processes. Exit::temp_fail when they do not come, and in every later call when one has ended. Beside the calls a thread
// watches the others: it ends this process with Exit::temp_fail and one line when another has failed or shows no sign of life.
std::unique_ptr<Peers> join_peers(const World& world, c10::Device device = c10::Device(c10::kCPU));

}  // namespace me2::train
