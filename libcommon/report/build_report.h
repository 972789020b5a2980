// me2-eval report: score files and the stores behind them -> one page (report/html.h).
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "report/html.h"

namespace me2::report {

struct ReportInputs {
  std::vector<std::string> scores;  // files of me2-eval score, retrieval, rsa (--out); joined by score name, later ones win
  std::string truth;                // the images seen, in any form ImageSet reads; empty: no pictures
  std::string recon, refined, lowlevel, captions, references;  // empty: left out
  std::string per_image;            // CSV of me2-eval score --per-image
  std::string subject;              // whose rows of per_image these pictures are, where it has several; empty: as recon says (subjects.h)
  std::string brain, targets;       // embeddings, for retrieval examples and the map
  std::string brain_array = "clip", target_array = "clip_tokens";
  std::string title = "MindEye2 reconstructions";
  std::string paper;                // "40" or "1": put the paper's figures for 40 sessions or one beside ours
  std::int64_t images = 100;        // cards on the page, in the order tested
  std::int64_t thumbnail = 160;     // pixels of a picture's side on the page at most
  std::int64_t map_points = 1000;   // of brain and of images each
  std::uint64_t seed = 42;
};

// Exit::data when a file is not what it should be, or an image store lacks a scored stimulus.
ReportPage build_report(const ReportInputs& inputs);

// Adds retrieval examples and a UMAP of both sides (own UMAP, metrics/umap.h) for stimuli that both stores hold. `picture_of`: the
// stimulus as a data URI; empty: no retrieval examples.
void add_embeddings(ReportPage& page, const ReportInputs& inputs, const std::function<std::string(std::int32_t)>& picture_of);

// One line on a score: its name for people, what it says, and how well it agrees with people (docs/scores.md).
struct ScoreMeaning {
  std::string label, text;
};
ScoreMeaning meaning_of(const std::string& score);

}  // namespace me2::report
