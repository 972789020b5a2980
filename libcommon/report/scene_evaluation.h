// Scores on what is known of rendered scenes (me2-preprocess simulate): does a caption name the right object, colour and background;
// does a CLIP model of the same scenes see them in a reconstruction, and find its image.
//   caption_category, caption_colour, caption_background   share of captions that name it (scenes/labels.h says when)
//   recon_category, recon_colour, recon_background         share of reconstructions that the towers name rightly: nearest, in their
//                                                          embedding, of the captions of all category x colour x background scenes
//   tower_retrieval, tower_two_way                         its own image is the nearest of all images; nearer than another one
// details: chance (1 / labels), chance_shuffled (the predictions as they are, dealt out to other scenes), and for recon_* true_images (the
// towers' answers on the images themselves: what can be reached) and same_as_true_image.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "report/features.h"
#include "report/scores.h"
#include "scenes/labels.h"

namespace me2::report {

class SceneLabels {  // of a stimulus store, by stimulus id or name
 public:
  // Exit::data for a store without category, colour and background, or whose label names are not those of scenes/scene.h.
  static SceneLabels read(const std::string& path);
  const scenes::Labels& of(const std::string& id) const;  // Exit::data naming an id that the store does not hold

 private:
  std::string path_;
  std::map<std::string, scenes::Labels> labels_;
};

const std::vector<std::string>& scene_caption_score_names();
const std::vector<std::string>& scene_image_score_names();

struct SceneOptions {
  std::function<bool(const std::string&)> wants;
  std::int64_t resamples = 10000;
  std::uint64_t seed = 42;
  int threads = 1;
  std::map<std::string, std::vector<std::string>> splits;
};

// Adds the caption scores; `ids` are scores.ids, captions[i] the caption of ids[i].
void add_scene_caption_scores(Scores& scores, const std::vector<std::string>& captions, const SceneLabels& labels, const SceneOptions& options);

// Adds the image scores. `embed(truth, tower)`: what the tower says of the true images, or of the reconstructions, f32 [n, E] in the order of
// scores.ids. `scorer` empty: they are listed as not run.
using EmbedPictures = std::function<at::Tensor(bool truth, const Network& tower)>;
void add_scene_image_scores(Scores& scores, const EmbedPictures& embed, const SceneLabels& labels, const std::string& scorer, const SceneOptions& options);

}  // namespace me2::report
