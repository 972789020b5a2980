// me2-align apply: betas of a subject store through its ridge, trial by trial.
#pragma once
#include <functional>
#include <optional>
#include <string>

#include "models/ridge.h"
#include "store/columns.h"
#include "store/stage.h"

namespace me2::models {

enum class TrialSplit { train, test, all };  // all: train and test, without the trials a store marks as unused

struct AlignOptions {
  std::string subject;               // "subj01"; empty: as the store says
  std::optional<std::int64_t> ridge; // position in the checkpoint, instead of looking the subject up
  TrialSplit split = TrialSplit::all;
  at::ScalarType dtype = at::kFloat; // of the weights
};

class AlignStage {
 public:
  // Exit::data when the store holds no betas or the voxel count is not the ridge's; Exit::usage for an unknown subject or no such trials.
  AlignStage(const std::string& subject_store, const weights::StateDict& model, const AlignOptions& options);
  store::StageSpec spec() const;
  std::uint64_t weight_bytes() const;
  void run(store::StageWriter& out, std::int64_t batch, const std::function<void(std::int64_t)>& done) const;

 private:
  store::Group group_;
  store::Array betas_;
  std::vector<std::int64_t> rows_;  // of the subject store
  std::vector<std::int32_t> stimulus_;
  store::Columns columns_;
  std::optional<nn::Linear> ridge_;
};

}  // namespace me2::models
