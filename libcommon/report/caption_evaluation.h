// me2-eval score --captions: captions against references, joined by id.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "report/scores.h"

namespace me2::report {

struct CaptionOptions {
  std::vector<std::string> metrics;  // empty: all
  std::string wordnet;               // folder; empty: the default
  std::string sentence;              // folder of the sentence encoder (all-MiniLM-L6-v2) with its vocabulary; empty: not run
  std::string clip_b, clip_l;        // OpenAI CLIP ViT-B/32 and ViT-L/14 (open_clip names; text tower); empty: not run
  std::string clip_vocabulary;       // bpe_simple_vocab_16e6.txt[.gz] or merges.txt; empty: beside the weights
  std::string scene_labels;          // stimulus store of rendered scenes; empty: no caption_category, ...
  bool coco_rouge = true;            // rouge_l: the leaderboards' (beta 1.2 over all references); false: rouge_score's F1
  bool allow_missing = false;
  std::int64_t resamples = 10000;
  std::uint64_t seed = 42;
  int threads = 1;
};

const std::vector<std::string>& caption_score_names();  // meteor rouge1 rouge_l bleu1..bleu4 cider sentence clip_b clip_l

using Captions = std::map<std::string, std::vector<std::string>>;
// {"id": "text"} or {"id": ["text", ...]}, or a store with `caption`. Exit::data naming the id that is not text.
Captions read_captions(const std::string& path);

Scores score_captions(const Captions& captions, const Captions& references, const CaptionOptions& options);

// As MindEye2's final evaluation: captions from the brain against references (NAME), captions of the images seen against references
// (NAME_img_ref), brain against image captions (NAME_brain_img), and their ratio NAME_relative = NAME_brain_img / NAME_img_ref.
// Intervals of ratios resample images; BLEU's ratio has none.
Scores score_captions_three_ways(const Captions& captions, const Captions& image_captions, const Captions& references, const CaptionOptions& options);

}  // namespace me2::report
