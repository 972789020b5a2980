// Of several draws of one sample, the one whose own tokens agree best with the tokens it was decoded from.
#pragma once
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/open_clip.h"
#include "weights/state_dict.h"

namespace me2::diffusion {

class DrawSelector {
 public:
  // An OpenCLIP image tower: a model directory, an open_clip checkpoint, or the unCLIP checkpoint itself, which carries one.
  DrawSelector(const weights::StateDict& encoder, at::ScalarType dtype, at::Device device);
  // pictures [n * draws, 3, H, W] in [0, 1], a sample's draws together; tokens [n, T, D] -> cosine over the whole grid, [n, draws].
  at::Tensor agreement(const at::Tensor& pictures, const at::Tensor& tokens) const;

 private:
  std::shared_ptr<models::OpenClipVision> tower_;
  at::Device device_;
  at::ScalarType dtype_;
  bool squeeze_;
};

}  // namespace me2::diffusion
