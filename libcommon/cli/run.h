// What every verb gets beside its own options: the common options of the contract (docs/common-options.md).
// Torch-free, so that me2-preprocess starts without LibTorch; nn/device.h turns device and dtype into LibTorch's.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "base/describe.h"
#include "base/json_fwd.h"

namespace me2::cli {

enum class DTypeOption { f32, bf16, f16 };
enum class ProgressOption { automatic, always, never };
enum class LogFormat { text, json };

struct Shard {  // this process writes part `index` (1-based) of `count`
  int index = 1;
  int count = 1;
};

struct CommonOptions {
  std::string device = "cpu";  // cpu, cuda or cuda:N
  DTypeOption dtype = DTypeOption::f32;
  int batch_size = 0;  // 0: the verb's own default
  int threads = 0;     // 0: SLURM_CPUS_PER_TASK, else the processors this process may use
  std::uint64_t seed = 42;
  std::string shard = "1/1";
  bool resume = false;
  bool overwrite = false;
  bool dry_run = false;
  bool json = false;  // results (or the dry run's plan) as JSON on stdout
  int zarr_format = 3;
  ProgressOption progress = ProgressOption::automatic;
  LogFormat log_format = LogFormat::text;
  bool quiet = false;
  bool verbose = false;
  void describe(Describe& d);
};

class Run {
 public:
  Run(std::string tool, std::string verb, CommonOptions options, const Describe* described);

  const CommonOptions& options() const { return options_; }
  const std::string& tool() const { return tool_; }
  const std::string& verb() const { return verb_; }
  std::uint64_t seed() const { return options_.seed; }
  int batch_size(int default_size) const { return options_.batch_size > 0 ? options_.batch_size : default_size; }
  int threads() const;
  Shard shard() const;
  bool dry_run() const { return options_.dry_run; }

  // The provenance record of this run as it stands (tool, version, every option with its value, seed, device, dtype,
  // inputs with digests, host library versions, start time). Store and report writers embed it.
  Json provenance() const;

 private:
  std::string tool_, verb_;
  CommonOptions options_;
  const Describe* described_;  // the verb's own options
  double started_;             // seconds since the epoch
};

}  // namespace me2::cli
