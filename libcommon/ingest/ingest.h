// What the importers share: how a store is written, and what they do about NaN and outputs that lie inside inputs.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/describe.h"
#include "base/json_fwd.h"
#include "store/subject.h"

namespace me2::ingest {

// From the common options of the run.
struct Context {
  store::WriteOptions write;
  bool dry_run = false;
  std::uint64_t seed = 42;
  int threads = 1;
  const Json* provenance = nullptr;
};

// error: NaN betas end the run. drop: voxels that are NaN in every trial go, then trials in which a NaN is left.
enum class NanRule { error, drop };

// Exit::cant_create when OUTPUT is INPUT, or lies inside it, or the other way round.
void refuse_overlap(const std::string& input, const std::string& output);

std::string subject_id(int subject);  // 1 -> "subj01"

// Rows [first, first + count) of a betas matrix of all voxels, as the importer found them.
struct NanCount {
  std::int64_t values = 0, trials = 0;
};

// Over a matrix [trial, voxel] seen row by row: which trials hold NaN (or infinity), and which voxels never change.
class BetaCheck {
 public:
  explicit BetaCheck(std::int64_t voxels) : first_(static_cast<std::size_t>(voxels)), changed_(first_.size(), 0), bad_(first_.size(), 0) {}
  bool row(const float* betas);  // true when the row is free of NaN
  std::int64_t rows() const { return rows_; }
  std::int64_t bad_values() const { return bad_values_; }
  std::int64_t constant_voxels() const;
  std::vector<std::uint8_t> never_seen() const;  // [voxel] 1 where every row was NaN

 private:
  std::vector<float> first_;
  std::vector<std::uint8_t> changed_;
  std::vector<std::int32_t> bad_;
  std::int64_t rows_ = 0, bad_values_ = 0;
};

// "session 2: 3 values in 1 trial; session 5: ..." for the error about NaN betas.
std::string nan_summary(std::span<const std::int16_t> session, std::span<const std::int64_t> values_per_trial);

// Test images among training images: Exit::data naming one and how many.
void check_disjoint(const store::Trials& trials, const std::string& where);

}  // namespace me2::ingest

template <>
inline const me2::EnumNames<me2::ingest::NanRule>& me2::enum_names() {
  static const EnumNames<ingest::NanRule> names{{ingest::NanRule::error, "error"}, {ingest::NanRule::drop, "drop"}};
  return names;
}
