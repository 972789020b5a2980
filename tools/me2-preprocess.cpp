// me2-preprocess: releases, raw data or your own scan -> subject and stimulus stores.
#include <algorithm>
#include <filesystem>

#include "base/json.h"
#include "base/log.h"
#include "cli/tool.h"
#include "ingest/custom.h"
#include "ingest/medarc.h"
#include "ingest/nsd.h"
#include "ingest/show.h"
#include "ingest/stimuli.h"
#include "scenes/simulate.h"

namespace me2 {
namespace {

std::string counts_text(const Json& counts, const std::string& indent = "") {
  std::string text;
  for (const auto& [key, value] : counts.items()) {
    if (key == "dropped") {
      for (const Json& d : value)
        text += fmt::format("{}{:<20} {} {}: {}\n", indent, "dropped", d["count"].get<std::int64_t>(), d["what"].get<std::string>(), d["why"].get<std::string>());
    } else if (key == "images_by_repeats") {
      for (const auto& [n, images] : value.items()) text += fmt::format("{}{:<20} {}\n", indent, "images shown " + n + "x", images.get<std::int64_t>());
    } else if (value.is_object()) {
      text += fmt::format("{}{}\n", indent, key) + counts_text(value, indent + "  ");
    } else {
      text += fmt::format("{}{:<20} {}\n", indent, key, value.is_string() ? value.get<std::string>() : value.dump());
    }
  }
  return text;
}

void show(const ingest::ShowOptions& options, cli::Run& run) {
  const Json shown = ingest::show_store(options, run.options().overwrite);
  run.print(run.options().json ? shown.dump(2) + "\n" : ingest::show_text(shown));
}

// OUTPUT was "-": its store lies in a temporary folder that the next program removes.
template <class Options>
bool goes_to_pipe(Options options) {
  Describe described;
  options.describe(described);
  for (const Item& item : described.items())
    if (item.access == Item::Access::output && item.role == Item::Role::positional)
      return std::filesystem::exists(std::filesystem::path(item.get().at(0)).parent_path() / ".me2-pipe");
  return false;
}

// Importers stream: a block of rows, or a session, at a time. Numbers are decompressed, checked, scaled and compressed again.
Work import_work(const Json& counts) {
  Work work;
  work.held = 64 << 20;
  if (counts.contains("images")) {
    const auto side = [&](const char* name) { return counts.contains(name) ? counts[name].get<double>() : 64; };
    work.bytes = counts["images"].get<double>() * 3 * side("height") * side("width") * 300;
    work.calls = counts["images"].get<double>() * 20;
  }
  const auto subject = [&](const Json& c) {
    if (!c.is_object() || !c.contains("voxels") || !c.contains("trials") || !c["voxels"].is_number()) return;
    const double numbers = c["trials"].get<double>() * c["voxels"].get<double>();
    work.bytes += 300 * numbers;
    work.held = std::max(work.held, static_cast<std::uint64_t>((64 << 20) + 16 * std::min(numbers, 750 * c["voxels"].get<double>())));  // a session
  };
  subject(counts);
  for (const auto& [key, value] : counts.items()) subject(value);
  return work;
}

// Runs an importer with what it needs from the run, and prints its counts.
template <class Options>
void import_with(const Options& options, cli::Run& run, Json (*import)(const Options&, const ingest::Context&)) {
  const Json provenance = run.provenance();
  ingest::Context context;
  context.dry_run = run.dry_run();
  context.seed = run.seed();
  context.threads = run.threads();
  context.provenance = &provenance;
  context.write = run.write_options();
  if (run.shard().count != 1) throw usage_error("--shard: me2-preprocess {} runs as one process", run.verb());
  const Json counts = import(options, context);
  if (run.dry_run()) {
    for (const auto& [key, value] : counts.items())
      if (!value.is_structured()) run.plan().note(key, value.is_string() ? value.template get<std::string>() : value.dump());
    if (counts.contains("voxels")) run.plan().array("betas", "f4", {counts["trials"], counts["voxels"]});
    if (counts.contains("images") && counts.contains("height")) run.plan().array("image", "u1", {counts["images"], 3, counts["height"], counts["width"]});
    return run.plan_work(import_work(counts));
  }
  if (counts.contains("constant_voxels") && counts["constant_voxels"] != 0)
    log_warning("{} voxels are constant: their betas are 0 after z-scoring", counts["constant_voxels"].get<std::int64_t>());
  if (goes_to_pipe(options)) {  // stdout is for the store's path
    log_info("{}", counts.dump());
    return;
  }
  run.print(run.options().json ? counts.dump(2) + "\n" : counts_text(counts));
}

void medarc(const ingest::MedarcOptions& o, cli::Run& run) { import_with(o, run, &ingest::import_medarc); }
void nsd(const ingest::NsdOptions& o, cli::Run& run) { import_with(o, run, &ingest::import_nsd); }
void custom(const ingest::CustomOptions& o, cli::Run& run) { import_with(o, run, &ingest::import_custom); }
void stimuli(const ingest::StimuliOptions& o, cli::Run& run) { import_with(o, run, &ingest::import_stimuli); }
void simulate(const scenes::SimulateOptions& o, cli::Run& run) { import_with(o, run, &scenes::simulate); }

}  // namespace
ME2_TOOL("me2-preprocess", "Turn fMRI releases, raw data or your own scan into Zarr stores",
         {cli::verb("show", "print the tree of a store, one array, or digests of its content", show),
          cli::verb("medarc", "import a subject of the MindEye2 data release", medarc),
          cli::verb("nsd", "import a subject of the raw NSD release", nsd),
          cli::verb("custom", "import your own subject: betas or BOLD series with events", custom),
          cli::verb("stimuli", "import images (COCO HDF5, a folder or a list) with captions", stimuli),
          cli::verb("simulate", "make NSD-like subjects that saw rendered scenes", simulate)})
}  // namespace me2
