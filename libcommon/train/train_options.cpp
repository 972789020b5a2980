#include "train/train_options.h"

#include "base/error.h"

namespace me2::train {

void TrainOptions::describe(Describe& d) {
  d.positional("TARGETS", targets, "target store: clip_tokens [sample, T, D]; optional vae_latent, cnx_feature, cnx_feature_aug and variants *_augmented [sample, K, ...]");
  d.positional("MODEL", model, "model directory to write; grows in MODEL.partial");
  d.required("--subjects", subjects, "subject stores, in the order of the ridges; several: the same number of samples of each in every batch");
  d.option("--names", names, "names of the subjects (default: the stores' `subject` attribute, else their file names)");
  d.option("--pretrained", pretrained, "start from this model: backbone, heads and prior are taken over, the ridge starts fresh");
  d.option("--ridge", ridge, "with --pretrained: a fresh ridge (as the reference: its bias is that of the model's first subject), or keep that of the same subject name");
  d.option("--sessions", sessions, "first N sessions of each subject; 0: all");
  d.option("--split", split, "which test split: as stored, or the arrays split_new_test / split_test when the store has them");
  d.option("--epochs", epochs, "number of epochs");
  d.option("--samples-per-epoch", samples_per_epoch, "samples of all subjects together per epoch; 0: trials in the sessions (one subject), those of the largest (several)");
  d.option("--repeated-images", repeated, "a trial whose image is in the batch already: defer it to a later batch, skip that batch (as the reference), or allow it");
  d.option("--hidden", hidden, "width of the shared latent (default 1024, or the pretrained model's)");
  d.option("--blocks", blocks, "mixer blocks (default 4)");
  d.option("--prior-depth", prior_depth, "layers of the prior (default 6)");
  d.option("--prior-heads", prior_heads, "attention heads of the prior (default: width / dim-head)");
  d.option("--prior-dim-head", prior_dim_head, "width of a head (default 52, or the largest divisor of the width up to 52)");
  d.option("--dropout", dropout, "dropout of the mixer blocks");
  d.option("--lowlevel-dropout", lowlevel_dropout, "dropout of the low-level head");
  d.option("--no-prior", no_prior, "leave the diffusion prior out");
  d.option("--no-lowlevel", no_lowlevel, "leave the low-level head out");
  d.option("--no-clip", no_clip, "leave the contrastive (retrieval) head out");
  d.option("--mlp-map", mlp, "an MLP map for each subject instead of the ridge: linear, layer norm, GELU, dropout .5 (MindEye1's; the paper finds it worse)");
  d.option("--prior-scale", prior_scale, "weight of the prior's loss");
  d.option("--clip-scale", clip_scale, "weight of the contrastive loss");
  d.option("--blur-scale", blur_scale, "weight of the low-level loss");
  d.option("--cont-scale", cont_scale, "weight of the ConvNeXt term inside the low-level loss");
  d.option("--mixup-pct", mixup_pct, "share of the epochs with BiMixCo before SoftCLIP");
  d.option("--condition-drop", condition_drop, "probability of dropping the prior's brain and image tokens");
  d.option("--corrected-mixco", corrected_mixco, "MixCo indices with the subject's row offset and without lost weight (the reference has neither)");
  d.option("--image-aug", image_aug, "targets of colour-jittered pictures for three samples in ten, drawn per sample and step from the variants that me2-embed images --augmented wrote");
  d.option("--schedule", schedule, "learning rate over the steps");
  d.option("--max-lr", max_lr, "largest learning rate");
  d.option("--weight-decay", weight_decay, "AdamW's decoupled decay");
  d.option("--clip-gradient", clip_gradient, "clip the gradient's norm to this; 0: never, as the reference");
  d.option("--ema", ema, "decay of an exponential moving average of the weights, which is then what is saved; 0: none");
  d.option("--accumulate", accumulate, "batches whose gradients are averaged for one step");
  d.option("--lora", lora, "rank of low-rank updates to the frozen matrices of backbone and prior; merged when saved; 0: none");
  d.option("--lora-alpha", lora_alpha, "scale of the low-rank updates is alpha / rank; 0: alpha = rank");
  d.option("--freeze", freeze, "do not train parameters whose names start with these");
  d.option("--ridge-only", ridge_only, "train the ridge alone");
  d.option("--checkpoint-interval", checkpoint_interval, "epochs between checkpoints");
  d.option("--checkpoint-steps", checkpoint_steps, "steps between checkpoints as well; 0: none");
  d.option("--evaluate-interval", evaluate_interval, "epochs between retrieval tests on the first subject's test images; 0: at the end only");
  d.option("--early-stop", early_stop, "stop after this many epochs without a better loss on the held-out training images, and keep the best; 0: never");
  d.option("--holdout", holdout, "share of the training images held out for --early-stop");
  d.option("--test-images", test_images, "test images used by the retrieval test");
  d.option("--half-betas", half_betas, "keep betas in memory as float16, as the reference does");
  d.option("--nproc", nproc, "processes on this machine that share each batch, and --threads, with the result of one up to rounding; torchrun and srun start them otherwise");
  d.option("--export-official", export_official, "also write the weights as the reference's last.pth");
}

void expect_at_least(const char* option, double value, double least) {
  if (!(value >= least)) throw usage_error("{}: at least {} expected, {} given", option, least, value);
}
void expect_above_zero(const char* option, double value) {
  if (!(value > 0)) throw usage_error("{}: more than 0 expected, {} given", option, value);
}
void expect_share(const char* option, double value) {
  if (!(value >= 0 && value <= 1)) throw usage_error("{}: 0 to 1 expected, {} given", option, value);
}
void expect_below_one(const char* option, double value) {
  if (!(value >= 0 && value < 1)) throw usage_error("{}: 0 or more and below 1 expected, {} given", option, value);
}

void TrainOptions::check() const {
  if (subjects.empty()) throw usage_error("--subjects: at least one subject store expected");
  if (!names.empty() && names.size() != subjects.size()) throw usage_error("--names: {} names for {} subjects", names.size(), subjects.size());
  const auto size = [](const char* option, const std::optional<std::int64_t>& value) { expect_at_least(option, static_cast<double>(value.value_or(1)), 1); };
  size("--hidden", hidden), size("--blocks", blocks), size("--prior-depth", prior_depth), size("--prior-heads", prior_heads), size("--prior-dim-head", prior_dim_head);
  expect_at_least("--epochs", epochs, 1), expect_at_least("--accumulate", accumulate, 1), expect_at_least("--checkpoint-interval", checkpoint_interval, 1);
  expect_at_least("--test-images", test_images, 1);
  expect_at_least("--sessions", sessions, 0), expect_at_least("--samples-per-epoch", static_cast<double>(samples_per_epoch), 0);
  expect_at_least("--checkpoint-steps", checkpoint_steps, 0), expect_at_least("--evaluate-interval", evaluate_interval, 0), expect_at_least("--early-stop", early_stop, 0);
  expect_at_least("--prior-scale", prior_scale, 0), expect_at_least("--clip-scale", clip_scale, 0), expect_at_least("--blur-scale", blur_scale, 0), expect_at_least("--cont-scale", cont_scale, 0);
  expect_at_least("--weight-decay", weight_decay, 0), expect_at_least("--clip-gradient", clip_gradient, 0), expect_at_least("--lora", lora, 0), expect_at_least("--lora-alpha", lora_alpha, 0);
  expect_above_zero("--max-lr", max_lr);
  expect_share("--mixup-pct", mixup_pct), expect_share("--condition-drop", condition_drop), expect_share("--holdout", holdout);
  expect_below_one("--dropout", dropout), expect_below_one("--lowlevel-dropout", lowlevel_dropout), expect_below_one("--ema", ema);
  if (ema > 0 && lora > 0) throw usage_error("--ema and --lora cannot be combined");
  if (ridge == RidgeStart::keep && !pretrained) throw usage_error("--ridge keep: there is no --pretrained model to keep it from");
  if (mlp && export_official) throw usage_error("--export-official: the reference has no MLP subject map (--mlp-map)");
}

}  // namespace me2::train
