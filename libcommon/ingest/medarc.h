// The MindEye2 data release: betas_all_subjNN_fp32_renorm.hdf5, wds/subjNN/{train,test,new_test}/*.tar, and when they are there
// COCO_73k_subj_indices.hdf5, shared1000.npy, brain_region_masks.hdf5, coco_images_224_float16.hdf5.
// Ref: MindEye2 src/Train.ipynb and recon_inference.ipynb (which trials are train and test).
#pragma once
#include "ingest/ingest.h"

namespace me2::ingest {

enum class MedarcSplit { new_test, test };

struct MedarcOptions {
  std::string release;  // not an InputPath: those are hashed whole, and releases hold terabytes of other things
  OutputPath output;
  int subject = 1;
  MedarcSplit split = MedarcSplit::new_test;
  int sessions = 0;
  NanRule nan = NanRule::error;
  std::optional<OutputPath> stimuli;
  void describe(Describe& d) {
    d.positional("RELEASE_DIR", release, "folder of the MindEye2 release: betas_all_subj*.hdf5 and wds/");
    d.positional("OUTPUT", output, "subject store to write");
    d.required("--subject", subject, "subject number, 1 to 8");
    d.option("--split", split, "test set: new_test (3,000 trials) or the older, smaller test");
    d.option("--sessions", sessions, "train on the first N sessions; 0 takes all. The test set always comes from all sessions");
    d.option("--nan", nan, "NaN betas: end with an error, or drop what holds them");
    d.option("--stimuli", stimuli, "also write the stimulus store of all images, from coco_images_224_float16.hdf5");
  }
};

// Rows are, in ascending global trial: the training trials of the first N sessions, the test trials of all sessions, and the trials of
// those N sessions that are in neither (split -1, with --split test only). Betas are copied bit for bit. Returns what was counted.
Json import_medarc(const MedarcOptions& options, const Context& context);

}  // namespace me2::ingest

template <>
inline const me2::EnumNames<me2::ingest::MedarcSplit>& me2::enum_names() {
  static const EnumNames<ingest::MedarcSplit> names{{ingest::MedarcSplit::new_test, "new_test"}, {ingest::MedarcSplit::test, "test"}};
  return names;
}
