// What every verb gets beside its own options: the common options of the contract (docs/common-options.md).
// Torch-free, so that me2-preprocess starts without LibTorch; nn/device.h turns device and dtype into LibTorch's.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/describe.h"
#include "base/json_fwd.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/work.h"
#include "cli/plan.h"

namespace me2::store {
struct WriteOptions;
}

namespace me2::cli {

class Paths;

enum class DTypeOption { f32, bf16, f16 };
using ProgressOption = ProgressMode;
enum class LogFormat { text, json };

struct Shard {  // this process writes part `index` (1-based) of `count`
  int index = 1;
  int count = 1;
};

struct CommonOptions {
  std::string device = "cpu";  // cpu, cuda or cuda:N
  DTypeOption dtype = DTypeOption::f32;
  int batch_size = 0;  // 0: the verb's own default
  int threads = 0;     // 0: OMP_NUM_THREADS, SLURM_CPUS_PER_TASK, else the processors this process may use
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
  void check() const;  // Exit::usage
};

class Run {
 public:
  Run(std::string tool, std::string verb, CommonOptions options, const Describe* described);
  ~Run();

  const CommonOptions& options() const { return options_; }
  const std::string& tool() const { return tool_; }
  const std::string& verb() const { return verb_; }
  std::uint64_t seed() const { return options_.seed; }
  int batch_size(int default_size) const { return options_.batch_size > 0 ? options_.batch_size : default_size; }
  int threads() const;
  std::string dtype_name() const { return described::print_one(options_.dtype); }  // for nn::parse_dtype
  Shard shard() const;

  // --dry-run: `if (run.dry_run()) { run.plan().array(...); return; }` after the inputs were opened and checked.
  bool dry_run() const { return options_.dry_run; }
  Plan& plan() { return plan_; }
  // Adds to the plan what the work holds and, on the processor, how long it takes; for a GPU no rate was measured and no time is given.
  void plan_work(const Work& work);
  Work reading_work(double passes) const;  // of what holds its inputs twice and goes through them so often

  // A progress bar of `total` steps, as --progress and --log-format say; ends when the object does.
  Progress progress(const std::string& label, std::int64_t total) const { return Progress(label, total); }

  // How a store is to be written: resume, overwrite, shard, format, and the digest of what decides its bytes.
  store::WriteOptions write_options() const;

  // A result for stdout, checked: a full disk or closed stdout is Exit::io, a reader that left ends the run quietly.
  void print(std::string_view text) const;

  // Hash of what decides the bytes written: tool, verb, the verb's options, content of inputs and models (base/hash.h
  // quick_digest), seed, dtype, kind of device. Not of paths, threads, batch size or shard.
  std::string config_digest() const;
  Json config() const;  // what is hashed

  // The provenance record of this run as it stands, for stores (attribute `me2`) and reports; docs/stores.md lists its fields.
  Json provenance() const;

  // Set by cli/main.cpp.
  void set_paths(const Paths* paths) { paths_ = paths; }
  void set_command(std::vector<std::string> arguments) { command_ = std::move(arguments); }

 private:
  Json sources() const;  // inputs and models with digests and their own provenance
  std::string tool_, verb_;
  CommonOptions options_;
  const Describe* described_;  // the verb's own options
  const Paths* paths_ = nullptr;
  std::vector<std::string> command_;
  Plan plan_;
  double started_;  // seconds since the epoch
  mutable std::unique_ptr<Json> sources_;  // hashed once
};

}  // namespace me2::cli
