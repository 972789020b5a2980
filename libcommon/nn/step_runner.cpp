#include "nn/step_runner.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "base/log.h"

namespace me2::nn {

bool StepRunner::same_form(const std::vector<at::Tensor>& inputs) const {
  if (inputs.size() != given_.size()) return false;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const at::Tensor &a = inputs[i], &b = given_[i];
    if (a.scalar_type() != b.scalar_type() || a.device() != b.device() || a.sizes() != b.sizes() || a.strides() != b.strides()) return false;
  }
  return true;
}

void StepRunner::forget() {
  recording_.reset();
  output_.reset();
  buffers_.clear();
  given_.clear();
}

bool StepRunner::record(const CudaPart& part) {
  for (const auto& t : given_) {
    const bool dense = t.is_non_overlapping_and_dense();  // else one that is expanded, or part of another
    buffers_.push_back(dense ? at::empty_strided(t.sizes(), t.strides(), t.options()) : at::empty(t.sizes(), t.options()));
    buffers_.back().copy_(t);
  }
  try {
    recording_ = part.record(given_.front().device(), [this] { output_ = step_(buffers_); });
    log_debug("a denoising step is recorded and replayed from here on");
    return true;
  } catch (const std::exception& e) {
    cannot_record_ = true;
    forget();
    const std::string reason = e.what();  // LibTorch's goes on with a backtrace
    log_warning("the denoising step cannot be recorded as a CUDA graph, and runs call by call: {}", reason.substr(0, reason.find('\n')));
    return false;
  }
}

at::Tensor StepRunner::operator()(const std::vector<at::Tensor>& inputs) {
  const CudaPart* part = cuda_part();
  if (!part || cannot_record_ || c10::GradMode::is_enabled() || inputs.empty() || inputs.front().is_cpu()) return step_(inputs);
  if (!same_form(inputs)) {  // the first run of a form is plain: a single step is not worth recording
    forget();
    given_ = inputs;
    return step_(inputs);
  }
  if (!recording_) {
    given_ = inputs;
    if (!record(*part)) return step_(inputs);
  } else {
    for (std::size_t i = 0; i < inputs.size(); ++i)
      if (!inputs[i].is_same(given_[i])) buffers_[i].copy_(inputs[i]);
    given_ = inputs;
  }
  recording_->replay();
  return output_.clone();
}

}  // namespace me2::nn
