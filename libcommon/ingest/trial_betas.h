// Betas [trial, voxel] on their way into a subject store, larger than memory: rows lie in a temporary file beside the output, which
// has no name and is gone when the process ends, however it ends.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace me2::ingest {

class TrialBetas {
 public:
  // The file lies in `folder`. Exit::cant_create naming `output` when it cannot be made.
  TrialBetas(const std::string& folder, const std::string& output);
  ~TrialBetas();
  TrialBetas(const TrialBetas&) = delete;
  TrialBetas& operator=(const TrialBetas&) = delete;

  void set_size(std::int64_t trials, std::int64_t voxels);  // before anything else; no disk space is taken yet
  std::int64_t trials() const { return static_cast<std::int64_t>(row_.size()); }
  std::int64_t voxels() const { return static_cast<std::int64_t>(column_.size()); }
  const std::vector<std::int64_t>& columns() const { return column_; }  // which of the first voxels each voxel is

  // [voxels]. Exit::io, when the disk is full for example.
  void write(std::int64_t trial, const float* values);
  void read(std::int64_t trial, float* values) const;

  void keep_voxels(const std::vector<std::uint8_t>& keep);       // [voxels]
  void keep_trials(const std::vector<std::int64_t>& trials);  // ascending

 private:
  void read_row(std::int64_t trial, float* values) const;
  void fail(const char* what, int error) const;

  std::string folder_;
  int descriptor_ = -1;
  std::int64_t width_ = 0;                 // of the file's rows
  std::vector<std::int64_t> row_, column_;  // of the file, by trial and voxel
  mutable std::vector<float> whole_;        // one row of the file
};

}  // namespace me2::ingest
