#include "report/evaluation.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "base/json.h"
#include "metrics/bootstrap.h"
#include "metrics/identification.h"
#include "metrics/pixels.h"
#include "models/eval_nets.h"
#include "report/baselines.h"
#include "report/scene_evaluation.h"
#include "vision/resize.h"

namespace me2::report {
namespace {

namespace fs = std::filesystem;
using models::EvalNetKind;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

struct NetPlan {
  EvalNetKind kind;
  const std::string* file;
  std::vector<std::string> scores;  // one per layer
  bool identification;              // else correlation distance
  const char* option;
};

struct Raw {  // a score before it is summarised
  std::string name;
  std::vector<double> per_image;
  at::Tensor r;  // identification: correlations [truth, reconstruction]
  at::Tensor control;  // the same pairs with the reconstructions shuffled: correlations of pixels or features
  bool higher = true;
  double diversity = kNaN, truth_diversity = kNaN;
};

// Truth and (blended) reconstructions of some images, both at the scoring size.
class Pairs {
 public:
  Pairs(const ImageSet& recon, const ImageSet& truth, const ImageSet* low, const Joined& joined, const ScoreOptions& options)
      : recon_(recon), truth_(truth), low_(low), joined_(joined), options_(options) {}
  std::int64_t size() const { return static_cast<std::int64_t>(joined_.ids.size()); }
  using Positions = std::vector<std::int64_t>;
  at::Tensor truth(const Positions& at) const { return part(truth_, rows(0, at)); }
  at::Tensor recon(const Positions& at) const {
    at::Tensor recon = part(recon_, rows(1, at));
    if (low_) recon = recon * options_.blend + part(*low_, rows(2, at)) * (1 - options_.blend);
    return recon;
  }

  enum class Size { scored, as_stored };  // as stored: the low-level image is resized to the reconstruction's; pictures of a folder must be of one size
  // What a network says of each true image or reconstruction, under these names one for each of its layers. A picture that several rows
  // show is embedded once; what is kept of another call is taken from there.
  std::vector<Embedded> embed(bool truth, const std::vector<std::string>& names, const Network& net, std::int64_t batch, Size size = Size::scored) const {
    KeptFeatures* kept = truth ? options_.truth_features.get() : options_.recon_features.get();
    const auto pictures = truth ? joined_.ids : pictures_of_recon();
    const bool own = kept && kept->set == (truth ? truth_.path() : scored_set(recon_, low_)), theirs = kept && !truth && kept->set == recon_.pictures_of();
    std::vector<Embedded> out(names.size());
    const auto known = [&](const std::string& name) { return kept->features.contains(name); };
    if ((own || theirs) && std::all_of(names.begin(), names.end(), known) && std::all_of(pictures.begin(), pictures.end(), [&](const auto& p) { return kept->row.contains(p); })) {
      for (std::size_t k = 0; k < names.size(); ++k) {
        out[k].features = kept->features.at(names[k]);
        for (const auto& p : pictures) out[k].row.push_back(kept->row.at(p));
      }
      return out;
    }
    const Distinct distinct(pictures);
    const auto n = static_cast<std::int64_t>(distinct.embed.size());
    for (std::int64_t i = 0; i < n; i += batch) {
      const auto count = std::min(batch, n - i);
      const Positions at(distinct.embed.begin() + i, distinct.embed.begin() + i + count);
      const auto layers = net(size == Size::as_stored ? as_stored(truth, at) : truth ? this->truth(at) : recon(at));
      for (std::size_t k = 0; k < names.size(); ++k) {
        if (i == 0) out[k].features = at::empty({n, layers[k].size(1)});
        out[k].features.narrow(0, i, count).copy_(layers[k]);
      }
      if (options_.progress) options_.progress(count);
    }
    for (std::size_t k = 0; k < names.size(); ++k) {
      out[k].row = distinct.row;
      if (own) kept->keep(names[k], joined_.ids, out[k].rows());
    }
    return out;
  }

 private:
  Positions rows(std::size_t which, const Positions& at) const {
    Positions out;
    for (const auto i : at) out.push_back(joined_.rows[which][i]);
    return out;
  }
  std::vector<std::string> pictures_of_recon() const {
    if (recon_.pictures().empty()) return joined_.ids;
    std::vector<std::string> out;
    for (const auto row : joined_.rows[1]) out.push_back(recon_.pictures()[row]);
    return out;
  }
  at::Tensor part(const ImageSet& set, const Positions& rows) const {
    if (set.one_size()) return metrics::to_scoring_size(set.read(rows), options_.antialias);
    std::vector<at::Tensor> images;  // one by one: pictures of a folder differ in size
    for (const auto row : rows) images.push_back(metrics::to_scoring_size(set.read({row}), options_.antialias));
    return at::cat(images);
  }
  at::Tensor as_stored(bool truth, const Positions& at) const {
    if (truth) return truth_.read(rows(0, at));
    at::Tensor recon = recon_.read(rows(1, at));
    if (low_) recon = recon * options_.blend + vision::resize(low_->read(rows(2, at)), recon.size(2), recon.size(3)) * (1 - options_.blend);
    return recon;
  }
  const ImageSet& recon_;
  const ImageSet& truth_;
  const ImageSet* low_;
  const Joined& joined_;
  const ScoreOptions& options_;
};

void add_pixels(const Pairs& pairs, const ScoreOptions& options, bool pixcorr, bool ssim, std::vector<Raw>& out) {
  metrics::PixelScores all;
  metrics::PixelOptions how;
  how.pixcorr = pixcorr, how.ssim = ssim, how.antialias = options.antialias;
  for (std::int64_t i = 0; i < pairs.size(); i += options.batch_size) {
    std::vector<std::int64_t> at(std::min(options.batch_size, pairs.size() - i));
    std::iota(at.begin(), at.end(), i);
    const at::Tensor truth = pairs.truth(at), recon = pairs.recon(at);
    const auto part = metrics::pixel_scores(truth, recon, how);
    all.pixcorr.insert(all.pixcorr.end(), part.pixcorr.begin(), part.pixcorr.end());
    all.ssim.insert(all.ssim.end(), part.ssim.begin(), part.ssim.end());
    if (options.progress) options.progress(truth.size(0));
  }
  if (pixcorr) out.push_back({"pixcorr", std::move(all.pixcorr), {}, {}, true});
  if (ssim) out.push_back({"ssim", std::move(all.ssim), {}, {}, true});
}

void add_features(const Pairs& pairs, const ScoreOptions& options, const NetPlan& plan, const std::vector<bool>& wanted, std::vector<Raw>& out) {
  std::unique_ptr<models::EvalNet> net;
  try {
    net = models::load_eval_net(plan.kind, weights::StateDict::open(*plan.file));
  } catch (const Error& e) {
    throw Error(e.exit(), fmt::format("{} ({}: {} weights expected)", e.what(), plan.option, models::eval_net_name(plan.kind)));
  }
  std::vector<std::string> names;
  for (std::size_t k = 0; k < plan.scores.size(); ++k)
    if (wanted[k]) names.push_back(plan.scores[k]);
  const Network layers = [&](const at::Tensor& pictures) {
    const auto all = (*net)(models::eval_net_input(plan.kind, pictures, options.antialias));
    std::vector<at::Tensor> kept;
    for (std::size_t k = 0; k < all.size(); ++k)
      if (wanted[k]) kept.push_back(all[k]);
    return kept;
  };
  auto truth = pairs.embed(true, names, layers, 2 * options.batch_size), recon = pairs.embed(false, names, layers, 2 * options.batch_size);
  for (std::size_t k = 0; k < names.size(); ++k) {
    Raw raw{names[k], {}, {}, {}, plan.identification};
    const at::Tensor seen = truth[k].rows();
    const at::Tensor r = metrics::feature_correlations(seen, recon[k].features).index_select(1, recon[k].index());
    if (plan.identification) {
      raw.r = r;
    } else {
      const at::Tensor d = (1 - r.diagonal()).contiguous();
      raw.per_image.assign(d.const_data_ptr<double>(), d.const_data_ptr<double>() + d.numel());
      raw.control = r;
    }
    raw.diversity = metrics::mean_pairwise_correlation(recon[k].features, recon[k].counts());
    raw.truth_diversity = metrics::mean_pairwise_correlation(seen);
    truth[k] = recon[k] = Embedded();
    out.push_back(std::move(raw));
  }
}

// The rows of these ids, in their order.
void keep_only(Joined& joined, const std::vector<std::string>& ids, const std::string& path) {
  std::map<std::string, std::size_t> at;
  for (std::size_t i = 0; i < joined.ids.size(); ++i) at.emplace(joined.ids[i], i);
  Joined kept;
  kept.rows.resize(joined.rows.size());
  for (const auto& id : ids) {
    const auto it = at.find(id);
    if (it == at.end()) throw data_error("{}: image {} is not there, which is among those scored", path, id);
    kept.ids.push_back(id);
    for (std::size_t s = 0; s < joined.rows.size(); ++s) kept.rows[s].push_back(joined.rows[s][it->second]);
  }
  joined = std::move(kept);
}

Score summarise(const Raw& raw, const std::vector<std::int64_t>& chosen, const std::vector<std::string>& ids, const ScoreOptions& options) {
  Score s;
  s.name = raw.name;
  s.higher_is_better = raw.higher;
  const auto n = static_cast<std::int64_t>(chosen.size());
  const at::Tensor index = at::tensor(chosen, at::kLong);
  if (raw.r.defined()) {
    const at::Tensor r = raw.r.index_select(0, index).index_select(1, index);
    if (n < 2) {
      s.per_image.assign(n, kNaN);
      s.note = "two-way identification needs 2 images or more";
    } else {
      const auto wins = metrics::wins(r);
      s.per_image = metrics::n_way(wins, 2);
      const auto mean = [](const std::vector<double>& v) { return std::accumulate(v.begin(), v.end(), 0.0) / static_cast<double>(v.size()); };
      for (const std::int64_t ways : {std::int64_t{10}, std::int64_t{50}, n})
        if (ways <= n && ways > 2) s.details[ways == n ? "way_full_pool" : fmt::format("way_{}", ways)] = mean(metrics::n_way(wins, ways));
      s.details["rank_percentile"] = mean(metrics::rank_percentile(wins));
      for (const std::int64_t k : {1, 5, 10})
        if (k < n) s.details[fmt::format("top_{}", k)] = mean(metrics::top_k(wins, k));
      s.details["pool"] = static_cast<double>(n);
      if (options.shuffled && n > 2) {
        const auto other = derangement(n, options.seed);
        s.details["baseline_shuffled"] = mean(metrics::n_way(metrics::wins(r.index_select(1, at::tensor(other, at::kLong))), 2));
      }
    }
  } else {
    for (const auto i : chosen) s.per_image.push_back(raw.per_image[i]);
    if (raw.control.defined() && options.shuffled && n > 2) {
      const auto other = derangement(n, options.seed);
      double sum = 0;
      for (std::int64_t i = 0; i < n; ++i) sum += 1 - raw.control[chosen[i]][chosen[other[i]]].item<double>();
      s.details["baseline_shuffled"] = sum / static_cast<double>(n);
    }
  }
  if (!std::isnan(raw.diversity)) s.details["mean_pairwise_correlation"] = raw.diversity, s.details["mean_pairwise_correlation_truth"] = raw.truth_diversity;
  std::vector<std::string> undefined;
  for (std::size_t i = 0; i < s.per_image.size(); ++i)
    if (std::isnan(s.per_image[i])) undefined.push_back(ids[chosen[i]]);
  if (!undefined.empty() && s.note.empty()) {
    const auto shown = undefined.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(10, undefined.size()));
    s.note = fmt::format("undefined for {} constant image{}, left out: {}{}", undefined.size(), undefined.size() == 1 ? "" : "s", fmt::join(undefined.begin(), shown, ", "),
                         undefined.size() > 10 ? ", ..." : "");
  }
  metrics::BootstrapOptions how;
  how.resamples = options.resamples, how.seed = options.seed, how.threads = options.threads;
  const auto interval = metrics::bca_mean(s.per_image, how);
  s.value = interval.value, s.low = interval.low, s.high = interval.high, s.n = interval.n;
  return s;
}

}  // namespace

NetFiles NetFiles::in_folder(const std::string& folder) {
  NetFiles out;
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  for (const auto& file : files) {
    std::string name = file.filename().string();
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    const auto take = [&](std::string& slot, std::initializer_list<const char*> starts) {
      for (const char* start : starts)
        if (slot.empty() && name.starts_with(start)) slot = file.string();
    };
    take(out.alexnet, {"alexnet"});
    take(out.inception, {"inception"});
    take(out.clip, {"clip", "vit-l-14"});
    take(out.effnet, {"efficientnet", "effnet"});
    take(out.swav, {"swav", "resnet50"});
  }
  return out;
}

const std::vector<std::string>& image_score_names() {
  static const std::vector<std::string> names{"pixcorr", "ssim", "alexnet2", "alexnet5", "inception", "clip", "effnet", "swav", "brain_corr"};
  return names;
}

Scores score_images(const ImageSet& recon, const ImageSet& truth, const ImageSet* low_level, const ScoreOptions& options) {
  std::vector<Keys> keys{keys_of(truth), keys_of(recon)};
  if (low_level) keys.push_back(keys_of(*low_level));
  Joined joined = join(keys, options.allow_missing || !options.only.empty());
  if (!options.only.empty()) keep_only(joined, options.only, recon.path());
  Scores out;
  out.ids = joined.ids;
  const auto note_size = [&](const ImageSet& set) {
    if (set.shape() != "256x256") out.notes.push_back(fmt::format("{}: {} resized to 256x256, bilinear{}", set.path(), set.shape(), options.antialias ? ", antialiased" : ""));
  };
  note_size(truth), note_size(recon);
  if (low_level) {
    note_size(*low_level);
    out.notes.push_back(fmt::format("scored: {} x {} + {} x {}", options.blend, recon.path(), 1 - options.blend, low_level->path()));
  }
  if (!joined.missing.empty()) {
    const std::vector<std::string> first(joined.missing.begin(), joined.missing.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(10, joined.missing.size())));
    out.notes.push_back(fmt::format("{} images missing on one side, left out: {}{}", joined.missing.size(), fmt::join(first, ", "), joined.missing.size() > first.size() ? ", ..." : ""));
  }
  const auto wants = [&](const std::string& name) {
    return options.metrics.empty() || std::find(options.metrics.begin(), options.metrics.end(), name) != options.metrics.end();
  };
  const Pairs pairs(recon, truth, low_level, joined, options);
  if (options.truth_features) options.truth_features->start(truth.path(), joined.ids);
  if (options.recon_features && recon.pictures_of().empty()) options.recon_features->start(scored_set(recon, low_level), joined.ids);
  std::vector<Raw> raw;
  if (wants("pixcorr") || wants("ssim")) add_pixels(pairs, options, wants("pixcorr"), wants("ssim"), raw);
  const std::vector<NetPlan> plans{{EvalNetKind::alexnet, &options.nets.alexnet, {"alexnet2", "alexnet5"}, true, "--alexnet"},
                                   {EvalNetKind::inception, &options.nets.inception, {"inception"}, true, "--inception"},
                                   {EvalNetKind::clip, &options.nets.clip, {"clip"}, true, "--clip"},
                                   {EvalNetKind::effnet, &options.nets.effnet, {"effnet"}, false, "--effnet"},
                                   {EvalNetKind::swav, &options.nets.swav, {"swav"}, false, "--swav"}};
  for (const auto& plan : plans) {
    std::vector<bool> wanted;
    for (const auto& name : plan.scores) wanted.push_back(wants(name));
    if (std::find(wanted.begin(), wanted.end(), true) == wanted.end()) continue;
    if (!plan.file->empty()) {
      add_features(pairs, options, plan, wanted, raw);
      continue;
    }
    for (std::size_t k = 0; k < plan.scores.size(); ++k)
      if (wanted[k]) out.not_run.emplace_back(plan.scores[k], fmt::format("needs {} FILE ({} weights)", plan.option, models::eval_net_name(plan.kind)));
  }
  std::vector<std::int64_t> all(joined.ids.size());
  std::iota(all.begin(), all.end(), std::int64_t{0});
  for (const auto& r : raw) out.scores.push_back(summarise(r, all, joined.ids, options));
  for (const auto& [name, ids] : options.splits) {
    std::vector<std::int64_t> chosen;
    for (std::size_t i = 0; i < joined.ids.size(); ++i)
      if (std::find(ids.begin(), ids.end(), joined.ids[i]) != ids.end()) chosen.push_back(static_cast<std::int64_t>(i));
    if (chosen.empty()) throw data_error("split {}: none of its {} test ids is among the images scored", name, ids.size());
    out.notes.push_back(fmt::format("split {}: {} of its {} test ids scored", name, chosen.size(), ids.size()));
    for (const auto& r : raw) out.splits[name].push_back(summarise(r, chosen, joined.ids, options));
  }
  if (options.metrics.empty() || std::any_of(options.metrics.begin(), options.metrics.end(), [](const std::string& m) { return m.starts_with("brain_corr"); })) {
    BrainRun run;
    run.wants = wants, run.asked = options.metrics, run.splits = options.splits;
    run.embed = [&](const Network& gnet) { return pairs.embed(false, {"gnet"}, gnet, 4)[0].rows(); };
    run.bootstrap.resamples = options.resamples, run.bootstrap.seed = options.seed, run.bootstrap.threads = options.threads;
    add_brain_scores(out, options.brain, run);
  }
  if (!options.scene_labels.empty()) {
    SceneOptions scene;
    scene.wants = wants, scene.resamples = options.resamples, scene.seed = options.seed, scene.threads = options.threads, scene.splits = options.splits;
    const auto embed = [&](bool seen, const Network& tower) { return pairs.embed(seen, {"tower"}, tower, options.batch_size, Pairs::Size::as_stored)[0].rows(); };
    add_scene_image_scores(out, embed, SceneLabels::read(options.scene_labels), options.scorer, scene);
  }
  return out;
}

void add_baseline(Scores& scores, const std::string& name, const ImageSet& pictures, const ImageSet& truth, const ScoreOptions& options) {
  ScoreOptions how = options;
  how.only = scores.ids, how.shuffled = false, how.splits.clear();
  if (pictures.pictures_of().empty()) how.recon_features = nullptr;  // those of the reconstructions stay
  auto got = score_images(pictures, truth, nullptr, how);
  scores.baselines[name] = std::move(got.scores);
}

std::map<std::string, std::vector<std::string>> read_split_file(const std::string& path) {
  const Json json = read_json_file(path);
  const std::string stem = fs::path(path).stem().string();
  std::map<std::string, std::vector<std::string>> out;
  const auto add = [&](const std::string& name, const Json& variant) {
    if (!variant.is_object() || !variant.contains("test_ids") || !variant["test_ids"].is_array())
      throw data_error("{}: a list \"test_ids\" expected in variant {}", path, name);
    for (const auto& id : variant["test_ids"]) {
      if (!id.is_string() && !id.is_number_integer()) throw data_error("{}: {}: test_ids holds something that is neither a name nor a number", path, name);
      out[name].push_back(id.is_string() ? fs::path(id.get<std::string>()).stem().string() : std::to_string(id.get<std::int64_t>()));
    }
  };
  if (json.is_object() && json.contains("variants") && json["variants"].is_array()) {
    for (std::size_t k = 0; k < json["variants"].size(); ++k) add(json["variants"].size() == 1 ? stem : fmt::format("{}/{}", stem, k), json["variants"][k]);
  } else {
    add(stem, json);
  }
  return out;
}

}  // namespace me2::report
