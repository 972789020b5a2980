// `me2-align fit`: a ridge for a new subject in closed form, from voxels to the shared latents of other subjects for the same images, or
// (`--to tokens`, a baseline without any network) straight to image tokens.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/describe.h"
#include "base/work.h"
#include "train/ridge_fit.h"
#include "train/train_options.h"

namespace me2::train {

enum class FitTo { latent, tokens };

struct FitOptions {
  InputPath subject;
  OutputPath model;
  std::string name;
  std::vector<InputPath> targets;
  std::optional<InputPath> from_tokens;
  std::optional<ModelPath> pretrained;
  FitTo to = FitTo::latent;
  std::vector<double> alphas;
  AlphaBy alpha_by = AlphaBy::leave_one_out;
  int folds = 5;
  bool per_target = false, no_intercept = false, each_trial = false, single = false;
  int sessions = 0;
  SplitChoice split = SplitChoice::stored;
  int map_images = 4000;
  int block = 4096;
  void describe(Describe& d);
};

// Where the target of an image comes from: the mean over the other subjects' latents (first over the trials of one store, then over stores)
// where any saw it; else, with from_tokens, a linear map from image tokens to latents learned (closed-form ridge, leave-one-out alpha) on the
// images that they did see. Images with neither are left out. Training trials only; repeats of an image are averaged unless each_trial,
// so that leave-one-out leaves an image out and not one of its repeats.
// Neither the trials, nor the tokens, nor the weight are held whole: memory is the Gram matrix of the images (f64, four times over while its
// eigenvectors are found) and slabs of 1 GiB.
// Writes a model directory: the pretrained model with this ridge alone in place of its own. Returns what was chosen, as JSON text.
Work fit_work(const FitOptions& options);  // of the ridge of the subject: the map from tokens to latents is not counted
std::string fit_subject(const FitOptions& options, const std::string& provenance);

}  // namespace me2::train

namespace me2 {
template <>
inline const EnumNames<train::FitTo>& enum_names() {
  static const EnumNames<train::FitTo> n{{train::FitTo::latent, "latent"}, {train::FitTo::tokens, "tokens"}};
  return n;
}
template <>
inline const EnumNames<train::AlphaBy>& enum_names() {
  static const EnumNames<train::AlphaBy> n{
      {train::AlphaBy::leave_one_out, "leave-one-out"}, {train::AlphaBy::k_fold, "k-fold"}, {train::AlphaBy::gcv, "gcv"}};
  return n;
}
}  // namespace me2
