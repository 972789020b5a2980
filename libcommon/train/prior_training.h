// `me2-prior train`: the diffusion prior alone, on stored backbone tokens (conditions) and image tokens (targets).
// Works in MODEL.partial/ as me2-embed train does and resumes to the same bytes.
#pragma once
#include <optional>
#include <string>

#include "base/describe.h"
#include "base/work.h"
#include "train/trainer.h"

namespace me2::train {

struct PriorTrainOptions {
  InputPath tokens, targets;
  OutputPath model;
  std::optional<ModelPath> pretrained;
  int epochs = 150;
  std::optional<std::int64_t> depth, heads, dim_head;
  double max_lr = 3e-4, weight_decay = 1e-2, condition_drop = .2, clip_gradient = 0, ema = 0;
  Schedule schedule = Schedule::cycle;
  int checkpoint_interval = 5;
  void describe(Describe& d);
  void check() const;  // Exit::usage naming the first option whose value makes no sense
};

Work prior_training_work(const PriorTrainOptions& options, const TrainContext& context);

// Returns the last row of the curves as JSON text. Exit::data when a sample of TOKENS has no target or the shapes differ.
std::string train_prior(const PriorTrainOptions& options, const TrainContext& context);

}  // namespace me2::train
