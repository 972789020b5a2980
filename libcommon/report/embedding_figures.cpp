// Retrieval examples, the curve of ranks and the map of brain and image embeddings.
#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "base/error.h"
#include "metrics/identification.h"
#include "metrics/retrieval.h"
#include "metrics/umap.h"
#include "report/build_report.h"
#include "report/image_set.h"
#include "report/svg.h"
#include "store/gather.h"
#include "store/stage.h"

namespace me2::report {
namespace {

at::Tensor rows_of(const store::StageReader& in, const std::string& array, const std::vector<std::int64_t>& rows) {  // f32 [n, F]
  const auto a = in.array(array);
  const auto each = a.shape()[0] ? a.size() / a.shape()[0] : 0;
  auto out = at::empty({static_cast<std::int64_t>(rows.size()), each});
  store::gather_rows(a, rows, out.data_ptr<float>());
  return out;
}

at::Tensor normalised(const at::Tensor& x) { return x / x.norm(2, 1, true).clamp_min(1e-12); }

}  // namespace

void add_embeddings(ReportPage& page, const ReportInputs& in, const std::function<std::string(std::int32_t)>& picture_of) {
  const store::StageReader brain(in.brain), targets(in.targets);
  std::map<std::int32_t, std::int64_t> where;
  for (std::size_t i = 0; i < targets.stimulus().size(); ++i) where.emplace(targets.stimulus()[i], static_cast<std::int64_t>(i));
  std::vector<std::int64_t> brain_rows, target_rows;
  std::vector<std::int32_t> ids;
  for (std::size_t i = 0; i < brain.stimulus().size() && static_cast<std::int64_t>(ids.size()) < in.map_points; ++i) {
    const auto id = brain.stimulus()[i];
    const auto it = where.find(id);
    if (it == where.end() || std::find(ids.begin(), ids.end(), id) != ids.end()) continue;
    brain_rows.push_back(static_cast<std::int64_t>(i)), target_rows.push_back(it->second), ids.push_back(id);
  }
  if (ids.size() < 8) return;
  const auto b = normalised(rows_of(brain, in.brain_array, brain_rows)), t = normalised(rows_of(targets, in.target_array, target_rows));
  if (b.size(1) != t.size(1)) throw data_error("{}: {} has {} numbers a sample, {} of {} has {}", in.brain, in.brain_array, b.size(1), in.target_array, in.targets, t.size(1));
  const auto similarity = b.matmul(t.t());
  const auto best = std::get<1>(similarity.topk(5, 1)).contiguous();
  for (std::int64_t q = 0; q < 4 && picture_of; ++q) {
    ReportRetrieval r;
    r.query_label = std::to_string(ids[static_cast<std::size_t>(q)]);
    r.query_uri = picture_of(ids[static_cast<std::size_t>(q)]);
    for (std::int64_t k = 0; k < 5; ++k) {
      const auto found = best[q][k].item<std::int64_t>();
      r.found.emplace_back(picture_of(ids[static_cast<std::size_t>(found)]), found == q);
    }
    page.retrieval.push_back(std::move(r));
  }
  const auto pool = static_cast<std::int64_t>(ids.size()), most = std::min<std::int64_t>(50, pool);
  Line finds{"a brain embedding finds its image", "#c0842b", {}}, found{"an image finds its brain embedding", "#3d7ea6", {}}, chance{"chance", "#888888", {}};
  for (auto* line : {&finds, &found}) {
    const auto wins = metrics::retrieval_wins(similarity, line == &finds ? 1 : 0);
    for (std::int64_t k = 1; k <= most; ++k) {
      const auto hits = metrics::top_k(wins, k);
      line->points.emplace_back(k, std::accumulate(hits.begin(), hits.end(), 0.0) / static_cast<double>(pool));
    }
  }
  for (std::int64_t k = 1; k <= most; ++k) chance.points.emplace_back(k, static_cast<double>(k) / static_cast<double>(pool));
  page.charts.push_back(line_chart(fmt::format("Share whose right one is among the best k of {}", pool), "k", "share", {finds, found, chance}));
  metrics::UmapOptions options;
  options.seed = in.seed;
  const auto map = metrics::umap(at::cat({t, b}), options);
  const auto n = static_cast<std::int64_t>(ids.size());
  Dots images{"images", "#3d7ea6", {}, {}}, brains{"brain", "#c0842b", {}, {}};
  double distance = 0;
  for (std::int64_t i = 0; i < 2 * n; ++i) {
    auto& group = i < n ? images : brains;
    group.points.emplace_back(map[i][0].item<double>(), map[i][1].item<double>());
    group.names.push_back(std::to_string(ids[static_cast<std::size_t>(i % n)]));
  }
  distance = (map.slice(0, 0, n) - map.slice(0, n)).norm(2, 1).mean().item<double>();
  page.charts.push_back(scatter(fmt::format("UMAP of brain and image embeddings, mean distance {:.2f}", distance), "", "", {images, brains}, false));
}

}  // namespace me2::report
