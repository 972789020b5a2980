#include "cli/run.h"

#include <sched.h>

#include <chrono>

#include "base/error.h"
#include "base/json.h"
#include "base/version.h"

namespace me2 {
template <>
const EnumNames<cli::DTypeOption>& enum_names() {
  static const EnumNames<cli::DTypeOption> names{{cli::DTypeOption::f32, "f32"}, {cli::DTypeOption::bf16, "bf16"}, {cli::DTypeOption::f16, "f16"}};
  return names;
}
template <>
const EnumNames<cli::ProgressOption>& enum_names() {
  static const EnumNames<cli::ProgressOption> names{
      {cli::ProgressOption::automatic, "auto"}, {cli::ProgressOption::always, "always"}, {cli::ProgressOption::never, "never"}};
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
  d.option("--threads", threads, "processor threads (0: all this process may use)");
  d.option("--seed", seed, "of every random draw");
  d.option("--shard", shard, "I/N: write the I-th of N parts of the output");
  d.option("--resume", resume, "continue an interrupted run of the same configuration");
  d.option("--overwrite", overwrite, "replace an existing output");
  d.option("--dry-run", dry_run, "check the inputs and print shapes, sizes and estimates; do no work");
  d.option("--json", json, "print results as JSON");
  d.option("--zarr-format", zarr_format, "2 or 3: the format of the stores written");
  d.option("--progress", progress, "progress on stderr");
  d.option("--log-format", log_format, "form of the log on stderr");
  d.option("--quiet,-q", quiet, "errors only");
  d.option("--verbose,-v", verbose, "more detail in the log");
}

Run::Run(std::string tool, std::string verb, CommonOptions options, const Describe* described)
    : tool_(std::move(tool)), verb_(std::move(verb)), options_(std::move(options)), described_(described),
      started_(std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count()) {}

int Run::threads() const {
  if (options_.threads > 0) return options_.threads;
  if (const char* slurm = std::getenv("SLURM_CPUS_PER_TASK")) return std::max(1, std::atoi(slurm));
  cpu_set_t set;
  return ::sched_getaffinity(0, sizeof set, &set) == 0 ? std::max(1, CPU_COUNT(&set)) : 1;
}

Shard Run::shard() const {
  const auto& text = options_.shard;
  const auto slash = text.find('/');
  if (slash == std::string::npos) throw usage_error("--shard: I/N expected, \"{}\" given", text);
  const Shard shard{described::Value<int>::parse("--shard", text.substr(0, slash)),
                    described::Value<int>::parse("--shard", text.substr(slash + 1))};
  if (shard.count < 1 || shard.index < 1 || shard.index > shard.count)
    throw usage_error("--shard: I/N with 1 <= I <= N expected, \"{}\" given", text);
  return shard;
}

Json Run::provenance() const {
  Json record{{"tool", tool_}, {"verb", verb_}, {"version", ME2_VERSION}};
  Json& arguments = record["options"] = Json::object();
  for (const auto& item : described_->items()) {
    const auto values = item.get();
    arguments[item.name] = item.repeated ? Json(values) : values.empty() ? Json() : Json(values.front());
  }
  record["seed"] = options_.seed;
  record["device"] = options_.device;
  record["started"] = started_;
  return record;
}

}  // namespace me2::cli
