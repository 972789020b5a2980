// Subject ridges: one linear layer per subject from its voxels to the shared latent (MindEye2 paper, section 2.1;
// reference: RidgeRegression in the training notebook). The "ridge" is AdamW's weight decay, not a closed form.
#pragma once
#include <vector>

#include "nn/layers.h"

namespace me2::models {

struct Ridge {  // linears.<position in the subject list>
  std::vector<nn::Linear> linears;

  // voxels: one count per subject.
  Ridge(const nn::Scope& s, const std::vector<std::int64_t>& voxels, std::int64_t hidden);
  static std::vector<std::int64_t> detect_voxels(const nn::Scope& s);

  // betas [B, voxels of that subject] -> latent [B, hidden]
  at::Tensor operator()(const at::Tensor& betas, std::size_t subject) const { return linears.at(subject)(betas); }
};

}  // namespace me2::models
