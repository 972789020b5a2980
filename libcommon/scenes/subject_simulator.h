// Simulated NSD-like subjects that saw rendered scenes.
//
// A voxel's response to an image mixes retinotopic low-level features (colour and oriented energy inside its receptive field)
// and semantic features with the subject's own tuning; a trial adds correlated and independent noise and a session offset:
//   z    = m a + sqrt(1 - m^2) b, half-rectified softly and z-scored over images
//   beta = sqrt(rho) z + sqrt(1 - rho) (.45 L g + sqrt(1 - .45^2) e) + .1 d_session
// rho ~ Beta(1.3, 3.6), clipped to [.01, .8], is a voxel's expected single-trial test-retest correlation, so noise ceilings
// spread as NSD's do. The constants and what they give are in docs/simulation.md.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "scenes/scene.h"

namespace me2::scenes {

struct SimulationOptions {
  std::uint64_t seed = 42;
  int subjects = 8;
  int sessions = 8;
  int trials_per_session = 750;  // training trials; the shared test and validation trials are spread over the sessions beside them
  int repeats = 2;               // of a subject's own images
  int test_images = 300, validation_images = 100, shared_repeats = 3;
  double voxel_scale = 1;        // times 900, 780, 860, 720, 700, 880, 660, 800
  int side = 64;                 // pixels

  std::int64_t own_images() const { return (static_cast<std::int64_t>(sessions) * trials_per_session + repeats - 1) / repeats; }
  std::int64_t images() const { return test_images + validation_images + subjects * own_images(); }
  int voxels(int subject) const;  // subject from 1
};

// Rows of the stimulus store: the shared test images, the shared validation images, then each subject's own, subject by subject.
struct Trial {
  std::int32_t stimulus;
  std::int16_t session, run, repeat;  // from 1
  std::int8_t split;                  // 0 train, 1 test, 2 validation
};

// What one image says to the simulated cortex.
struct ImageFeatures {
  std::vector<float> maps;   // [11, 16, 16]: luminance, two opponent colours, oriented energy (4 orientations x 2 scales)
  std::vector<float> axes;   // [24] semantic
};
ImageFeatures image_features(const Scene& scene, const Picture& picture, int side, std::uint64_t seed);

class SubjectSimulator {
 public:
  SubjectSimulator(const SimulationOptions& options, int subject);
  const std::vector<Trial>& trials() const { return trials_; }
  int voxels() const { return voxels_; }
  std::vector<std::int64_t> images() const;  // stimulus rows this subject saw, ascending: the order `add_image` expects
  // Call for every row of images() once, in that order; then finish().
  void add_image(const ImageFeatures& features);
  void finish();
  void betas(std::int64_t first_trial, std::int64_t count, float* out) const;  // [count, voxels], before any z-scoring by the reader
  const std::vector<double>& reliability() const { return rho_; }                // rho of each voxel
  std::vector<std::uint8_t> roi(const std::string& name) const;                  // nsdgeneral V1 V2 V3 V4 higher_vis
  std::vector<std::int32_t> voxel_ijk() const;                                   // [voxels, 3]

 private:
  struct Tuning;
  SimulationOptions options_;
  int subject_, voxels_;
  std::vector<Trial> trials_;
  std::vector<std::int64_t> image_rows_;
  std::vector<double> rho_;
  std::vector<Tuning> tuning_;
  std::vector<float> low_, high_, response_;  // [image, voxel]
  std::vector<float> sources_;                // L [voxel, 10], unit columns

 public:
  ~SubjectSimulator();
};

}  // namespace me2::scenes
