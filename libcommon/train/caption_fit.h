// Fitting the caption parts: the CLIP converter on paired tokens (mean squared error), and GIT on captions (teacher forcing:
// cross-entropy of each next word piece). AdamW with one-cycle learning rate; the order of samples depends on (seed, epoch) only.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/clip_converter.h"
#include "models/git_captioner.h"
#include "store/zarr.h"
#include "text/wordpiece.h"

namespace me2::train {

struct CaptionFitOptions {
  std::int64_t epochs = 20, batch = 32;
  double learning_rate = 1e-3, weight_decay = 1e-2;
  std::uint64_t seed = 42;
  std::string checkpoint;  // a folder written after every epoch; empty: none
  bool resume = false;     // go on from it, to the same bytes
  std::function<void(std::int64_t epoch, double loss)> after_epoch;
};

// Rows of a [sample, T, D] array: held in memory up to `limit` bytes as f32, else read as they are asked for.
class TokenRows {
 public:
  explicit TokenRows(store::Array array, std::int64_t limit = std::int64_t{2} << 30);
  at::Tensor get(const std::vector<std::int64_t>& rows) const;  // f32 [rows, T, D]; Exit::data naming a sample that is not finite
  std::int64_t tokens() const { return array_.shape()[1]; }
  std::int64_t width() const { return array_.shape()[2]; }

 private:
  store::Array array_;
  at::Tensor all_;
};

struct Pair {  // rows of the two stores that belong to one stimulus
  std::int64_t source, target;
};

// Each returns the mean loss of every epoch. Parameters are changed in place. A stop signal ends the fit after its epoch was saved (Exit::temp_fail).
std::vector<double> fit_converter(const std::vector<nn::Named>& parameters, const models::ClipConverter& net, const TokenRows& source,
                                  const TokenRows& target, const std::vector<Pair>& pairs, const CaptionFitOptions& options);
// captions[pair.target]: one or more of that stimulus; an epoch draws one of them. `converter` (frozen) may be null.
std::vector<double> fit_git(const std::vector<nn::Named>& parameters, const models::GitCaptioner& net, const models::ClipConverter* converter,
                            const TokenRows& source, const std::vector<std::vector<std::string>>& captions, const text::WordPiece& vocabulary,
                            const std::vector<Pair>& pairs, std::int64_t max_length, const CaptionFitOptions& options);

}  // namespace me2::train
