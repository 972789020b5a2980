// Trains a small image tower and text tower together: CLIP's contrastive loss between pictures and captions (Radford et al. 2021),
// and three dense helps for what a contrastive loss on few scenes does not learn (shape): every token must tell its patch's pixels,
// every token its patch's label, and the pooled embedding the words of the caption. The towers are models/open_clip.h as they are; the
// helps' linear heads are training aids, kept in the resume file and not in the model. Used for the tiny models (docs/tiny.md).
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "base/json_fwd.h"
#include "models/open_clip.h"
#include "train/adamw.h"

namespace me2::train {

struct EncoderTrainOptions {
  double lr = 1.5e-3, weight_decay = 0.05;
  std::int64_t steps = 4000, warmup = 100;
  double contrastive = 1, pixels = 3, patches = 1, words = 1;  // weights of the losses
  std::uint64_t seed = 42;
};

// One batch. Everything on the training device.
struct EncoderBatch {
  at::Tensor images;   // f32 [B, 3, S, S] in [0, 1]
  at::Tensor ids;      // i64 [B, L] captions
  at::Tensor patches;  // i64 [B, T] label of each patch, or undefined
  at::Tensor words;    // f32 [B, W] which words the caption holds, or undefined
};

struct EncoderLosses {
  double total = 0, contrastive = 0, pixels = 0, patches = 0, words = 0, batch_top1 = 0;
};

class EncoderTrainer {
 public:
  // config: {"open_clip": {"embed_dim", "vision_cfg", "text_cfg"}} as open_clip's own, plus "clip_squeeze".
  EncoderTrainer(const Json& config, const EncoderTrainOptions& options, std::int64_t patch_labels, std::int64_t words);
  EncoderLosses step(const EncoderBatch& batch);
  std::int64_t done() const { return step_; }
  const models::OpenClipVision& vision() const { return *vision_; }
  const models::OpenClipText& text() const { return *text_; }
  std::map<std::string, at::Tensor> model() const;  // official names: visual.*, the text tower's, logit_scale
  std::map<std::string, at::Tensor> state() const;  // everything needed to go on: parameters, heads, optimizer, step
  void load_state(const weights::StateDict& state);

 private:
  double rate() const;
  EncoderTrainOptions options_;
  bool squeeze_;
  std::int64_t step_ = 0;
  nn::Initialiser source_;
  std::unique_ptr<models::OpenClipVision> vision_;
  std::unique_ptr<models::OpenClipText> text_;
  at::Tensor logit_scale_;
  std::unique_ptr<nn::Linear> pixel_head_, patch_head_, word_head_;
  AdamW optimizer_;
};

}  // namespace me2::train
