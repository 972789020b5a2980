// A store in the making. It grows in OUT.zarr.partial/ and appears under its own name only when it is complete, by one rename:
// Snakemake deletes declared outputs before a job starts, so what is to be resumed must not lie inside the declared output.
//
// Beside the Zarr nodes, OUT.zarr.partial/.me2/ holds
//     plan.json       what decides the store's structure and bytes; --resume and further shards must have the same
//     lock            byte k of it is locked (fcntl, open file description) by the process that writes unit k
//     part-*.json     provenance of the processes that wrote a part
// and is removed just before the rename.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/json_fwd.h"
#include "store/zarr.h"

namespace me2::store {

struct WriteOptions {
  bool resume = false, overwrite = false;
  int shard_index = 1, shard_count = 1;
  int zarr_format = 3;
  std::int64_t rows_per_unit = 0;   // 0: chosen so that a unit holds about 64 MiB, at least one row
  std::string config_digest;        // of everything that decides the bytes; --resume refuses a .partial of another
  std::shared_ptr<const Json> config;  // what config_digest was made of, so that a refusal can name what differs; may be null
};

// Gives a finished folder its name, in one step; with `overwrite` what was there is exchanged for it and removed afterwards.
// Exit::cant_create when the name is taken and is not to be overwritten, Exit::io when the system refuses.
void publish_folder(const std::string& from, const std::string& to, bool overwrite);

class PartialStore {
 public:
  // `plan`: structure that must agree between the processes that write one store. `build` makes the arrays in a fresh store.
  // This process writes units [first_unit, first_unit + units) and holds their locks until it ends.
  // Exit::cant_create: the output, or a .partial that is not to be resumed, exists. Exit::usage: the .partial is of another
  // plan or configuration (names what differs). Exit::temp_fail: another process is writing one of these units.
  PartialStore(const std::string& path, const WriteOptions& options, const Json& plan, std::int64_t first_unit, std::int64_t units,
               const std::function<void(Group&)>& build);
  ~PartialStore();
  PartialStore(const PartialStore&) = delete;

  bool published() const;  // the complete store was there already, made by the same configuration
  Group& group();          // of the .partial; of the complete store when published()

  // Writes the attribute `me2` and consolidated metadata, and renames. `complete` is asked under a lock; when it says no, a
  // process that writes one of several shards leaves its provenance for the one that ends last, and any other is at fault
  // (Exit::internal). True when the store is now there under its own name.
  bool publish(const Json& provenance, const std::function<bool()>& complete);

  // Removes the .partial, when its content turned out to be of no use. Not of a published store.
  void discard();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace me2::store
