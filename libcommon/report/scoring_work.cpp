#include "report/scoring_work.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include "base/error.h"
#include "base/json.h"
#include "models/eval_nets.h"
#include "models/open_clip.h"
#include "nn/count_work.h"
#include "report/embeddings.h"
#include "weights/state_dict.h"

namespace me2::report {
namespace {

using models::EvalNetKind;

Work net_work(EvalNetKind kind, const std::string& file, std::int64_t side, std::int64_t batch) {
  const auto net = models::load_eval_net(kind, weights::StateDict::open(file), at::kFloat, at::kMeta);
  return nn::count_work([&] { (*net)(nn::meta({2 * batch, 3, side, side})); });
}

Work tower_work(const std::string& model, std::int64_t batch) {
  const auto dict = weights::StateDict::open(model);
  nn::Loader loader(dict, at::kFloat, at::kMeta);
  const nn::Scope scope = nn::Scope(loader).sub("visual");
  const models::OpenClipVision tower(scope, models::OpenClipVisionConfig::detect(scope, dict.config()));
  const auto side = tower.config.image_size;
  return nn::count_work([&] { tower(nn::meta({2 * batch, 3, side, side})); });
}

std::pair<std::int64_t, std::int64_t> sides(const std::string& shape) {
  int height = 0, width = 0;
  if (std::sscanf(shape.c_str(), "%dx%d", &height, &width) != 2) return {512, 512};  // a folder of several sizes
  return {height, width};
}

// Of n numbers: intervals by the bootstrap, for each score.
Work resampling(double n, double scores, int resamples) {
  Work work;
  work.bytes = n * scores * resamples * 500;  // a draw and its number, for each
  return work;
}

}  // namespace

Work score_work(const ImageSet& recon, const ImageSet& truth, std::int64_t sets, const ScoreOptions& o) {
  const c10::InferenceMode guard;
  const auto wants = [&](std::initializer_list<const char*> names) {
    return o.metrics.empty() || std::any_of(names.begin(), names.end(), [&](const char* name) { return std::find(o.metrics.begin(), o.metrics.end(), name) != o.metrics.end(); });
  };
  const std::int64_t batch = o.batch_size;
  const double n = static_cast<double>(std::min(recon.size(), truth.size()));
  Work batches;  // of one batch of pairs
  const auto add = [&](EvalNetKind kind, const std::string& file, std::int64_t side, std::initializer_list<const char*> names) {
    if (file.empty() || !wants(names)) return;
    const Work work = net_work(kind, file, side, batch);
    batches += work;
  };
  add(EvalNetKind::alexnet, o.nets.alexnet, 256, {"alexnet2", "alexnet5"});
  add(EvalNetKind::inception, o.nets.inception, 342, {"inception"});
  add(EvalNetKind::clip, o.nets.clip, 224, {"clip"});
  add(EvalNetKind::effnet, o.nets.effnet, 255, {"effnet"});
  add(EvalNetKind::swav, o.nets.swav, 224, {"swav"});
  if (!o.scorer.empty()) batches += tower_work(o.scorer, batch);
  Work work = batches.times(n / static_cast<double>(batch) * static_cast<double>(sets));
  // Pictures decoded and resized; PixCorr's and SSIM's maps at 425 pixels.
  const auto [height, width] = sides(truth.shape());
  const double pixels = static_cast<double>(height * width) + 425. * 425;
  work.bytes += n * static_cast<double>(sets) * pixels * 200;
  work.held = std::max(work.held, static_cast<std::uint64_t>(static_cast<double>(2 * batch) * pixels * 3 * 4 * 3));
  work += resampling(n, 8 * static_cast<double>(sets), o.resamples);
  return work;
}

Work retrieval_work(const std::string& brain_path, const std::string& image_path, const RetrievalOptions& o) {
  const auto brain = open_embeddings(brain_path, o.brain_array), images = open_embeddings(image_path, o.image_array);
  const double n = static_cast<double>(std::min(brain.size, images.size));
  const double width = brain.size > 0 ? static_cast<double>(brain.read(0, 1).numel()) : 0;
  Work work;
  work.flops = 2 * n * n * width;
  work.bytes = 40 * n * width + 16 * n * n + static_cast<double>(o.draws) * o.ways * o.ways * 64;
  work.held = static_cast<std::uint64_t>(8 * n * width + 16 * n * n);
  work += resampling(n, 8, 10000);
  return work;
}

Work caption_work(const Captions& captions, const Captions& references, const CaptionOptions& o) {
  const double n = static_cast<double>(captions.size());
  double texts = n;
  for (const auto& [id, several] : references) texts += static_cast<double>(several.size());
  Work work;
  work.calls = 400 * texts;  // words split, stemmed, looked up and aligned
  work.held = static_cast<std::uint64_t>(4096 * texts);
  for (const auto& model : {o.sentence, o.clip_b, o.clip_l}) {
    if (model.empty()) continue;
    std::uint64_t bytes = 0;
    std::error_code failed;
    if (std::filesystem::is_directory(model)) {
      for (const auto& entry : std::filesystem::directory_iterator(model, failed))
        if (entry.path().extension() == ".safetensors" || entry.path().extension() == ".bin") bytes += entry.file_size(failed);
    } else {
      bytes = std::filesystem::file_size(model, failed);
    }
    work.weights += bytes;
    work.flops += texts * 20 * static_cast<double>(bytes) / 2;  // 20 word pieces, two for each weight of four bytes
  }
  work += resampling(n, 10, o.resamples);
  return work;
}

}  // namespace me2::report
