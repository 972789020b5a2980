// What scores take, for --dry-run: networks over pictures by count_work, the rest by what it reads and compares.
#pragma once
#include "base/work.h"
#include "report/caption_evaluation.h"
#include "report/evaluation.h"
#include "report/image_set.h"
#include "report/retrieval_evaluation.h"

namespace me2::report {

// `sets`: pictures scored against the truth: reconstructions and baselines.
Work score_work(const ImageSet& recon, const ImageSet& truth, std::int64_t sets, const ScoreOptions& options);
Work retrieval_work(const std::string& brain, const std::string& images, const RetrievalOptions& options);
Work caption_work(const Captions& captions, const Captions& references, const CaptionOptions& options);

}  // namespace me2::report
