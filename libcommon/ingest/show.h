// What a Zarr store holds: tree, attributes, counts, digests; one array as text or .npy.
#pragma once
#include <optional>
#include <string>

#include "base/describe.h"
#include "base/json_fwd.h"

namespace me2::ingest {

struct ShowOptions {
  InputPath store;
  std::optional<std::string> array;
  std::optional<OutputPath> npy;
  bool digest = false;
  void describe(Describe& d) {
    d.positional("STORE", store, "a Zarr v2 or v3 store, whoever wrote it");
    d.option("--array", array, "show one array: shape, type, chunks, range of values");
    d.option("--npy", npy, "with --array: write its elements to this .npy file");
    d.option("--digest", digest, "add SHA-256 over the decoded content: equal for equal content, whatever format, chunks or codec");
  }
};

// {"store", "zarr_format", "attributes", "arrays": [{"path", "dtype", "shape", "chunks", "write_unit", "dimension_names", "units",
// "long_name", "digest"?}], "groups": [..], "digest"?}; with --array also "summary" of that one. Writes --npy.
Json show_store(const ShowOptions& options, bool overwrite);

std::string show_text(const Json& shown);  // the same for people

}  // namespace me2::ingest
