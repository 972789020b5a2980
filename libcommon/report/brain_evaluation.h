// brain_corr_REGION: how well GNet's responses to the reconstructions agree with the measured ones, voxels of a region at a time.
// Ref: MindEye2 final_evaluations (brain correlation).
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "metrics/bootstrap.h"
#include "report/features.h"
#include "report/scores.h"

namespace me2::report {

struct BrainOptions {
  std::string gnet;      // gnet_multisubject.pt as published, or a model directory with one readout
  std::string betas;     // subject store with a row per trial; its voxels are the readout's, in the same order
  std::string regions;   // brain_region_masks.hdf5 (subjNN/REGION, bool [voxel]); empty: roi/NAME of the subject store
  int subject = 0;       // whose readout; 0: the number in the store's `subject`, or the only readout
};

struct BrainRun {
  std::function<bool(const std::string&)> wants;
  std::vector<std::string> asked;  // by name; one that is no region is an error
  std::function<at::Tensor(const Network& gnet)> embed;  // what it says of the reconstructions as scored, f32 [n, voxels] in the order of scores.ids
  metrics::BootstrapOptions bootstrap;
  std::map<std::string, std::vector<std::string>> splits;
};

// Adds brain_corr_REGION for each region wanted ("brain_corr": all; nsd_general: all voxels where no region has that name); where every
// image has two trials or more, details hold the noise ceiling of the mean measured pattern. Without gnet or betas: listed as not run.
// Exit::data for an image without trials, other voxel counts, a region that is not there.
void add_brain_scores(Scores& scores, const BrainOptions& options, const BrainRun& run);

}  // namespace me2::report
