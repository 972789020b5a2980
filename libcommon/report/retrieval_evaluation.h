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
// Rows of the brain store that share a stimulus are its repeats: averaged, and scored for one, two, three repeats.
Scores score_retrieval(const std::string& brain, const std::string& images, const RetrievalOptions& options);

// features: .npy [n, F], an RDM [n, n] or several [k, n, n]; rdms: .npy [subjects, n, n] or [subjects, sessions, n, n] (averaged over sessions).
Scores score_rsa(const std::string& features, const std::string& rdms);

}  // namespace me2::report
