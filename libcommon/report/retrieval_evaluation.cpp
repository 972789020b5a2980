#include "report/retrieval_evaluation.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <numeric>

#include "base/error.h"
#include "metrics/bootstrap.h"
#include "metrics/brain.h"
#include "metrics/identification.h"
#include "metrics/retrieval.h"
#include "report/image_set.h"
#include "store/npy.h"
#include "store/zarr.h"

namespace me2::report {
namespace {

namespace fs = std::filesystem;

struct Embeddings {
  std::string path;
  std::int64_t size = 0;
  std::vector<std::string> ids;  // of rows; may repeat
  std::function<at::Tensor(std::int64_t first, std::int64_t count)> read;  // [count, F], f16 where it is stored so
};

Embeddings open_embeddings(const std::string& path, const std::string& wanted) {
  Embeddings out;
  out.path = path;
  if (fs::is_directory(path)) {
    const auto group = store::Group::open(path);
    std::string name = wanted;
    for (const char* candidate : {"clip", "clip_tokens", "clip_pooled", "tokens"})
      if (name.empty() && group.has_array(candidate)) name = candidate;
    if (name.empty()) throw data_error("{}: no array clip, clip_tokens, clip_pooled or tokens; it holds {}", path, fmt::join(group.array_names(), ", "));
    const auto array = group.array(name);
    if (array.shape().size() < 2) throw data_error("{}: embeddings [sample, ...] expected, {} axes found", array.path(), array.shape().size());
    out.path = array.path();
    out.size = array.shape()[0];
    if (group.has_array("stimulus"))
      for (const auto id : group.array("stimulus").read<std::int64_t>()) out.ids.push_back(std::to_string(id));
    out.read = [array](std::int64_t first, std::int64_t count) {
      const bool half = array.dtype() == store::DType::f2;
      auto box = store::Box{store::Shape(array.shape().size(), 0), array.shape()};
      box.start[0] = first, box.count[0] = count;
      at::Tensor x = at::empty({count, array.size() / array.shape()[0]}, half ? at::kHalf : at::kFloat);
      array.read_bytes(box, half ? store::DType::f2 : store::DType::f4, x.mutable_data_ptr());
      return x;
    };
  } else {
    auto npy = std::make_shared<store::NpyFile>(path);
    const auto& shape = npy->header().shape;
    if (shape.size() < 2) throw data_error("{}: embeddings [n, ...] expected, {} axes found", path, shape.size());
    out.size = shape[0];
    const auto width = std::accumulate(shape.begin() + 1, shape.end(), std::int64_t{1}, std::multiplies<>());
    out.read = [npy, width](std::int64_t first, std::int64_t count) {
      at::Tensor x = at::empty({count, width}, at::kFloat);
      npy->read_rows(first, count, store::DType::f4, x.mutable_data_ptr());
      return x;
    };
  }
  if (out.size == 0) throw data_error("{}: no embeddings", out.path);
  return out;
}

// Per image, the rows of the brain store that show it, in their order.
metrics::Rows averaged(const Embeddings& e, const std::vector<std::vector<std::int64_t>>& rows, std::size_t repeats) {
  return {static_cast<std::int64_t>(rows.size()), [&e, &rows, repeats](std::int64_t first, std::int64_t count) {
            bool single = true, neighbours = true;
            for (std::int64_t i = first; i < first + count; ++i) {
              single = single && std::min(repeats, rows[i].size()) == 1;
              neighbours = neighbours && rows[i][0] == rows[first][0] + i - first;
            }
            at::Tensor out;
            if (single && neighbours) {
              out = e.read(rows[first][0], count);
            } else {
              std::vector<at::Tensor> parts;
              for (std::int64_t i = first; i < first + count; ++i) {
                const auto k = std::min(repeats, rows[i].size());
                at::Tensor sum = e.read(rows[i][0], 1);
                if (k > 1) sum = sum.to(at::kFloat);
                for (std::size_t r = 1; r < k; ++r) sum += e.read(rows[i][r], 1).to(at::kFloat);
                parts.push_back(k > 1 ? sum / static_cast<double>(k) : sum);
              }
              out = at::cat(parts);
            }
            if (!at::isfinite(out).all().item<bool>()) throw data_error("{}: rows {} to {} hold values that are not finite", e.path, first, first + count - 1);
            return out;
          }};
}

double mean(const std::vector<double>& v) { return std::accumulate(v.begin(), v.end(), 0.0) / static_cast<double>(v.size()); }

at::Tensor read_npy_tensor(const std::string& path) {
  const auto npy = store::read_npy(path);
  at::Tensor out = at::empty(npy.shape, at::kDouble);
  npy.convert(store::DType::f8, out.mutable_data_ptr());
  return out;
}

}  // namespace

Scores score_retrieval(const std::string& brain_path, const std::string& image_path, const RetrievalOptions& options) {
  const Embeddings brain = open_embeddings(brain_path, options.brain_array), images = open_embeddings(image_path, options.image_array);
  // Repeats: unique ids of the brain rows, in order of first appearance.
  Keys brain_keys{brain.path, brain.size, {}, {}};
  std::vector<std::vector<std::int64_t>> repeats;
  std::map<std::string, std::size_t> at;
  for (std::int64_t i = 0; i < brain.size; ++i) {
    if (brain.ids.empty()) {
      repeats.push_back({i});
      continue;
    }
    const auto [it, fresh] = at.emplace(brain.ids[i], repeats.size());
    if (fresh) brain_keys.keys.push_back(brain.ids[i]), repeats.emplace_back();
    repeats[it->second].push_back(i);
  }
  brain_keys.size = static_cast<std::int64_t>(repeats.size());
  Scores out;
  Keys image_keys{images.path, images.size, images.ids, {}};
  Joined joined;
  if (!brain_keys.keys.empty() && !image_keys.keys.empty()) {  // a gallery of more images than were shown is no error
    std::vector<std::string> absent;
    std::map<std::string, std::int64_t> row;
    for (std::int64_t i = 0; i < images.size; ++i) row.emplace(images.ids[i], i);
    joined.rows.resize(2);
    for (std::size_t i = 0; i < brain_keys.keys.size(); ++i) {
      const auto it = row.find(brain_keys.keys[i]);
      if (it == row.end()) {
        absent.push_back(brain_keys.keys[i]);
        continue;
      }
      joined.ids.push_back(brain_keys.keys[i]);
      joined.rows[0].push_back(static_cast<std::int64_t>(i)), joined.rows[1].push_back(it->second);
    }
    if (!absent.empty() && !options.allow_missing)
      throw data_error("{}: {} stimuli of {} are not there: {} (--allow-missing scores the others)", images.path, absent.size(), brain.path,
                       fmt::join(absent.begin(), absent.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(10, absent.size())), ", "));
    if (!absent.empty()) out.notes.push_back(fmt::format("{} stimuli without an image embedding, left out", absent.size()));
  } else {
    joined = join({brain_keys, image_keys}, options.allow_missing);
  }
  out.ids = joined.ids;
  const auto pool = static_cast<std::int64_t>(joined.ids.size());
  if (pool < 2) throw data_error("retrieval needs 2 images or more, {} found", pool);
  std::int64_t ways = options.ways;
  if (pool < ways) {
    out.notes.push_back(fmt::format("{} images: {}-way instead of {}-way retrieval", pool, pool, ways));
    ways = pool;
  }
  std::vector<metrics::Draw> draws;
  if (!options.draws_file.empty()) {
    const auto npy = store::read_npy(options.draws_file);
    if (npy.shape.size() != 2) throw data_error("{}: draws [draws, ways] expected, {} axes found", options.draws_file, npy.shape.size());
    const auto index = npy.as<std::int64_t>();
    for (std::int64_t d = 0; d < npy.shape[0]; ++d) draws.push_back({{index.begin() + d * npy.shape[1], index.begin() + (d + 1) * npy.shape[1]}});
    ways = npy.shape[1];
  } else {
    draws = metrics::retrieval_draws(pool, ways, options.draws, options.seed);
  }
  std::vector<std::vector<std::int64_t>> brain_rows, image_rows;
  std::size_t most = 1, fewest = std::numeric_limits<std::size_t>::max();
  for (std::int64_t i = 0; i < pool; ++i) {
    brain_rows.push_back(repeats[joined.rows[0][i]]);
    image_rows.push_back({joined.rows[1][i]});
    most = std::max(most, brain_rows.back().size()), fewest = std::min(fewest, brain_rows.back().size());
  }
  const metrics::Rows gallery = averaged(images, image_rows, 1);
  metrics::BootstrapOptions how;
  how.resamples = options.resamples, how.seed = options.seed, how.threads = options.threads;
  const auto run = [&](std::size_t k, const std::string& suffix) {
    const at::Tensor s = metrics::cosine_matrix(averaged(brain, brain_rows, k), gallery);
    const auto plain = metrics::retrieve(s, draws), scaled = metrics::retrieve(metrics::csls(s, options.csls), draws);
    for (const bool image : {true, false}) {
      const auto& d = image ? plain.image_retrieval : plain.brain_retrieval;
      Score score;
      score.name = (image ? "image_retrieval" : "brain_retrieval") + suffix;
      score.value = d.mean;
      score.n = pool;
      score.per_image = d.per_query;
      const auto over_images = metrics::bca_mean(d.per_query, how);
      score.low = over_images.low, score.high = over_images.high;
      score.note = fmt::format("{}-way top-1 over {} draws; query: {}; the reference prints it as {}", ways, draws.size(),
                               image ? "brain embedding among images" : "image among brain embeddings", image ? "bwd" : "fwd");
      const auto wins = metrics::retrieval_wins(s, image ? 1 : 0);
      score.details = {{"draws_low", d.low}, {"draws_high", d.high}, {"draws_sem", d.sem}, {"ways", static_cast<double>(ways)},
                       {"csls", (image ? scaled.image_retrieval : scaled.brain_retrieval).mean}, {"rank_percentile", mean(metrics::rank_percentile(wins))}};
      for (const std::int64_t top : {1, 5, 10})
        if (top < pool) score.details[fmt::format("full_pool_top_{}", top)] = mean(metrics::top_k(wins, top));
      out.scores.push_back(std::move(score));
    }
  };
  run(most, "");
  if (most > 1) {
    out.notes.push_back(fmt::format("{} to {} repeats per image, averaged; also scored with fewer", fewest, most));
    for (std::size_t k = 1; k < std::min<std::size_t>(most, 4); ++k) run(k, fmt::format("_{}_repeat{}", k, k == 1 ? "" : "s"));
  }
  return out;
}

Scores score_rsa(const std::string& features, const std::string& rdms) {
  at::Tensor x = read_npy_tensor(features), subjects = read_npy_tensor(rdms);
  if (subjects.dim() == 4) subjects = subjects.mean(1);
  if (subjects.dim() != 3 || subjects.size(1) != subjects.size(2)) throw data_error("{}: RDMs [subjects, n, n] expected, {} found", rdms, subjects.sizes().vec());
  const auto n = subjects.size(1);
  const auto is_rdm = [n](const at::Tensor& m) { return m.size(0) == n && m.size(1) == n && at::allclose(m, m.t()) && m.diagonal().abs().max().item<double>() < 1e-6; };
  std::vector<at::Tensor> models;
  if (x.dim() == 3 && x.size(1) == n && x.size(2) == n && is_rdm(x[0])) models = x.unbind();
  else if (x.dim() >= 2 && x.size(0) == n) models = {x.flatten(1)};
  else throw data_error("{}: {} rows expected as in {}, {} found", features, n, rdms, x.sizes().vec());
  Scores out;
  for (std::size_t m = 0; m < models.size(); ++m) {
    const bool ready = is_rdm(models[m]);
    const auto got = metrics::rsa(ready ? models[m] : metrics::correlation_rdm(models[m]), subjects);
    Score score;
    score.name = models.size() == 1 ? "rsa" : fmt::format("rsa_{}", m);
    const auto interval = metrics::bca_mean(got.per_subject, {});
    score.value = got.mean, score.low = interval.low, score.high = interval.high, score.n = interval.n;
    score.interval = "BCa bootstrap over subjects";
    score.note = fmt::format("Spearman of upper triangles, mean over subjects; {}", ready ? "RDM as given" : "RDM: 1 - Pearson of the features");
    score.details = {{"ceiling_low", got.ceiling_low}, {"ceiling_high", got.ceiling_high}};
    for (std::size_t s = 0; s < got.per_subject.size(); ++s) score.details[fmt::format("subject_{}", s + 1)] = got.per_subject[s];
    out.scores.push_back(std::move(score));
  }
  return out;
}

}  // namespace me2::report
