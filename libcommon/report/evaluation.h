// me2-eval score: reconstructions against ground truth, as MindEye2's final evaluation does it and with what that leaves out.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "report/brain_evaluation.h"
#include "report/features.h"
#include "report/image_set.h"
#include "report/scores.h"

namespace me2::report {

struct NetFiles {  // empty: not given
  std::string alexnet, inception, clip, effnet, swav;
  // Files in a folder, by the start of their name: alexnet*, inception*, clip* or ViT-L-14*, efficientnet*, swav* or resnet50*.
  static NetFiles in_folder(const std::string& folder);
};

struct ScoreOptions {
  std::vector<std::string> metrics;  // empty: all image scores
  NetFiles nets;
  double blend = 0.75;               // weight of the reconstruction when there is a low-level image
  bool antialias = false;            // Fidelity: torchvision 0.16 does not antialias tensors
  std::int64_t batch_size = 16, resamples = 10000;
  std::uint64_t seed = 42;
  int threads = 1;
  bool allow_missing = false, shuffled = true;
  std::vector<std::string> only;     // ids to score; empty: all
  std::map<std::string, std::vector<std::string>> splits;  // name -> test ids
  std::string scene_labels, scorer;  // stimulus store of rendered scenes; CLIP towers (report/scene_evaluation.h)
  BrainOptions brain;                // of brain_corr
  std::shared_ptr<KeptFeatures> truth_features;            // null: not kept
  std::shared_ptr<KeptFeatures> recon_features;            // of the reconstructions as scored, for other_pictures; null: not kept
  std::function<void(std::int64_t)> progress;              // images done, of all passes
};

// The names score takes: pixcorr ssim alexnet2 alexnet5 inception clip effnet swav brain_corr; and brain_corr_REGION.
const std::vector<std::string>& image_score_names();

// low_level may be null. Every picture goes through each network once, also where several rows show it.
Scores score_images(const ImageSet& recon, const ImageSet& truth, const ImageSet* low_level, const ScoreOptions& options);

// Scores `pictures` like reconstructions, of the images in scores.ids only, into scores.baselines[name]: never blended, without controls.
// Exit::data for an image that they lack.
void add_baseline(Scores& scores, const std::string& name, const ImageSet& pictures, const ImageSet& truth, const ScoreOptions& options);

// {"variants": [{"test_ids": [...]}]} as laion_fmri_splits, or {"test_ids": [...]}; "STEM" or "STEM/variant" -> ids.
// File names among the ids lose their extension.
std::map<std::string, std::vector<std::string>> read_split_file(const std::string& path);

}  // namespace me2::report
