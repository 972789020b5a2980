// The chain of commands behind a result, taken from its provenance record (docs/stores.md), and its replay in a scratch folder.
// Only this file and tests start processes: stages never start stages.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/json_fwd.h"

namespace me2::cli {

struct ReplaySource {  // an input or a model of a step
  std::string option, path, sha256;  // path: absolute, as it was
  int step = -1;                     // the earlier step that made it; -1: it is read where it lies
  int output = -1;                   // which output of that step
  std::string inside;                // where in that output, when it is a folder of several: "stimuli.zarr"
  bool shipped = false;              // its record does not say where it was made, as of models that came with a release: read where it lies
};
struct ReplayOutput {
  std::string option, path;  // path: absolute, as it was
  std::string replayed;      // in the scratch folder
};
struct ReplayStep {
  std::string tool, verb, folder;
  std::shared_ptr<const Json> record;
  std::vector<ReplaySource> sources;
  std::vector<ReplayOutput> outputs;
  std::string printed;  // file with what the replay wrote on stdout
  double seconds = 0;
  std::string name() const { return tool + " " + verb; }
  std::string command() const;  // as it was recorded, for people
};

// The steps behind these records, oldest first, each once. `last` > 0 keeps so many from the end; what the others made is then read
// where it lies. Exit::data (naming `where`) for a record that cannot be replayed.
std::vector<ReplayStep> replay_steps(const std::vector<Json>& records, const std::string& where, int last = 0);
int step_of(const std::vector<ReplayStep>& steps, const Json& record);  // -1: none

// Inputs that are read where they lie and are not there any more.
std::vector<ReplaySource> gone(const std::vector<ReplayStep>& steps);

// Runs step `index` with the tool in `tools_folder`, its outputs under `scratch`. threads 0: as many as were recorded.
// Exit::data with the tool's own message when it fails, or when it would write anywhere else; Exit::temp_fail after a signal.
void replay(std::vector<ReplayStep>& steps, std::size_t index, const std::string& scratch, const std::string& tools_folder, int threads);

std::string own_folder();  // of this executable: where the other tools are

}  // namespace me2::cli
