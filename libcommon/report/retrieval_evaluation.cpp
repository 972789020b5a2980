#include "report/retrieval_evaluation.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
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
#include "report/baselines.h"
#include "report/embeddings.h"
#include "report/image_set.h"
#include "store/npy.h"
#include "store/zarr.h"

namespace me2::report {
namespace {

namespace fs = std::filesystem;

double mean(const std::vector<double>& v) { return std::accumulate(v.begin(), v.end(), 0.0) / static_cast<double>(v.size()); }

at::Tensor read_npy_tensor(const std::string& path) {
  const auto npy = store::read_npy(path);
  at::Tensor out = at::empty(npy.shape, at::kDouble);
  npy.convert(store::DType::f8, out.mutable_data_ptr());
  return out;
}

// Mean over images of the mean Pearson correlation between two of an image's rows.
double repeat_correlation(const Embeddings& e, const std::vector<std::vector<std::int64_t>>& rows) {
  double sum = 0;
  for (const auto& of : rows) {
    std::vector<at::Tensor> each;
    for (const auto row : of) each.push_back(e.read(row, 1).to(at::kFloat));
    sum += metrics::repeat_reliability(at::stack(each, 1)).split_half;
  }
  return sum / static_cast<double>(rows.size());
}

// Spearman-Brown of the mean of k repeats, averaged over images: of fewer where an image has fewer.
double reliability_of_mean(double r, const std::vector<std::vector<std::int64_t>>& rows, std::size_t k) {
  double sum = 0;
  for (const auto& of : rows) {
    const auto n = static_cast<double>(std::min(k, of.size()));
    sum += n * r / (1 + (n - 1) * r);
  }
  return sum / static_cast<double>(rows.size());
}

// Pearson correlation of each pair of rows, averaged.
double mean_correlation(const metrics::Rows& a, const metrics::Rows& b) {
  double sum = 0;
  for (std::int64_t i = 0; i < a.size; ++i) sum += 1 - metrics::correlation_distance(a.read(i, 1), b.read(i, 1)).front();
  return sum / static_cast<double>(a.size);
}

}  // namespace

Scores score_retrieval(const std::string& brain_path, const std::string& image_path, const RetrievalOptions& options) {
  const Embeddings brain = open_embeddings(brain_path, options.brain_array), images = open_embeddings(image_path, options.image_array);
  const auto [names, repeats] = group_repeats(brain);
  const Keys brain_keys{brain.path, static_cast<std::int64_t>(repeats.size()), names, {}};
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
  if (const auto ours = brain.read(0, 1).flatten(1).size(1), theirs = images.read(0, 1).flatten(1).size(1); ours != theirs)
    throw data_error("{}: embeddings of {} values, {} in {}; brain and image embeddings of one model expected", brain.path, ours, theirs, images.path);
  metrics::BootstrapOptions how;
  how.resamples = options.resamples, how.seed = options.seed, how.threads = options.threads;
  const auto summarise = [&](const at::Tensor& s, bool image, const metrics::Direction& d, const std::string& suffix) {
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
    score.details = {{"draws_low", d.low}, {"draws_high", d.high}, {"draws_sem", d.sem}, {"ways", static_cast<double>(ways)}, {"rank_percentile", mean(metrics::rank_percentile(wins))}};
    for (const std::int64_t top : {1, 5, 10})
      if (top < pool) score.details[fmt::format("full_pool_top_{}", top)] = mean(metrics::top_k(wins, top));
    return score;
  };
  const double repeat_r = fewest > 1 ? repeat_correlation(brain, brain_rows) : std::numeric_limits<double>::quiet_NaN();
  const auto run = [&](std::size_t k, const std::string& suffix) {
    const auto queries = averaged(brain, brain_rows, k);
    const at::Tensor s = metrics::cosine_matrix(queries, gallery);
    const auto plain = metrics::retrieve(s, draws), scaled = metrics::retrieve(metrics::csls(s, options.csls), draws);
    for (const bool image : {true, false}) {
      out.scores.push_back(summarise(s, image, image ? plain.image_retrieval : plain.brain_retrieval, suffix));
      out.scores.back().details["csls"] = (image ? scaled.image_retrieval : scaled.brain_retrieval).mean;
      auto& details = out.scores.back().details;
      if (most > 1) details["repeats"] = static_cast<double>(k);
      if (!image || fewest < 2) continue;
      const double reliability = reliability_of_mean(repeat_r, brain_rows, k);
      details["repeat_correlation"] = repeat_r, details["reliability"] = reliability, details["noise_ceiling"] = std::sqrt(std::max(0.0, reliability));
      details["correlation"] = mean_correlation(queries, gallery);
    }
    return s;
  };
  const at::Tensor similarity = run(most, "");
  const auto baseline = [&](const std::string& name, const at::Tensor& s, const std::string& what, bool both) {
    const auto got = metrics::retrieve(s, draws);
    for (const bool image : {true, false}) {
      if (!image && !both) continue;
      auto score = summarise(s, image, image ? got.image_retrieval : got.brain_retrieval, "");
      score.note = what;
      out.baselines[name].push_back(std::move(score));
    }
  };
  baseline("shuffled", similarity.index_select(0, at::tensor(derangement(pool, options.seed), at::kLong)), "the brain embedding of another image", true);
  // The mean of the unit-length predictions has, up to a factor, the mean of their cosines with an image. One and the same query for
  // all: the other direction has ties only.
  baseline("mean_brain", similarity.mean(0, true).expand({pool, pool}).contiguous(), "one query for all: the mean of the predictions", false);
  if (!options.train_tokens.empty()) {
    const auto train = open_embeddings(options.train_tokens, options.image_array);
    std::int64_t left_out = 0;
    std::vector<std::vector<std::int64_t>> rows;
    for (const auto row : nearest_rows(averaged(brain, brain_rows, most), train, images.ids.empty() ? std::vector<std::string>{} : out.ids, &left_out)) rows.push_back({row});
    baseline("nearest_train", metrics::cosine_matrix(averaged(train, rows, 1), gallery), "the training embedding nearest to the prediction", true);
    if (left_out) out.notes.push_back(fmt::format("{}: {} rows show images that are scored, left out of nearest_train", train.path, left_out));
  }
  if (most > 1) {
    out.notes.push_back(fmt::format("{} to {} repeats per image, averaged; also scored with fewer", fewest, most));
    for (std::size_t k = 1; k < std::min<std::size_t>(most, 4); ++k) run(k, fmt::format("_{}_repeat{}", k, k == 1 ? "" : "s"));
    if (fewest < 2) out.notes.push_back("no noise ceiling: it needs two repeats or more of every image");
  }
  if (fewest > 1) {
    std::vector<std::vector<std::int64_t>> halves[2];
    for (const auto& rows : brain_rows) {
      halves[0].emplace_back(), halves[1].emplace_back();
      for (std::size_t k = 0; k < rows.size(); ++k) halves[k % 2].back().push_back(rows[k]);
    }
    const at::Tensor s = metrics::cosine_matrix(averaged(brain, halves[0], most), averaged(brain, halves[1], most));
    const auto got = metrics::retrieve(s, draws);
    metrics::Direction both = got.image_retrieval;
    const auto &one = got.image_retrieval, &two = got.brain_retrieval;
    both.mean = (one.mean + two.mean) / 2, both.low = (one.low + two.low) / 2, both.high = (one.high + two.high) / 2, both.sem = (one.sem + two.sem) / 2;
    for (std::size_t i = 0; i < both.per_query.size(); ++i) both.per_query[i] = (one.per_query[i] + two.per_query[i]) / 2;
    auto score = summarise(s, true, both, "");
    score.name = "repeat_retrieval";
    score.note = fmt::format("{}-way top-1 over {} draws; query: half of an image's repeats among the other halves, both ways", ways, draws.size());
    out.scores.push_back(std::move(score));
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
