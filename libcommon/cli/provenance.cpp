// What Run knows about where an output comes from.
#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>

#include "base/build_info.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/time.h"
#include "cli/paths.h"
#include "cli/run.h"
#include "store/stage.h"

namespace me2::cli {
namespace {

namespace fs = std::filesystem;

Json values_of(const Item& item) {
  const auto values = item.get();
  if (item.repeated) return Json(values);
  return values.empty() ? Json() : Json(values.front());
}

std::string long_name(const std::string& name) { return name.substr(0, name.find(',')); }  // "--quiet,-q" -> "--quiet"

// The `me2` record inside an input of ours (a store, a model directory or a report); null when it has none.
Json provenance_in(const std::string& path) {
  constexpr std::uintmax_t kLargest = 64 << 20;
  const auto read = [&](const std::string& file) -> Json {
    std::error_code failed;
    const auto size = fs::file_size(file, failed);
    if (failed || size > kLargest) return {};
    try {
      return read_json_file(file);
    } catch (const Error&) {
      return {};  // whoever reads this input for its data will say what is wrong with it
    }
  };
  const auto member = [](const Json& value, const char* key) { return value.is_object() && value.contains(key) ? value[key] : Json(); };
  if (!fs::is_directory(path)) return path.ends_with(".json") ? member(read(path), "provenance") : Json();
  if (const Json v3 = read(path + "/zarr.json"); v3.is_object()) return member(member(v3, "attributes"), "me2");
  if (const Json v2 = read(path + "/.zattrs"); v2.is_object()) return member(v2, "me2");
  return member(read(path + "/config.json"), "me2");
}

Json host() {
  utsname name{};
  ::uname(&name);
  Json host{{"name", name.nodename}, {"system", fmt::format("{} {}", name.sysname, name.release)}, {"machine", name.machine},
            {"processors", ::sysconf(_SC_NPROCESSORS_ONLN)}};
  if (const char* job = std::getenv("SLURM_JOB_ID")) host["slurm_job"] = job;
  return host;
}

}  // namespace

Json Run::config() const {
  Json config{{"tool", tool_}, {"verb", verb_}, {"version", version()}, {"seed", options_.seed}, {"zarr_format", options_.zarr_format},
              {"dtype", described::print_one(options_.dtype)}, {"device", options_.device.substr(0, options_.device.find(':'))}};
  for (const auto& item : described_->items()) {
    if (item.name == "--nproc") continue;  // how many processes share the work does not decide what comes out
    if (item.access == Item::Access::value) config["options"][item.name] = values_of(item);
    else if (item.access != Item::Access::output)
      for (const auto& path : item.paths()) config["contents"][item.name].push_back(quick_digest(path));
  }
  return config;
}

std::string Run::config_digest() const { return sha256(config().dump()); }

store::WriteOptions Run::write_options() const {
  store::WriteOptions out;
  out.resume = options_.resume;
  out.overwrite = options_.overwrite;
  out.shard_index = shard().index;
  out.shard_count = shard().count;
  out.zarr_format = options_.zarr_format;
  out.config = std::make_shared<const Json>(config());
  out.config_digest = sha256(out.config->dump());
  return out;
}

Json Run::sources() const {
  if (sources_) return *sources_;
  const auto list = [](const std::vector<NamedPath>& paths) {
    Json out = Json::array();
    for (const auto& [option, path] : paths) {
      Json source{{"option", option}, {"path", path}, {"sha256", sha256_path(path)}};
      if (const Json before = provenance_in(path); !before.is_null()) source["provenance"] = before;
      out.push_back(std::move(source));
    }
    return out;
  };
  sources_ = std::make_unique<Json>(Json{{"inputs", paths_ ? list(paths_->inputs()) : Json::array()},
                                         {"models", paths_ ? list(paths_->models()) : Json::array()}});
  return *sources_;
}

Json Run::provenance() const {
  Json record{{"tool", tool_}, {"verb", verb_}, {"version", version()}, {"commit", git_commit()}, {"command", command_}};
  std::error_code failed;
  record["folder"] = fs::current_path(failed).string();
  Json& options = record["options"] = Json::object();
  for (const auto& item : described_->items()) options[long_name(item.name)] = values_of(item);
  Describe common;
  CommonOptions copy = options_;
  copy.describe(common);
  Json& shared = record["common_options"] = Json::object();
  for (const auto& item : common.items()) shared[long_name(item.name)] = values_of(item);
  record["seed"] = options_.seed;
  record["device"] = options_.device;
  record["dtype"] = described::print_one(options_.dtype);
  record["threads"] = threads();
  record["libraries"] = libraries();
  record["host"] = host();
  const Json from = sources();
  record["inputs"] = from["inputs"];
  record["models"] = from["models"];
  Json& outputs = record["outputs"] = Json::array();  // what rerun gives other paths
  if (paths_)
    for (const auto& [option, path] : paths_->outputs()) outputs.push_back({{"option", option}, {"path", path}});
  using Clock = std::chrono::system_clock;
  const auto start = Clock::time_point(std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(started_)));
  record["started"] = utc_time(start);
  record["finished"] = utc_time(Clock::now());
  record["seconds"] = std::chrono::duration<double>(Clock::now() - start).count();
  return record;
}

}  // namespace me2::cli
