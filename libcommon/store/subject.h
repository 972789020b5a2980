// Subject stores: one subject's single-trial responses (docs/stores.md). Arrays:
//   betas f4 [trial, voxel]; stimulus, global_trial i4 [trial]; session, run, repeat i2 [trial] (1-based, 0 = unknown); split i1 [trial]
//   (0 train, 1 test, 2 validation, -1 unused); behaviour f4 [trial, 17]; voxel_ijk i4 [voxel, 3]; affine f8 [4, 4]; roi/NAME bool [voxel];
//   beta_mean, beta_sd f8 [voxel] or [session, voxel]: what was subtracted and divided by.
// Rows are in ascending global_trial. Everything but betas and the per-trial integers is optional.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/json_fwd.h"
#include "store/partial.h"
#include "store/zarr.h"

namespace me2::store {

struct Trials {  // one entry per row
  std::vector<std::int32_t> stimulus, global_trial;
  std::vector<std::int16_t> session, run, repeat;
  std::vector<std::int8_t> split;
  std::vector<float> behaviour;  // [trial, 17], or empty
  std::int64_t size() const { return static_cast<std::int64_t>(stimulus.size()); }
  void push(const Trials& from, std::int64_t row);
};

// repeat: how many trials up to and with this one showed the same image, in row order.
std::vector<std::int16_t> count_repeats(std::span<const std::int32_t> stimulus);

struct Voxels {
  std::int64_t count = 0;
  std::vector<std::int32_t> ijk;  // [voxel, 3], or empty
  bool has_affine = false;
  std::array<double, 16> affine{};
  std::vector<std::pair<std::string, std::vector<std::uint8_t>>> roi;  // name, [voxel]
  std::int64_t statistic_rows = 0;  // 0: none; 1: over all; else one per session
  std::vector<double> mean, sd;     // [statistic_rows, voxel]
};

// What was left out, and why: printed and kept in the attributes.
struct Dropped {
  std::string what;  // "trials", "voxels"
  std::int64_t count = 0;
  std::string why;
};

struct SubjectInfo {
  std::string id;      // "subj01"
  std::string source;  // "medarc", "nsd", "custom", "simulated"
  std::vector<Dropped> dropped;
  std::int64_t constant_voxels = 0;
  Json* attributes = nullptr;  // further attributes of the group
};

// Trials, images, repeats, sessions, voxels, split sizes, dropped: as stored under "counts" and printed.
Json subject_counts(const Trials& trials, std::int64_t voxels, const SubjectInfo& info);

// A store/partial.h store: PATH.partial, then renamed by publish(). Betas come in row order, in pieces of any size; at most one write
// unit (about 64 MiB) is held. Errors are PartialStore's, and Exit::temp_fail between units when a signal asked to stop.
class SubjectWriter {
 public:
  SubjectWriter(const std::string& path, std::int64_t trials, std::int64_t voxels, const WriteOptions& options);
  ~SubjectWriter();
  bool published() const;          // --resume found the finished store: nothing is written
  std::int64_t rows_done() const;  // leading rows that are there already; pieces below it are passed over
  void append(std::int64_t count, const float* rows);
  // `voxels` is taken at the end because statistics and constant voxels may be known only then.
  void publish(const Trials& trials, const Voxels& voxels, const SubjectInfo& info, const Json& provenance);
  void discard();  // removes the .partial: what was appended turned out to be of no use

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

class SubjectStore {
 public:
  explicit SubjectStore(const std::string& path);  // Exit::data when it is no subject store or its arrays disagree in length
  const std::string& path() const { return path_; }
  std::string id() const;  // "" when the store does not say
  std::int64_t trials() const { return trials_.size(); }
  std::int64_t voxels() const { return betas_.shape()[1]; }
  const Trials& table() const { return trials_; }  // behaviour is read by behaviour()
  std::vector<float> behaviour() const;            // [trial, 17], empty when absent
  const Array& betas() const { return betas_; }
  std::vector<std::int64_t> rows(int split) const;  // rows with that split, ascending
  void read_rows(std::span<const std::int64_t> rows, float* out) const;  // [rows, voxel]; ascending neighbours are read together
  std::vector<std::string> roi_names() const;
  std::vector<std::uint8_t> roi(const std::string& name) const;  // Exit::data naming those there are
  const Group& group() const { return group_; }
  Json attributes() const;
  Json provenance() const;

 private:
  std::string path_;
  Group group_;
  Array betas_;
  Trials trials_;
};

}  // namespace me2::store
