// Options of `me2-embed train`. Defaults are those of the reference's training script unless the help says otherwise.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/describe.h"

namespace me2::train {

enum class Schedule { cycle, linear };
enum class SplitChoice { stored, new_test, test };
enum class Repeated { defer, skip, allow };
enum class RidgeStart { fresh, keep };

struct TrainOptions {
  InputPath targets;
  OutputPath model;
  std::vector<InputPath> subjects;
  std::vector<std::string> names;
  std::optional<ModelPath> pretrained;

  int sessions = 0;
  SplitChoice split = SplitChoice::stored;
  int epochs = 150;
  std::int64_t samples_per_epoch = 0;
  Repeated repeated = Repeated::defer;

  std::optional<std::int64_t> hidden, blocks, prior_depth, prior_heads, prior_dim_head;
  double dropout = .15, lowlevel_dropout = .3;
  bool no_prior = false, no_lowlevel = false, no_clip = false, mlp = false;

  double prior_scale = 30, clip_scale = 1, blur_scale = .5, cont_scale = .1, mixup_pct = .33, condition_drop = .2;
  bool corrected_mixco = false, image_aug = false;

  Schedule schedule = Schedule::cycle;
  double max_lr = 3e-4, weight_decay = 1e-2, clip_gradient = 0, ema = 0;
  int accumulate = 1;
  int lora = 0;
  double lora_alpha = 0;
  std::vector<std::string> freeze;
  bool ridge_only = false;
  RidgeStart ridge = RidgeStart::fresh;

  int checkpoint_interval = 5, checkpoint_steps = 0, evaluate_interval = 5, early_stop = 0;
  double holdout = .1;
  int test_images = 300;
  bool half_betas = false;
  std::optional<OutputPath> export_official;
  int nproc = 1;

  void describe(Describe& d);
  void check() const;  // Exit::usage naming the first option whose value makes no sense
};

// Each Exit::usage with the option's name, what it may be and what was given.
void expect_at_least(const char* option, double value, double least);
void expect_above_zero(const char* option, double value);
void expect_share(const char* option, double value);       // 0 to 1
void expect_below_one(const char* option, double value);   // 0 to 1, not 1 itself

}  // namespace me2::train

namespace me2 {
template <>
inline const EnumNames<train::Schedule>& enum_names() {
  static const EnumNames<train::Schedule> n{{train::Schedule::cycle, "cycle"}, {train::Schedule::linear, "linear"}};
  return n;
}
template <>
inline const EnumNames<train::SplitChoice>& enum_names() {
  static const EnumNames<train::SplitChoice> n{
      {train::SplitChoice::stored, "stored"}, {train::SplitChoice::new_test, "new_test"}, {train::SplitChoice::test, "test"}};
  return n;
}
template <>
inline const EnumNames<train::Repeated>& enum_names() {
  static const EnumNames<train::Repeated> n{
      {train::Repeated::defer, "defer"}, {train::Repeated::skip, "skip"}, {train::Repeated::allow, "allow"}};
  return n;
}
template <>
inline const EnumNames<train::RidgeStart>& enum_names() {
  static const EnumNames<train::RidgeStart> n{{train::RidgeStart::fresh, "fresh"}, {train::RidgeStart::keep, "keep"}};
  return n;
}
}  // namespace me2
