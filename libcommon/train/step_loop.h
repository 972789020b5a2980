// The loop that the decoder's parts are trained in: AdamW, warm-up and cosine, averaged weights, gradients clipped, stopped by a
// signal between steps and resumed to the same weights. What a step draws is a function of (seed, step), so no generator is stored.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "nn/scope.h"
#include "train/adamw.h"

namespace me2::train {

struct StepLoopSettings {
  std::int64_t steps = 1000, warmup = 0, save_every = 1000;
  double lr = 1e-5, weight_decay = 0.01, beta1 = 0.9, beta2 = 0.999, clip = 1.0;  // clip: of the gradient's norm; 0: none
  bool cosine = false;     // to zero over the steps after the warm-up; else constant
  double average = 0.999;  // decay of the averaged weights, warmed up as min(decay, (1 + n) / (10 + n)); 0: none
  std::string folder;      // OUT.partial: state of a run that is not finished
  std::string digest;      // of everything that decides the weights; a state of another is refused
  bool resume = false;
};

class StepLoop {
 public:
  StepLoop(const std::vector<nn::Named>& made, StepLoopSettings settings);  // resumes: loads the state into the parameters
  // loss(step) builds the graph and returns a scalar. Throws Exit::temp_fail after saving when a signal came, Exit::data when the
  // loss is not finite. -> the loss of each step, of this run and those it resumed.
  const std::vector<double>& run(const std::string& label, const std::function<at::Tensor(std::int64_t step)>& loss);
  std::map<std::string, at::Tensor> weights() const;  // averaged when averaging, else as trained; detached
  double rate(std::int64_t step) const;
  void discard_state() const;  // after the model was saved

 private:
  void save(std::int64_t step) const;
  void load();
  StepLoopSettings settings_;
  std::vector<nn::Named> made_;
  AdamW adamw_;
  std::map<std::string, at::Tensor> average_;
  std::int64_t first_ = 0;
  std::vector<double> curve_;
};

// Rows of a batch: every epoch is a permutation of 0..rows-1 that depends on (seed, epoch); batches run on across epochs.
std::vector<std::int64_t> batch_rows(std::uint64_t seed, std::int64_t rows, std::int64_t batch, std::int64_t step);

}  // namespace me2::train
