// me2-prior sample: CLIP tokens drawn from the diffusion prior, given backbone tokens.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/work.h"
#include "diffusion/prior_sampler.h"
#include "diffusion/token_memory.h"
#include "store/columns.h"
#include "store/stage.h"

namespace me2::diffusion {

struct PriorStageOptions {
  std::int64_t steps = 20;
  double guidance = 1;
  std::int64_t draws = 1;          // per sample
  bool mean = false;               // their mean, one row for each sample, in place of a row for each draw
  std::uint64_t seed = 42;
  std::string recall;              // target store; not empty: also an array `recalled`, by the retrieval head (TokenMemory)
  double temperature = 0.002;      // of the recall
  std::string noise;               // store with `noise` [call, sample, T, D]; empty: keyed draws
  std::string save_noise;          // store to write them to; empty: not kept
  bool autocast_eps = false;       // 1e-3 after each attention, as the official float16 training had it
  at::ScalarType dtype = at::kFloat;
  at::Device device = at::kCPU;
};

class PriorStage {
 public:
  // Exit::data when the store holds no tokens, or the model, the tokens and the noise do not fit each other.
  PriorStage(const std::string& tokens, const weights::StateDict& model, const PriorStageOptions& options);
  store::StageSpec spec() const;
  std::uint64_t weight_bytes() const { return weight_bytes_; }
  const PriorPlan& plan() const { return plan_; }
  Work work(std::int64_t batch) const;  // of all rows; the device is meta
  void run(store::StageWriter& out, std::int64_t batch, const std::function<void(std::int64_t)>& done);

 private:
  std::int64_t draws_in_row() const { return options_.mean ? options_.draws : 1; }  // draws in a row of the output
  at::Tensor noise(std::int64_t call, std::int64_t first, std::int64_t count) const;  // of draws first.., counted through all samples
  void begin_saved_noise();
  void keep_noise(std::int64_t first, std::int64_t count) const;

  store::Array tokens_;
  PriorStageOptions options_;
  std::vector<std::int32_t> stimulus_;  // of the input's rows
  store::Columns columns_;              // of the output's rows
  std::optional<models::DiffusionPrior> prior_;
  PriorPlan plan_;
  std::optional<TokenMemory> memory_;
  std::optional<store::Array> head_;    // the retrieval head's output, for the recall
  std::optional<store::Array> given_noise_, saved_noise_;
  std::uint64_t weight_bytes_ = 0;
};

}  // namespace me2::diffusion
