// What a replay made against what was there: stores by their decoded content, score files by value, model directories by tensor,
// other files by their bytes. Provenance (attribute `me2`, member `provenance`) and wall-clock fields do not count.
#pragma once
#include <string>
#include <vector>

#include "base/json_fwd.h"

namespace me2::report {

enum class Sameness { identical, within, different, gone };
const char* sameness_name(Sameness s);

struct Compared {
  std::string what;  // "latent.zarr/latent", "scores.json: pixcorr"
  Sameness state = Sameness::identical;
  std::string detail;  // where it first differs and how; empty when identical
};

// |a - b| <= tolerance * max(1, |a|) is within tolerance. `label` begins each `what`.
std::vector<Compared> compare_outputs(const std::string& original, const std::string& replayed, const std::string& label, double tolerance);
std::vector<Compared> compare_scores(const Json& original, const Json& replayed, const std::string& label, double tolerance);

// The provenance records of a scores file (.json), a report (.html), a store or a model directory. Exit::data when there are none.
std::vector<Json> provenance_records(const std::string& path);

}  // namespace me2::report
