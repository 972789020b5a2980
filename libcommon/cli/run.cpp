#include "cli/run.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "base/json.h"
#include "base/time.h"
#include "cli/paths.h"
#include "cli/stdout.h"

namespace me2 {
template <>
const EnumNames<cli::DTypeOption>& enum_names() {
  static const EnumNames<cli::DTypeOption> names{{cli::DTypeOption::f32, "f32"}, {cli::DTypeOption::bf16, "bf16"}, {cli::DTypeOption::f16, "f16"}};
  return names;
}
template <>
const EnumNames<ProgressMode>& enum_names() {
  static const EnumNames<ProgressMode> names{{ProgressMode::automatic, "auto"}, {ProgressMode::always, "always"}, {ProgressMode::never, "never"}};
  return names;
}
template <>
const EnumNames<cli::LogFormat>& enum_names() {
  static const EnumNames<cli::LogFormat> names{{cli::LogFormat::text, "text"}, {cli::LogFormat::json, "json"}};
  return names;
}
}  // namespace me2

namespace me2::cli {

void CommonOptions::describe(Describe& d) {
  d.option("--device", device, "cpu, cuda or cuda:N");
  d.option("--dtype", dtype, "arithmetic of the networks");
  d.option("--batch-size", batch_size, "samples at once (0: the verb's default)");
  d.option("--threads", threads, "processor threads (0: OMP_NUM_THREADS, SLURM_CPUS_PER_TASK, else all this process may use)");
  d.option("--seed", seed, "of every random draw");
  d.option("--shard", shard, "I/N: write only the I-th of N parts of the output");
  d.option("--resume", resume, "continue an interrupted run of the same configuration");
  d.option("--overwrite", overwrite, "replace an existing output");
  d.option("--dry-run", dry_run, "check the inputs, print shapes, sizes and estimates, do no work");
  d.option("--json", json, "print results as JSON");
  d.option("--zarr-format", zarr_format, "2 or 3: the format of the stores written");
  d.option("--progress", progress, "progress on stderr; auto: not with --quiet");
  d.option("--log-format", log_format, "form of the log on stderr");
  d.option("--quiet,-q", quiet, "errors only");
  d.option("--verbose,-v", verbose, "more detail in the log");
}

namespace {

Shard parse_shard(const std::string& text) {
  const auto slash = text.find('/');
  if (slash == std::string::npos) throw usage_error("--shard: I/N expected, \"{}\" given", text);
  const Shard shard{described::Value<int>::parse("--shard", text.substr(0, slash)),
                    described::Value<int>::parse("--shard", text.substr(slash + 1))};
  if (shard.count < 1 || shard.index < 1 || shard.index > shard.count)
    throw usage_error("--shard: I/N with 1 <= I <= N expected, \"{}\" given", text);
  return shard;
}

bool is_device(std::string_view name) {
  if (name == "cpu" || name == "cuda") return true;
  return name.starts_with("cuda:") && name.size() > 5 && name.size() < 8 &&
         std::all_of(name.begin() + 5, name.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

void CommonOptions::check() const {
  parse_shard(shard);
  if (!is_device(device)) throw usage_error("--device: cpu, cuda or cuda:N expected, \"{}\" given", device);
  if (batch_size < 0) throw usage_error("--batch-size: a number from 0 expected, {} given", batch_size);
  if (threads < 0) throw usage_error("--threads: a number from 0 expected, {} given", threads);
  if (zarr_format != 2 && zarr_format != 3) throw usage_error("--zarr-format: 2 or 3 expected, {} given", zarr_format);
  if (resume && overwrite) throw usage_error("--resume and --overwrite: one keeps what the other deletes");
  if (quiet && verbose) throw usage_error("--quiet and --verbose exclude each other");
}

Run::Run(std::string tool, std::string verb, CommonOptions options, const Describe* described)
    : tool_(std::move(tool)), verb_(std::move(verb)), options_(std::move(options)), described_(described),
      started_(std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count()) {}
Run::~Run() = default;

void Run::plan_work(const Work& whole) {
  const Work work = whole.times(1.0 / shard().count);
  if (work.weights) plan_.memory("weights", work.weights);
  plan_.memory("intermediate results", work.held);
  plan_.memory("program and libraries", tool_ == "me2-preprocess" ? Work::kProgramBytes / 8 : Work::kProgramBytes);  // without LibTorch
  if (options_.device == "cpu" && std::isfinite(work.flops)) {
    // A thread for each minute it would take one: what is done in seconds does not need the whole machine.
    plan_.threads(static_cast<int>(std::clamp(std::ceil(work.seconds(1) / 60), 1.0, static_cast<double>(threads()))));
    plan_.seconds(work.seconds(threads()), fmt::format("{:.3g} GFLOP and {} through memory, {} thread{}", work.flops / 1e9, bytes_text(work.bytes), threads(), threads() == 1 ? "" : "s"));
  }
}

Work Run::reading_work(double passes) const {
  double bytes = 0;
  std::error_code failed;
  for (const auto& [option, path] : paths_->inputs()) {
    if (!std::filesystem::is_directory(path, failed)) bytes += static_cast<double>(std::filesystem::file_size(path, failed));
    else
      for (const auto& entry : std::filesystem::recursive_directory_iterator(path, failed))
        if (entry.is_regular_file(failed)) bytes += static_cast<double>(entry.file_size(failed));
  }
  Work work;
  work.bytes = passes * bytes;
  work.held = static_cast<std::uint64_t>(2 * bytes);
  return work;
}

namespace {

int positive(const char* name) {
  const char* value = std::getenv(name);
  return value ? std::max(0, std::atoi(value)) : 0;
}

int default_threads() {
  if (const int openmp = positive("OMP_NUM_THREADS")) return openmp;
  if (const int slurm = positive("SLURM_CPUS_PER_TASK")) return slurm;
  cpu_set_t set;
  return ::sched_getaffinity(0, sizeof set, &set) == 0 ? std::max(1, CPU_COUNT(&set)) : 1;
}

}  // namespace

int Run::threads() const {
  const int threads = options_.threads > 0 ? options_.threads : default_threads();
  // OpenMP starts no more than its limit, and oneDNN's convolutions wait for ever for those that are missing.
  const int limit = positive("OMP_THREAD_LIMIT");
  return limit > 0 ? std::min(threads, limit) : threads;
}

Shard Run::shard() const { return parse_shard(options_.shard); }

void Run::print(std::string_view text) const { write_stdout(text); }

}  // namespace me2::cli
