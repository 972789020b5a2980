// The tokens of real images as a memory: what the retrieval head finds there, as tokens. The mean of the remembered tokens t weighted by
// softmax(cos(x, t) / temperature), x the retrieval head's output, which the contrastive loss has trained for this very softmax (its
// temperatures were .004 to .0075). Not part of the paper, which retrieves images and reconstructs from the prior's tokens alone: a small
// prior, shortly trained, draws tokens that are of no possible image, and these are near to some.
#pragma once
#include <set>
#include <string>

#include <ATen/core/Tensor.h>

namespace me2::diffusion {

class TokenMemory {
 public:
  // A target store's clip_tokens [sample, T, D], without the stimuli of `except`, kept in memory as f32. Exit::data when the shapes differ
  // from `tokens` x `width` or nothing is left.
  TokenMemory(const std::string& path, std::int64_t tokens, std::int64_t width, const std::set<std::int32_t>& except, double temperature);
  at::Tensor recall(const at::Tensor& x) const;  // f32 [n, T, D] -> the same; a row does not depend on the others
  std::int64_t size() const { return rows_.size(0); }

 private:
  at::Tensor rows_, norms_;  // [N, T D]; |t| [N]
  double temperature_ = 1;
};

}  // namespace me2::diffusion
