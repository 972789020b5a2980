// me2-embed encoder: trains a small OpenCLIP model (image and text tower) on a stimulus store with captions, into a model directory.
#pragma once
#include <functional>
#include <string>

#include "base/describe.h"
#include "base/json_fwd.h"
#include "base/work.h"
#include "train/encoder_train.h"
#include "weights/stored.h"

namespace me2::train {

struct EncoderOptions {
  InputPath stimuli;
  OutputPath model;
  InputPath config;
  std::optional<InputPath> vocab;
  std::int64_t steps = 4000, checkpoint_steps = 500;
  weights::Stored stored = weights::Stored::f4;
  double lr = 1.5e-3, weight_decay = 0.05, contrastive = 1, pixels = 3, patches = 1, words = 1;
  void describe(Describe& d) {
    d.positional("STIMULI", stimuli, "stimulus store; reads image, caption, and segmentation and category where it has them");
    d.positional("OUTPUT", model, "model directory to write");
    d.required("--config", config, "JSON with open_clip {embed_dim, vision_cfg, text_cfg}; the vocabulary decides vocab_size");
    d.option("--vocab", vocab, "byte-pair merges; without it the captions' words become the vocabulary");
    d.option("--steps", steps, "optimizer steps");
    d.option("--learning-rate", lr, "peak of the schedule");
    d.option("--weight-decay", weight_decay, "AdamW's, on matrices");
    d.option("--contrastive-scale", contrastive, "weight of CLIP's loss between pictures and captions");
    d.option("--pixel-scale", pixels, "weight of telling each patch's pixels from its token");
    d.option("--patch-scale", patches, "weight of telling each patch's object from its token");
    d.option("--word-scale", words, "weight of telling the caption's words from the pooled embedding");
    d.option("--stored", stored, "floats of the saved model as they are (f4) or in half the space (f2)");
    d.option("--checkpoint-steps", checkpoint_steps, "steps between resume points");
  }
};

Work encoder_work(const EncoderOptions& options, std::int64_t batch);  // of all steps

// The same seed, store and options give the same bytes on one machine, interrupted and resumed or not. `report(step, losses)` is
// called after every step. Returns the curve: one object every 50 steps. Exit::temp_fail after a signal, with a resume point saved.
Json train_encoder(const EncoderOptions& options, std::int64_t batch, std::uint64_t seed, bool resume, const Json& provenance,
                   const std::string& config_digest, const std::function<void(std::int64_t, const EncoderLosses&)>& report);

}  // namespace me2::train
