// A computation that is run again and again on tensors of the same shapes, as a denoising network is. With a CUDA part (nn/cuda_part.h)
// it is recorded as a CUDA graph at the second run and replayed from then on: one launch in place of thousands. Elsewhere, and while
// gradients are wanted, each run is a plain call.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "nn/cuda_part.h"

namespace me2::nn {

class StepRunner {  // not for several threads at once
 public:
  using Step = std::function<at::Tensor(const std::vector<at::Tensor>& inputs)>;
  // `step` must not look at values (no item(), no copy to the host) and must depend on its inputs and constant weights alone.
  explicit StepRunner(Step step) : step_(std::move(step)) {}
  StepRunner(const StepRunner&) = delete;
  StepRunner& operator=(const StepRunner&) = delete;

  // Inputs are copied where the recording reads them; a tensor given again (the same one, not changed in place) is not copied again.
  // The result is the caller's. Other shapes, types or strides than before: recorded anew.
  at::Tensor operator()(const std::vector<at::Tensor>& inputs);
  bool recorded() const { return recording_ != nullptr; }

 private:
  bool same_form(const std::vector<at::Tensor>& inputs) const;
  void forget();
  bool record(const CudaPart& part);

  Step step_;
  std::vector<at::Tensor> given_;   // the last run's inputs, kept so that a tensor's address names one content
  std::vector<at::Tensor> buffers_; // what the recording reads
  at::Tensor output_;               // what it writes
  std::unique_ptr<Recording> recording_;
  bool cannot_record_ = false;
};

}  // namespace me2::nn
