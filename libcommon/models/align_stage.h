// me2-align apply: betas of a subject store through its map (a ridge or an MlpMap), trial by trial. A closed-form ridge to image tokens
// (`me2-align fit --to tokens`; config.json: ridge_output clip_tokens, clip_seq_dim, clip_emb_dim) gives clip_tokens, all else latents.
#pragma once
#include <functional>
#include <optional>
#include <string>

#include "base/work.h"
#include "models/average.h"
#include "models/ridge.h"
#include "store/columns.h"
#include "store/stage.h"

namespace me2::models {

// Whose betas a trial goes with: its own; for floors, the mean over the training trials, or those of another image: of the image half the
// list of images further on, its trials in order, so that nothing but the pairing is changed.
enum class Brain { own, mean, shuffled };

enum class TrialSplit { train, test, all };  // all: train and test, without the trials a store marks as unused

struct AlignOptions {
  std::string subject;               // "subj01"; empty: as the store says
  std::optional<std::int64_t> ridge; // position in the checkpoint, instead of looking the subject up
  TrialSplit split = TrialSplit::all;
  std::optional<Average> average;    // outputs of a stimulus's repeats; not given: averaged for clip_tokens, kept for latents
  at::ScalarType dtype = at::kFloat; // of the weights
  Brain brain = Brain::own;
  at::Device device = at::kCPU;      // meta: for work() alone
};

class AlignStage {
 public:
  // Exit::data when the store holds no betas, the voxel count is not the ridge's, or config.json and the ridge disagree; Exit::usage for an unknown subject or no such trials.
  AlignStage(const std::string& subject_store, const weights::StateDict& model, const AlignOptions& options);
  store::StageSpec spec() const;
  std::uint64_t weight_bytes() const { return weight_bytes_; }
  Work work(std::int64_t batch) const;  // of all rows
  void run(store::StageWriter& out, std::int64_t batch, const std::function<void(std::int64_t)>& done) const;

 private:
  store::Group group_;
  store::Array betas_;
  std::vector<std::int64_t> rows_;  // of the subject store, whose betas are read
  std::vector<std::int64_t> mean_of_;  // Brain::mean: the trials whose mean stands for every row's betas
  std::vector<AveragedRow> averaged_;  // trials: positions in rows_
  store::Columns columns_;
  std::optional<nn::Linear> ridge_;
  std::optional<MlpMap> mlp_;
  store::Shape row_shape_;  // [hidden], or [T, D]
  std::uint64_t weight_bytes_ = 0;
};

}  // namespace me2::models
