#include "report/scene_evaluation.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "base/json.h"
#include "metrics/bootstrap.h"
#include "metrics/identification.h"
#include "report/clip_towers.h"
#include "scenes/scene.h"
#include "store/zarr.h"

namespace me2::report {
namespace {

struct Axis {
  const char* name;
  int scenes::Labels::*code;
  std::span<const std::string> (*names)();
};
const std::array<Axis, 3> kAxes{{{"category", &scenes::Labels::category, scenes::category_names},
                                 {"colour", &scenes::Labels::colour, scenes::colour_names},
                                 {"background", &scenes::Labels::background, scenes::background_names}}};

// Score of predictions for the images `chosen`.
Score agreement(const std::string& name, const Axis& axis, const std::vector<scenes::Labels>& predicted, const std::vector<scenes::Labels>& right,
                const std::vector<std::size_t>& chosen) {
  Score s;
  s.name = name;
  const auto labels = axis.names().size();
  std::vector<double> said(labels), is(labels);
  std::size_t silent = 0;
  for (const auto i : chosen) {
    const int p = predicted[i].*axis.code, r = right[i].*axis.code;
    s.per_image.push_back(p == r ? 1 : 0);
    if (p < 0) ++silent;
    else said[static_cast<std::size_t>(p)] += 1;
    is[static_cast<std::size_t>(r)] += 1;
  }
  const auto n = static_cast<double>(chosen.size());
  s.details["labels"] = static_cast<double>(labels);
  s.details["chance"] = 1 / static_cast<double>(labels);
  s.details["chance_shuffled"] = std::inner_product(said.begin(), said.end(), is.begin(), 0.0) / (n * n);
  s.note = fmt::format("chance {:.3f}", s.details["chance"]);
  if (silent) s.note += fmt::format("; {} name none, counted as wrong", silent);
  return s;
}

void finish(Score& s, const SceneOptions& options) {
  metrics::BootstrapOptions how;
  how.resamples = options.resamples, how.seed = options.seed, how.threads = options.threads;
  const auto interval = metrics::bca_mean(s.per_image, how);
  s.value = interval.value, s.low = interval.low, s.high = interval.high, s.n = interval.n;
}

// Calls `add(list, chosen)` for the whole and for each split.
void for_each_split(Scores& scores, const SceneOptions& options, const std::function<void(std::vector<Score>&, const std::vector<std::size_t>&)>& add) {
  std::vector<std::size_t> all(scores.ids.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  add(scores.scores, all);
  for (const auto& [name, ids] : options.splits) {
    std::vector<std::size_t> chosen;
    for (const auto i : all)
      if (std::find(ids.begin(), ids.end(), scores.ids[i]) != ids.end()) chosen.push_back(i);
    if (chosen.empty()) continue;
    add(scores.splits[name], chosen);
  }
}

std::vector<scenes::Labels> right_labels(const Scores& scores, const SceneLabels& labels) {
  std::vector<scenes::Labels> out;
  for (const auto& id : scores.ids) out.push_back(labels.of(id));
  return out;
}

double mean_of(const std::vector<double>& v) { return v.empty() ? std::numeric_limits<double>::quiet_NaN() : std::accumulate(v.begin(), v.end(), 0.0) / static_cast<double>(v.size()); }

}  // namespace

SceneLabels SceneLabels::read(const std::string& path) {
  SceneLabels out;
  out.path_ = path;
  const auto group = store::Group::open(path);
  std::array<std::vector<std::int64_t>, 3> codes;
  for (std::size_t a = 0; a < kAxes.size(); ++a) {
    const std::string name = kAxes[a].name;
    if (!group.has_array(name)) throw data_error("{}: no array {}: a stimulus store of rendered scenes expected (me2-preprocess simulate)", path, name);
    codes[a] = group.array(name).read<std::int64_t>();
    const auto names = kAxes[a].names();
    const Json& attributes = group.attributes();
    const auto key = name + "_names";
    if (attributes.contains(key) && attributes[key] != Json(std::vector<std::string>(names.begin(), names.end())))
      throw data_error("{}: {}: {} expected, {} found", path, key, fmt::join(names, ", "), attributes[key].dump());
    for (const auto code : codes[a])
      if (code < 0 || code >= static_cast<std::int64_t>(names.size())) throw data_error("{}: {}: codes 0 to {} expected, {} found", path, name, names.size() - 1, code);
    if (codes[a].size() != codes[0].size()) throw data_error("{}: {}: {} rows expected, {} found", path, name, codes[0].size(), codes[a].size());
  }
  const auto rows = codes[0].size();
  std::vector<std::string> ids, names;
  if (group.has_array("stimulus"))
    for (const auto id : group.array("stimulus").read<std::int64_t>()) ids.push_back(std::to_string(id));
  if (group.has_array("name")) names = group.array("name").read_strings();
  for (std::size_t i = 0; i < rows; ++i) {
    const scenes::Labels labels{static_cast<int>(codes[0][i]), static_cast<int>(codes[1][i]), static_cast<int>(codes[2][i])};
    if (i < names.size()) out.labels_.emplace(names[i], labels);
    out.labels_[i < ids.size() ? ids[i] : std::to_string(i)] = labels;
  }
  return out;
}

const scenes::Labels& SceneLabels::of(const std::string& id) const {
  const auto it = labels_.find(id);
  if (it == labels_.end()) throw data_error("{}: no scene {}, which is among those scored", path_, id);
  return it->second;
}

const std::vector<std::string>& scene_caption_score_names() {
  static const std::vector<std::string> names{"caption_category", "caption_colour", "caption_background"};
  return names;
}

const std::vector<std::string>& scene_image_score_names() {
  static const std::vector<std::string> names{"recon_category", "recon_colour", "recon_background", "tower_retrieval", "tower_two_way"};
  return names;
}

void add_scene_caption_scores(Scores& scores, const std::vector<std::string>& captions, const SceneLabels& labels, const SceneOptions& options) {
  const auto right = right_labels(scores, labels);
  std::vector<scenes::Labels> named;
  for (const auto& caption : captions) named.push_back(scenes::named_in(caption));
  for_each_split(scores, options, [&](std::vector<Score>& list, const std::vector<std::size_t>& chosen) {
    for (const auto& axis : kAxes) {
      const auto name = std::string("caption_") + axis.name;
      if (!options.wants(name)) continue;
      list.push_back(agreement(name, axis, named, right, chosen));
      finish(list.back(), options);
    }
  });
}

void add_scene_image_scores(Scores& scores, const EmbedPictures& embed, const SceneLabels& labels, const std::string& scorer, const SceneOptions& options) {
  bool any = false;
  for (const auto& name : scene_image_score_names()) {
    if (!options.wants(name)) continue;
    any = true;
    if (scorer.empty()) scores.not_run.emplace_back(name, "needs --scorer MODEL (CLIP towers trained on such scenes, me2-embed encoder)");
  }
  if (!any || scorer.empty()) return;
  const auto right = right_labels(scores, labels);
  std::vector<scenes::Labels> kinds;
  std::vector<std::string> prompts;
  for (int c = 0; c < static_cast<int>(scenes::category_names().size()); ++c)
    for (int o = 0; o < static_cast<int>(scenes::colour_names().size()); ++o)
      for (int b = 0; b < static_cast<int>(scenes::background_names().size()); ++b) kinds.push_back({c, o, b}), prompts.push_back(scenes::caption_of(kinds.back()));
  const at::Tensor texts = ClipText(scorer, "")(prompts);
  const ClipImages tower(scorer);
  const Network net = [&](const at::Tensor& pictures) { return std::vector<at::Tensor>{tower(pictures)}; };
  const auto n = static_cast<std::int64_t>(scores.ids.size());
  const at::Tensor truth = embed(true, net), recon = embed(false, net);
  const auto seen = [&](const at::Tensor& x) {
    const at::Tensor best = at::matmul(x, texts.t()).argmax(1).contiguous();
    std::vector<scenes::Labels> out;
    for (std::int64_t i = 0; i < n; ++i) out.push_back(kinds[static_cast<std::size_t>(best.const_data_ptr<std::int64_t>()[i])]);
    return out;
  };
  const auto in_truth = seen(truth), in_recon = seen(recon);
  const at::Tensor similarity = at::matmul(truth.to(at::kDouble), recon.to(at::kDouble).t());  // [truth, reconstruction]
  for_each_split(scores, options, [&](std::vector<Score>& list, const std::vector<std::size_t>& chosen) {
    for (const auto& axis : kAxes) {
      const auto name = std::string("recon_") + axis.name;
      if (!options.wants(name)) continue;
      Score s = agreement(name, axis, in_recon, right, chosen);
      double reached = 0, same = 0;
      for (const auto i : chosen) reached += in_truth[i].*axis.code == right[i].*axis.code, same += in_truth[i].*axis.code == in_recon[i].*axis.code;
      s.details["true_images"] = reached / static_cast<double>(chosen.size()), s.details["same_as_true_image"] = same / static_cast<double>(chosen.size());
      s.note += fmt::format("; the images themselves {:.3f}", s.details["true_images"]);
      finish(s, options);
      list.push_back(std::move(s));
    }
    const auto pool = static_cast<std::int64_t>(chosen.size());
    if (pool < 2) {
      if (options.wants("tower_retrieval") || options.wants("tower_two_way")) scores.notes.push_back("tower_retrieval and tower_two_way need 2 images or more");
      return;
    }
    const at::Tensor index = at::tensor(std::vector<std::int64_t>(chosen.begin(), chosen.end()), at::kLong);
    const auto wins = metrics::wins(similarity.index_select(0, index).index_select(1, index));
    for (const bool top : {true, false}) {
      Score s;
      s.name = top ? "tower_retrieval" : "tower_two_way";
      if (!options.wants(s.name)) continue;
      s.per_image = top ? metrics::top_k(wins, 1) : metrics::n_way(wins, 2);
      s.details["pool"] = static_cast<double>(pool);
      s.details["chance"] = top ? 1 / static_cast<double>(pool) : .5;
      for (const std::int64_t k : {5, 10})
        if (top && k < pool) s.details[fmt::format("top_{}", k)] = mean_of(metrics::top_k(wins, k));
      if (top) s.details["rank_percentile"] = mean_of(metrics::rank_percentile(wins));
      s.note = top ? fmt::format("among {} images; chance {:.4f}", pool, s.details["chance"]) : "chance 0.5";
      finish(s, options);
      list.push_back(std::move(s));
    }
  });
}

}  // namespace me2::report
