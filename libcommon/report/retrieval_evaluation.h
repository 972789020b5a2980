// me2-eval retrieval and rsa: brain embeddings against image embeddings, features against measured brains.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "report/scores.h"

namespace me2::report {

struct RetrievalOptions {
  std::string brain_array, image_array;  // empty: the first of clip, clip_tokens, clip_pooled, tokens that is there
  std::int64_t ways = 300, draws = 30, resamples = 10000, csls = 10;
  std::uint64_t seed = 42;
  int threads = 1;
  bool allow_missing = false;
  std::string train_tokens;  // embeddings of training images, as images: baseline nearest_train; empty: none
  std::string draws_file;  // .npy [draws, ways]: which images of the joined pool each draw takes
};
// image_retrieval and brain_retrieval (n-way top-1 over draws, interval over draws as the reference), full-pool ranks, CSLS.
// Baselines: shuffled (another image's prediction), mean_brain, nearest_train.
// Rows of the brain store that share a stimulus are its repeats: averaged, and scored for one, two, three repeats (NAME_1_repeat, ...;
// details.repeats says how many an image had at most). Where every image has two or more, the noise ceiling of the repeats is given:
// - details of image_retrieval, also with fewer repeats: `repeat_correlation` r, the mean Pearson correlation of two repeats' embeddings (split half);
//   `reliability` k r / (1 + (k - 1) r) of a mean of k (Spearman 1910, Brown 1910); `noise_ceiling`, its square root: the highest correlation
//   that these embeddings can have with anything that does not share their noise (Schoppe et al. 2016); `correlation`: what they have with the images'.
// - repeat_retrieval: every second repeat finds the mean of the others of the same image among those of `ways` images (both directions, same
//   draws): identification with the brain's own second measurement in place of an image embedding.
Scores score_retrieval(const std::string& brain, const std::string& images, const RetrievalOptions& options);

// features: .npy [n, F], an RDM [n, n] or several [k, n, n]; rdms: .npy [subjects, n, n] or [subjects, sessions, n, n] (averaged over sessions).
Scores score_rsa(const std::string& features, const std::string& rdms);

}  // namespace me2::report
