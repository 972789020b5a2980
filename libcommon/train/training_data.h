// What training reads: subject stores (betas, stimulus, session, split) and a target store, joined by stimulus.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "base/random.h"
#include "train/train_options.h"

namespace me2::train {

struct SubjectSelection {
  std::int64_t sessions = 0;  // first N; 0: all
  SplitChoice split = SplitChoice::stored;
  bool half = false;          // betas in float16
  bool keep = true;           // betas in memory; else only mean_columns() gives them
};

// The trials of one subject.
class SubjectTrials {
 public:
  // Exit::data: more sessions than there are, no training trial left, not a subject store.
  SubjectTrials(const std::string& path, const std::string& name, const SubjectSelection& selection);

  const std::string& path() const { return path_; }
  const std::string& name() const { return name_; }
  std::int64_t voxels() const { return voxels_; }
  std::int64_t session_trials() const { return session_trials_; }  // of the chosen sessions, whatever their split
  const std::vector<std::int64_t>& train() const { return train_; }  // positions in what follows
  const std::vector<std::int64_t>& test() const { return test_; }
  const std::vector<std::int32_t>& stimulus() const { return stimulus_; }
  at::Tensor betas(const std::vector<std::int64_t>& rows) const;  // f32 [rows, voxels]
  // f32 [groups, count]: voxels first..first+count, averaged over the trials of each group; read from the store, `groups` rows in memory.
  at::Tensor mean_columns(const std::vector<std::vector<std::int64_t>>& groups, std::int64_t first, std::int64_t count) const;
  // Takes a share of the training *images* out of train(), the same for the same seed.
  std::vector<std::int64_t> hold_out(double share, std::uint64_t seed);

 private:
  // Calls `take(position of its first row, values [some, count])` for blocks of the chosen rows, in order, f32.
  void read_columns(std::int64_t first, std::int64_t count, const std::function<void(std::int64_t, const at::Tensor&)>& take) const;
  std::string path_, name_;
  std::int64_t voxels_ = 0, session_trials_ = 0;
  std::vector<std::int64_t> rows_;  // of the store, by position
  std::vector<std::int32_t> stimulus_;
  std::vector<std::int64_t> train_, test_;
  at::Tensor betas_;
};

// Rows of a target store by stimulus. Arrays that fit (in all `keep` bytes) are kept in memory, others are read row by row.
class Targets {
 public:
  Targets(const std::string& path, bool lowlevel, bool augmented, std::int64_t keep = std::int64_t{4} << 30);
  const std::string& path() const { return path_; }
  std::int64_t tokens() const { return tokens_; }
  std::int64_t width() const { return width_; }
  bool has(const std::string& array) const { return arrays_.contains(array); }
  std::vector<std::int64_t> row_shape(const std::string& array) const;
  // Exit::data naming the first stimulus without a row, and how many more.
  void require(const std::vector<std::int32_t>& stimulus, const std::string& by) const;
  void require_variants(const std::string& array) const;  // Exit::data when there is no `array`_augmented
  bool knows(std::int32_t stimulus) const { return row_.contains(stimulus); }
  at::Tensor get(const std::string& array, const std::vector<std::int32_t>& stimulus) const;  // f32 [n, ...]
  // clip_tokens flattened, its columns first..first+count in the dtype they are stored in [n, count]: f16 or f32.
  at::Tensor token_columns(const std::vector<std::int32_t>& stimulus, std::int64_t first, std::int64_t count) const;
  bool half() const;  // whether token_columns are f16
  // For each sample 0, the clean array, in a share of `clean`, else one of the variants 1..K of `array`_augmented [sample, K, ...].
  std::vector<std::int64_t> draw_variants(const std::string& array, std::size_t samples, double clean, Random& random) const;
  at::Tensor variants(const std::string& array, const std::vector<std::int32_t>& stimulus, const std::vector<std::int64_t>& variants) const;

 private:
  struct Source;
  std::string path_;
  std::int64_t tokens_ = 0, width_ = 0;
  std::map<std::int32_t, std::int64_t> row_;
  std::map<std::string, std::shared_ptr<Source>> arrays_;
};

// The trials of one epoch, batch after batch: `batches` batches of `size` rows of trials.train(). Depends on (seed, subject, epoch) only.
std::vector<std::int64_t> epoch_order(const SubjectTrials& trials, std::int64_t batches, std::int64_t size, Repeated repeated,
                                      std::uint64_t seed, std::int64_t epoch);

}  // namespace me2::train
