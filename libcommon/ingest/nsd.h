// The raw NSD release: nsddata/, nsddata_betas/ as downloaded. Ref: MindEye2 src/dataset_creation.ipynb.
#pragma once
#include "ingest/ingest.h"

namespace me2::ingest {

enum class NsdVariant { release, notebook };
enum class NsdSource { automatic, hdf5, nifti };

struct NsdOptions {
  std::string root;  // not an InputPath: those are hashed whole, and releases hold terabytes of other things
  OutputPath output;
  int subject = 1;
  NsdVariant variant = NsdVariant::release;
  NsdSource source = NsdSource::automatic;
  int sessions = 0;
  std::vector<int> statistics_sessions;
  std::optional<double> ncsnr;
  std::optional<InputPath> mask;
  std::vector<std::string> roi;
  std::string betas_name;
  NanRule nan = NanRule::error;
  std::optional<InputPath> compare;
  void describe(Describe& d) {
    d.positional("NSD_DIR", root, "folder that holds nsddata/ and nsddata_betas/ (or holds nsd/ with them)");
    d.positional("OUTPUT", output, "subject store to write");
    d.required("--subject", subject, "subject number, 1 to 8");
    d.option("--variant", variant,
             "release: voxels of nsdgeneral, per session the mean and deviation of the non-shared trials, float32 (what the released betas follow); notebook: "
             "noise ceiling >= 0.15 as well, statistics of all trials, rounded to float16 (what the creation notebook does)");
    d.option("--source", source, "session betas as HDF5 or NIfTI");
    d.option("--sessions", sessions, "first N sessions; 0 takes all");
    d.option("--statistics-sessions", statistics_sessions, "take mean and deviation from these sessions together, instead of from each session for itself");
    d.option("--ncsnr", ncsnr, "keep voxels with a noise-ceiling SNR of at least this");
    d.option("--mask", mask, "another mask than nsdgeneral.nii.gz: voxels with positive values");
    d.option("--roi", roi, "NAME=FILE.nii.gz: a region to store under roi/NAME (positive values)");
    d.option("--betas", betas_name, "folder of the session betas, such as betas_fithrf_GLMdenoise_RR (default: that one, else betas_fithrf)");
    d.option("--nan", nan, "NaN betas: end with an error, or drop what holds them");
    d.option("--compare", compare, "released betas (HDF5, dataset betas) to print the largest difference to");
  }
};

// All arithmetic in float64, population deviation, deviation 0 -> divide by 1. beta_mean and beta_sd are [session, voxel] in stored
// units (percent signal change x 300), or [voxel] with --statistics-sessions. Returns what was counted.
Json import_nsd(const NsdOptions& options, const Context& context);

}  // namespace me2::ingest

template <>
inline const me2::EnumNames<me2::ingest::NsdVariant>& me2::enum_names() {
  static const EnumNames<ingest::NsdVariant> names{{ingest::NsdVariant::release, "release"}, {ingest::NsdVariant::notebook, "notebook"}};
  return names;
}
template <>
inline const me2::EnumNames<me2::ingest::NsdSource>& me2::enum_names() {
  static const EnumNames<ingest::NsdSource> names{
      {ingest::NsdSource::automatic, "auto"}, {ingest::NsdSource::hdf5, "hdf5"}, {ingest::NsdSource::nifti, "nifti"}};
  return names;
}
