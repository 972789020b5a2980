// Subject maps: from one subject's voxels to the shared latent. MindEye2 has one linear layer per subject (MindEye2 paper, section 2.1;
// reference: RidgeRegression in the training notebook). The "ridge" is AdamW's weight decay, not a closed form.
// For comparison there is an MLP map instead: what MindEye1 has between voxels and its residual blocks (Scotti et al. 2023, appendix A.1),
// Linear(voxels, hidden), LayerNorm, GELU, Dropout(.5), and MindEye2's ablation goes back to (section 3.5). The reference has no such map, so
// its names are ours.
#pragma once
#include <string>
#include <vector>

#include "nn/dropout.h"
#include "nn/layers.h"

namespace me2::models {

struct MlpMap {  // 0 (Linear), 1 (LayerNorm), as in a sequence with GELU and dropout at 2 and 3
  nn::Linear linear;
  nn::LayerNorm norm;
  static constexpr double kDropout = .5;

  MlpMap(const nn::Scope& s, std::int64_t voxels, std::int64_t hidden);
  // betas [B, voxels] -> latent [B, hidden]
  at::Tensor operator()(const at::Tensor& betas, const nn::Training* training = nullptr) const;
  // The same with rows that do not know each other (nn/row_linear.h): betas and latent in float, whatever the dtype of the weights.
  at::Tensor rows(const at::Tensor& betas) const;
};

struct Ridge {  // linears.<position in the subject list>, or mlps.<position>
  std::vector<nn::Linear> linears;
  std::vector<MlpMap> mlps;

  // voxels: one count per subject.
  Ridge(const nn::Scope& s, const std::vector<std::int64_t>& voxels, std::int64_t hidden, bool mlp = false);
  static bool detect_mlp(const nn::Scope& s);  // by the names
  static std::vector<std::int64_t> detect_voxels(const nn::Scope& s);
  static std::int64_t detect_hidden(const nn::Scope& s);  // of the first map

  // betas [B, voxels of that subject] -> latent [B, hidden]
  at::Tensor operator()(const at::Tensor& betas, std::size_t subject, const nn::Training* training = nullptr) const {
    return mlps.empty() ? linears.at(subject)(betas) : mlps.at(subject)(betas, training);
  }
};

}  // namespace me2::models
