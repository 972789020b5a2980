// What scores are worth: pictures that show how far one gets without the brain, scored beside the reconstructions (evaluation.h).
// The field's usual controls: mean prediction, another image's reconstruction, the training image nearest to what was decoded.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "report/embeddings.h"
#include "report/image_set.h"

namespace me2::report {

// For each position another one: a cyclic shift of a shuffled order.
std::vector<std::int64_t> derangement(std::int64_t n, std::uint64_t seed);

// Per predicted row, the row of `train` whose embedding has the largest cosine with it. Training rows named as one of `scored` do not
// count, and their number is told. Exit::data when none is left.
std::vector<std::int64_t> nearest_rows(const metrics::Rows& predicted, const Embeddings& train, const std::vector<std::string>& scored, std::int64_t* left_out = nullptr);

struct Reconstructions {  // what was scored
  const ImageSet& recon;
  const ImageSet& truth;
  const ImageSet* low_level;     // blended in where not null
  double blend;
  bool antialias;
  std::vector<std::string> ids;  // Scores::ids
};
std::string scored_set(const ImageSet& recon, const ImageSet* low_level);  // a name of these reconstructions as scored (KeptFeatures::set)
ImageSet mean_picture(const Reconstructions& of);                         // their mean, for every image; at the scoring size
ImageSet other_pictures(const Reconstructions& of, std::uint64_t seed);   // for every image the reconstruction of another one, embedded with those

// For every id the training image whose tokens are nearest to the predicted ones. predicted, train_tokens: as open_embeddings; predicted rows
// without names are in the order of ids. Training images are found by the ids of the token rows, by position when those have no names.
ImageSet nearest_pictures(const std::vector<std::string>& ids, const std::string& predicted, const std::string& train_tokens, const std::string& train_images,
                          const std::string& image_array);

}  // namespace me2::report
