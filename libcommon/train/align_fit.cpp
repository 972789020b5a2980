#include "train/align_fit.h"

#include <cmath>
#include <map>
#include <set>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/random.h"
#include "models/ridge.h"
#include "store/stage.h"
#include "train/training_data.h"
#include "weights/state_dict.h"

namespace me2::train {

void FitOptions::describe(Describe& d) {
  d.positional("SUBJECT", subject, "subject store; its training trials are used");
  d.positional("MODEL", model, "model directory to write");
  d.option("--subject", name, "name of the subject in the new model (default: the store's `subject` attribute, else its file name)");
  d.option("--targets", targets, "latents of other subjects (me2-align apply), joined by stimulus");
  d.option("--from-tokens", from_tokens, "target store with clip_tokens: gives targets for images that no other subject saw, or all of them with --to tokens");
  d.option("--pretrained", pretrained, "the model whose shared space this is; its other parts are taken over");
  d.option("--to", to, "what the voxels are mapped to: the shared latent, or image tokens (closed-form baseline)");
  d.option("--alphas", alphas, "ridge penalties to choose from (default: 10 around the mean eigenvalue of the Gram matrix)");
  d.option("--alpha-by", alpha_by, "how alpha is chosen");
  d.option("--folds", folds, "contiguous folds of --alpha-by k-fold");
  d.option("--per-target", per_target, "an alpha for each target instead of one for all");
  d.option("--no-intercept", no_intercept, "no intercept, and no centring");
  d.option("--each-trial", each_trial, "fit single trials instead of the mean of an image's repeats");
  d.option("--single", single, "matrix products in float32 (faster; eigenvectors stay in float64)");
  d.option("--sessions", sessions, "first N sessions; 0: all");
  d.option("--split", split, "which test split is left out");
  d.option("--map-images", map_images, "images at most for the map from tokens to latents");
}

namespace {

// Ten penalties around the mean eigenvalue of the smaller Gram matrix, a thousandth to a thousandfold.
std::vector<double> default_alphas(const at::Tensor& x, bool intercept) {
  const at::Tensor centred_sum = intercept ? (x.square().sum(at::kDouble) - x.sum({0}, false, at::kDouble).square().sum() / x.size(0)) : x.square().sum(at::kDouble);
  const double mean = std::max(1e-12, centred_sum.item<double>() / static_cast<double>(std::min(x.size(0), x.size(1))));
  std::vector<double> out;
  for (int i = 0; i < 10; ++i) out.push_back(mean * std::pow(10.0, -3 + 6.0 * i / 9));
  return out;
}

std::map<std::int32_t, at::Tensor> shared_latents(const std::vector<InputPath>& stores, std::int64_t& hidden) {
  std::map<std::int32_t, std::pair<at::Tensor, int>> sums;
  for (const auto& path : stores) {
    const store::StageReader reader(path.path);
    const auto array = reader.array("latent");
    const auto rows = array.shape().at(0), width = array.shape().at(1);
    if (hidden && width != hidden) throw data_error("{}: array latent is {} wide, that of {} is {} wide", path.path, width, stores.front().path, hidden);
    hidden = width;
    at::Tensor values = at::empty({rows, width}, at::kFloat);
    array.read_rows(0, rows, values.mutable_data_ptr<float>());
    std::map<std::int32_t, std::vector<std::int64_t>> by_image;
    for (std::int64_t i = 0; i < rows; ++i) by_image[reader.stimulus()[static_cast<std::size_t>(i)]].push_back(i);
    for (const auto& [stimulus, where] : by_image) {
      const at::Tensor mean = values.index_select(0, at::tensor(where, at::kLong)).mean({0}, false, at::kDouble);
      auto& [sum, count] = sums[stimulus];
      sum = sum.defined() ? sum + mean : mean;
      ++count;
    }
  }
  std::map<std::int32_t, at::Tensor> out;
  for (const auto& [stimulus, sum] : sums) out[stimulus] = (sum.first / sum.second).to(at::kFloat);
  return out;
}

// Latents of images that nobody saw, from a ridge of tokens -> latent over those that somebody did.
void predict_missing(std::map<std::int32_t, at::Tensor>& latents, const std::vector<std::int32_t>& wanted, const Targets& tokens, int limit, Json& report) {
  std::vector<std::int32_t> known, missing;
  for (const auto& [stimulus, latent] : latents)
    if (tokens.knows(stimulus)) known.push_back(stimulus);
  for (const auto stimulus : std::set<std::int32_t>(wanted.begin(), wanted.end()))
    if (!latents.contains(stimulus) && tokens.knows(stimulus)) missing.push_back(stimulus);
  report["images_predicted"] = missing.size();
  if (missing.empty()) return;
  if (known.size() < 2) throw data_error("{}: {} images of --targets have tokens: too few to learn the map from tokens to latents", tokens.path(), known.size());
  Random random(0, "align-fit/map");
  random.shuffle(std::span<std::int32_t>(known));
  if (static_cast<int>(known.size()) > limit) known.resize(static_cast<std::size_t>(limit));
  std::sort(known.begin(), known.end());
  const at::Tensor x = tokens.get("clip_tokens", known).flatten(1);
  std::vector<at::Tensor> rows;
  for (const auto stimulus : known) rows.push_back(latents.at(stimulus));
  const at::Tensor y = at::stack(rows);
  RidgeOptions options;
  options.alphas = default_alphas(x, true);
  options.dtype = at::kFloat;
  const auto map = fit_ridge(x, y.size(1), [&](auto first, auto count) { return y.narrow(1, first, count); }, options);
  report["map"] = {{"images", known.size()}, {"alpha", map.alpha[0].item<double>()}, {"leave_one_out_r2", map.r2}};
  for (std::size_t first = 0; first < missing.size(); first += 512) {
    const std::vector<std::int32_t> some(missing.begin() + static_cast<std::ptrdiff_t>(first),
                                         missing.begin() + static_cast<std::ptrdiff_t>(std::min(missing.size(), first + 512)));
    const at::Tensor predicted = at::linear(tokens.get("clip_tokens", some).flatten(1), map.weight, map.bias);
    for (std::size_t i = 0; i < some.size(); ++i) latents[some[i]] = predicted[static_cast<std::int64_t>(i)].clone();
  }
}

}  // namespace

std::string fit_subject(const FitOptions& options, const std::string& provenance) {
  const c10::NoGradGuard no_grad;
  const bool tokens = options.to == FitTo::tokens;
  if (tokens && !options.from_tokens) throw usage_error("--to tokens needs --from-tokens TARGETS");
  if (!tokens && options.targets.empty()) throw usage_error("--targets: latents of at least one other subject expected (me2-align apply writes them)");
  const SubjectTrials subject(options.subject.path, options.name, {options.sessions, options.split, false});
  std::unique_ptr<Targets> images;
  if (options.from_tokens) images = std::make_unique<Targets>(options.from_tokens->path, false, false);

  Json report;
  report["subject"] = subject.name();
  std::int64_t hidden = 0;
  std::map<std::int32_t, at::Tensor> latents;
  std::vector<std::int32_t> seen;
  for (const auto row : subject.train()) seen.push_back(subject.stimulus()[static_cast<std::size_t>(row)]);
  if (!tokens) {
    latents = shared_latents(options.targets, hidden);
    std::set<std::int32_t> shared;
    for (const auto stimulus : seen)
      if (latents.contains(stimulus)) shared.insert(stimulus);
    report["images_shared"] = shared.size();
    if (images) predict_missing(latents, seen, *images, options.map_images, report);
  }
  const auto usable = [&](std::int32_t stimulus) { return tokens ? images->knows(stimulus) : latents.contains(stimulus); };

  // One row per image (mean of its repeats) or per trial.
  std::map<std::int32_t, std::vector<std::int64_t>> by_image;
  std::vector<std::vector<std::int64_t>> groups;
  std::vector<std::int32_t> stimulus;
  for (const auto row : subject.train()) {
    const auto s = subject.stimulus()[static_cast<std::size_t>(row)];
    if (!usable(s)) continue;
    if (options.each_trial) groups.push_back({row}), stimulus.push_back(s);
    else by_image[s].push_back(row);
  }
  for (const auto& [s, rows] : by_image) groups.push_back(rows), stimulus.push_back(s);
  if (groups.size() < 2)
    throw data_error("{}: {} of {} training trials show an image with a target: nothing to fit (give more --targets, or --from-tokens)", subject.path(), groups.size(), seen.size());
  const auto n = static_cast<std::int64_t>(groups.size());
  at::Tensor x = at::empty({n, subject.voxels()}, at::kFloat);
  for (std::int64_t i = 0; i < n; ++i) x[i].copy_(subject.betas(groups[static_cast<std::size_t>(i)]).mean({0}));

  at::Tensor y;
  if (tokens) {
    y = images->get("clip_tokens", stimulus).flatten(1);
  } else {
    y = at::empty({n, hidden}, at::kFloat);
    for (std::int64_t i = 0; i < n; ++i) y[i].copy_(latents.at(stimulus[static_cast<std::size_t>(i)]));
  }
  RidgeOptions ridge;
  ridge.alphas = options.alphas.empty() ? default_alphas(x, !options.no_intercept) : options.alphas;
  ridge.intercept = !options.no_intercept;
  ridge.by = options.alpha_by;
  ridge.folds = options.folds;
  ridge.per_target = options.per_target;
  ridge.dtype = options.single ? at::kFloat : at::kDouble;
  Progress progress("ridge", 0);
  const auto fit = fit_ridge(x, y.size(1), [&](auto first, auto count) { return y.narrow(1, first, count); }, ridge);

  std::map<std::string, at::Tensor> tensors;
  Json config = Json::object();
  if (options.pretrained && !tokens) {
    const auto dict = weights::StateDict::open(options.pretrained->path);
    if (!dict.has("backbone.backbone_linear.weight")) throw data_error("{}: no backbone (tensor backbone.backbone_linear.weight is missing)", dict.path());
    nn::Loader shapes(dict);
    if (const auto width = models::Ridge::detect_hidden(nn::Scope(shapes).sub("ridge")); width != hidden)
      throw data_error("{}: its latent is {} wide, that of {} is {} wide: latents of another model", dict.path(), width, options.targets.front().path, hidden);
    for (const auto& name : dict.names())
      if (!name.starts_with("ridge.")) tensors[name] = dict.get(name);
    config = dict.config();
    config.erase("subject_map");
  }
  tensors["ridge.linears.0.weight"] = fit.weight;
  tensors["ridge.linears.0.bias"] = fit.bias;
  config["subjects"] = {subject.name()};
  config["input_sizes"] = {subject.voxels()};
  config["hidden_dim"] = y.size(1);
  if (tokens) {
    config["model"] = "ridge";
    config["ridge_output"] = "clip_tokens";
    config["clip_seq_dim"] = images->tokens();
    config["clip_emb_dim"] = images->width();
  }
  report["trials"] = subject.train().size();
  report["rows"] = n;
  report["voxels"] = subject.voxels();
  report["form"] = n <= subject.voxels() ? "dual" : "primal";
  report["alphas"] = ridge.alphas;
  report["alpha"] = fit.alpha.median().item<double>();
  report["leave_one_out_r2"] = fit.r2;
  config["fit"] = report;
  if (!provenance.empty()) config["me2"] = parse_json(provenance, "provenance");
  weights::save_model_dir(options.model.path, config, tensors);
  return report.dump();
}

}  // namespace me2::train
