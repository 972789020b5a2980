// me2-preprocess simulate: rendered scenes and the subjects that saw them, as the stores every tool reads.
#pragma once
#include "ingest/ingest.h"
#include "scenes/subject_simulator.h"

namespace me2::scenes {

struct SimulateOptions {
  OutputPath output;
  int subjects = 8, sessions = 8, trials_per_session = 750, repeats = 2, test_images = 300, validation_images = 100, side = 64;
  double voxel_scale = 1;
  std::int64_t scenes_only = 0;
  void describe(Describe& d) {
    d.positional("OUTPUT", output, "folder to make, with stimuli.zarr and subj01.zarr, subj02.zarr, ...");
    d.option("--subjects", subjects, "how many subjects");
    d.option("--sessions", sessions, "sessions of each");
    d.option("--trials-per-session", trials_per_session, "training trials in a session; shared trials come on top");
    d.option("--repeats", repeats, "showings of each of a subject's own images");
    d.option("--test-images", test_images, "images shown three times to everyone, for testing");
    d.option("--validation-images", validation_images, "further shared images, for choices that must not see the test (split 2)");
    d.option("--voxel-scale", voxel_scale, "times 900, 780, 860, 720, 700, 880, 660, 800 voxels");
    d.option("--side", side, "pixels of the images' sides, a multiple of 16");
    d.option("--scenes-only", scenes_only, "make that many scenes and no subjects (to train image models on)");
  }
};

// The same seed gives the same bytes. Scenes of --scenes-only come from a stream of their own: none of them is seen by a subject.
// Returns counts. Errors: Exit::usage for impossible sizes; those of the stores.
Json simulate(const SimulateOptions& options, const ingest::Context& context);

}  // namespace me2::scenes
