// Trials of a lab's own experiment, from events tables.
#pragma once
#include <string>
#include <vector>

#include "ingest/custom.h"
#include "ingest/glm.h"

namespace me2::ingest {

struct Event {
  TrialEvent time;            // NaN onset when the table has none
  std::string stimulus;       // the name in the table
  std::string split;          // of --split column:NAME
  int table = 0;              // which --events file
  std::int64_t line = 0;
  int session = 1, run = 1;
  std::int64_t row = 0;       // of betas: the row in its file
};

// In table order; names in `options.ignore` and n/a are left out and counted in `ignored` (their rows of betas too).
std::vector<Event> read_events(const CustomOptions& options, std::int64_t& ignored);

// Row in the stimulus store of every event: by --images, --stimuli, or else by rank among the names that occur. `names` gets the
// names by row when there is neither folder nor store.
std::vector<std::int32_t> stimulus_rows(const CustomOptions& options, const std::vector<Event>& events, std::vector<std::string>& names);

// 0 train, 1 test per event. Exit::usage for a malformed rule, Exit::data when one side comes out empty.
std::vector<std::int8_t> split_events(const CustomOptions& options, const std::vector<Event>& events, const std::vector<std::int32_t>& stimulus, std::uint64_t seed);

}  // namespace me2::ingest
