// A lab's own subject: betas, or a BOLD series with events, to a subject store. docs/your-own-subject.md walks through it.
#pragma once
#include "ingest/ingest.h"

namespace me2::ingest {

enum class Estimate { lss, block };
enum class Standardise { none, run, rest };
enum class Normalise { train, session, none };

struct CustomOptions {
  OutputPath output;
  std::string name = "subject";
  std::vector<std::string> betas, bold;  // not InputPath: FILE:dataset is allowed
  std::vector<InputPath> events;
  std::optional<InputPath> mask;
  std::vector<std::string> roi;
  // events
  std::string stimulus_column;
  std::vector<std::string> ignore;
  std::optional<InputPath> images;
  std::optional<InputPath> stimuli;
  // from BOLD to betas
  Estimate estimate = Estimate::lss;
  std::optional<double> tr;
  int drift = 3;
  int detrend = 1;
  double shift = 5;
  Standardise standardise = Standardise::none;
  // from betas to the store
  bool zscore_runs = false;
  Normalise normalise = Normalise::train;
  std::string split;
  bool shared_images = false;
  std::optional<double> reliability;
  int top_voxels = 0;
  NanRule nan = NanRule::error;
  void describe(Describe& d) {
    d.positional("OUTPUT", output, "subject store to write");
    d.option("--name", name, "name of the subject, kept in the store");
    d.option("--betas", betas, "single-trial betas, one file per run or session, in the order of --events: NIfTI [X,Y,Z,trial], .npy or HDF5 (FILE:dataset) or Zarr (STORE:array) [trial, ...voxels]");
    d.option("--bold", bold, "BOLD series instead of betas, one file per run: NIfTI [X,Y,Z,time], or .npy, HDF5, Zarr [time, ...voxels]");
    d.option("--events", events, "BIDS events.tsv (or CSV), one per --betas or --bold file, or a single one for all betas: onset, duration, and a stimulus column; session and run are read when there");
    d.option("--mask", mask, "voxels to keep: NIfTI (positive) or .npy (non-zero)");
    d.option("--roi", roi, "NAME=FILE: a region to store under roi/NAME, in the space of the mask");
    d.option("--stimulus-column", stimulus_column, "events column naming the image (default: the first of stim_file, stimulus, image, trial_type that is there)");
    d.option("--ignore", ignore, "stimulus names that are no trials, such as rest,fixation");
    d.option("--images", images, "folder of the images: a trial's stimulus is the row that `me2-preprocess stimuli` gives its file");
    d.option("--stimuli", stimuli, "stimulus store instead of the folder: matched by its array `name`");
    d.option("--estimate", estimate, "from BOLD to one beta per event: lss (least squares - separate with a canonical HRF) or block (mean of the shifted block)");
    d.option("--tr", tr, "seconds per volume (default: from the NIfTI header)");
    d.option("--drift", drift, "lss: order of the drift polynomial of each run");
    d.option("--detrend", detrend, "block: order of the polynomial removed from each run first; -1 none");
    d.option("--shift", shift, "block: seconds from an event to its response");
    d.option("--standardise", standardise, "BOLD of each run to mean 0, deviation 1 first: over the run, or over its volumes outside of all events (rest)");
    d.option("--zscore-runs", zscore_runs, "z-score betas within each run before anything else");
    d.option("--normalise", normalise, "final z-score per voxel: by all training trials, by each session's training trials, or none");
    d.option("--split", split, "test trials: run:11,12 | session:2 | share:0.1 (of the images, drawn by --seed) | file:PATH (one stimulus name per line) | column:NAME (events column holding test)");
    d.option("--shared-images", shared_images, "allow test images that are also training images (categories, decoding across runs)");
    d.option("--reliability", reliability, "keep voxels whose split-half correlation over repeated training images is at least this");
    d.option("--top-voxels", top_voxels, "keep this many of the most reliable voxels");
    d.option("--nan", nan, "NaN betas: end with an error, or drop what holds them");
  }
};

Json import_custom(const CustomOptions& options, const Context& context);

}  // namespace me2::ingest

template <>
inline const me2::EnumNames<me2::ingest::Estimate>& me2::enum_names() {
  static const EnumNames<ingest::Estimate> names{{ingest::Estimate::lss, "lss"}, {ingest::Estimate::block, "block"}};
  return names;
}
template <>
inline const me2::EnumNames<me2::ingest::Standardise>& me2::enum_names() {
  static const EnumNames<ingest::Standardise> names{{ingest::Standardise::none, "none"}, {ingest::Standardise::run, "run"}, {ingest::Standardise::rest, "rest"}};
  return names;
}
template <>
inline const me2::EnumNames<me2::ingest::Normalise>& me2::enum_names() {
  static const EnumNames<ingest::Normalise> names{{ingest::Normalise::train, "train"}, {ingest::Normalise::session, "session"}, {ingest::Normalise::none, "none"}};
  return names;
}
