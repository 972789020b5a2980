#include "train/align_fit.h"

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
#include "train/column_slabs.h"
#include "train/training_data.h"
#include "weights/model_writer.h"
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
  d.option("--block", block, "voxels or targets handled at once: fewer take less memory");
  d.option("--sessions", sessions, "first N sessions; 0: all");
  d.option("--split", split, "which test split is left out");
  d.option("--map-images", map_images, "images at most for the map from tokens to latents");
}

namespace {

constexpr std::int64_t kSlab = std::int64_t{1} << 30;  // bytes of voxels, and of tokens, in memory at once

// The tokens of these images, flattened, by blocks of columns.
Columns token_columns(const Targets& tokens, const std::vector<std::int32_t>& stimulus) {
  const auto slabs = std::make_shared<ColumnSlabs>(static_cast<std::int64_t>(stimulus.size()), tokens.tokens() * tokens.width(), tokens.half() ? 2 : 4, kSlab,
                                                   [&tokens, stimulus](auto first, auto count) { return tokens.token_columns(stimulus, first, count); });
  return [slabs, path = tokens.path()](auto first, auto count) {
    const at::Tensor columns = (*slabs)(first, count).to(at::kFloat);
    if (!columns.isfinite().all().template item<bool>()) throw data_error("{}: array clip_tokens: a value is not finite", path);
    return columns;
  };
}

std::map<std::int32_t, at::Tensor> shared_latents(const std::vector<InputPath>& stores, std::int64_t& hidden) {
  std::map<std::int32_t, std::pair<at::Tensor, int>> sums;
  for (const auto& path : stores) {
    const store::StageReader reader(path.path);
    const auto array = reader.array("latent");
    const auto rows = array.shape().at(0), width = array.shape().at(1);
    if (hidden && width != hidden) throw data_error("{}: array latent is {} wide, that of {} is {} wide", path.path, width, stores.front().path, hidden);
    hidden = width;
    std::map<std::int32_t, int> shown;
    for (std::int64_t i = 0; i < rows; ++i) ++shown[reader.stimulus()[static_cast<std::size_t>(i)]];
    const std::int64_t block = std::max<std::int64_t>(1, (std::int64_t{64} << 20) / (width * 4));
    for (std::int64_t first = 0; first < rows; first += block) {
      const at::Tensor values = at::empty({std::min(block, rows - first), width}, at::kFloat);
      array.read_rows(first, values.size(0), values.mutable_data_ptr<float>());
      if (!values.isfinite().all().item<bool>()) throw data_error("{}: array latent: a value in rows {} to {} is not finite", path.path, first, first + values.size(0) - 1);
      for (std::int64_t i = 0; i < values.size(0); ++i) {
        const auto stimulus = reader.stimulus()[static_cast<std::size_t>(first + i)];
        const at::Tensor share = values[i].to(at::kDouble) / shown.at(stimulus);
        auto& sum = sums[stimulus].first;
        sum = sum.defined() ? sum.add_(share) : share;
      }
    }
    for (const auto& [stimulus, times] : shown) ++sums[stimulus].second;
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
  std::vector<at::Tensor> rows;
  for (const auto stimulus : known) rows.push_back(latents.at(stimulus));
  const at::Tensor y = at::stack(rows);
  RidgeOptions options;
  options.dtype = at::kFloat;
  const RidgeSolver solver(y.size(0), tokens.tokens() * tokens.width(), token_columns(tokens, known), true, options.dtype, options.block);
  options.weights = false;  // at full size the map's own weight would take 7 GB, and predictions do without it
  const auto map = fit_ridge(solver, y.size(1), [&](auto first, auto count) { return y.narrow(1, first, count); }, options);
  report["map"] = {{"images", known.size()}, {"alpha", map.alpha[0].item<double>()}, {"leave_one_out_r2", map.r2}};
  const at::Tensor predicted = solver.predict(solver.project(y), map.alpha[0].item<double>(), static_cast<std::int64_t>(missing.size()), token_columns(tokens, missing));
  for (std::size_t i = 0; i < missing.size(); ++i) latents[missing[i]] = predicted[static_cast<std::int64_t>(i)].clone();
}

void check(const FitOptions& options) {
  const bool tokens = options.to == FitTo::tokens;
  if (tokens && !options.from_tokens) throw usage_error("--to tokens needs --from-tokens TARGETS");
  if (!tokens && options.targets.empty()) throw usage_error("--targets: latents of at least one other subject expected (me2-align apply writes them)");
  expect_at_least("--sessions", options.sessions, 0), expect_at_least("--map-images", options.map_images, 2), expect_at_least("--folds", options.folds, 2);
  if (tokens && options.pretrained) throw usage_error("--pretrained: a map to tokens needs no other part of a model; leave it out with --to tokens");
  if (options.block < 1) throw usage_error("--block must be 1 or more, {} given", options.block);
}

}  // namespace

Work fit_work(const FitOptions& options) {
  check(options);
  const SubjectTrials subject(options.subject.path, options.name, {options.sessions, options.split, false, false});
  std::set<std::int32_t> images;
  for (const auto row : subject.train()) images.insert(subject.stimulus()[static_cast<std::size_t>(row)]);
  const auto rows = static_cast<double>(options.each_trial ? subject.train().size() : images.size()), voxels = static_cast<double>(subject.voxels());
  double outputs = 0;
  if (options.to == FitTo::tokens && options.from_tokens) {
    const Targets targets(options.from_tokens->path, false, false, 0);
    outputs = static_cast<double>(targets.tokens() * targets.width());
  } else if (!options.targets.empty()) {
    outputs = static_cast<double>(store::StageReader(options.targets.front().path).array("latent").shape().at(1));
  }
  const double side = std::min(rows, voxels);  // of the Gram matrix
  Work work;
  work.flops = 2 * rows * voxels * side + 10 * side * side * side + 4 * side * rows * outputs + 2 * side * voxels * outputs;
  if (!options.single) work.flops *= 2;  // float64 goes at half the rate
  work.bytes = 4 * (rows * voxels + rows * outputs + voxels * outputs);
  const double slab = static_cast<double>(kSlab);
  work.held = static_cast<std::uint64_t>(4 * 8 * side * side + std::min(slab, 4 * rows * voxels) + std::min(slab, 4 * rows * outputs) + 8.0 * std::min<double>(options.block, outputs) * (rows + voxels));
  return work;
}

std::string fit_subject(const FitOptions& options, const std::string& provenance) {
  const c10::NoGradGuard no_grad;
  const bool tokens = options.to == FitTo::tokens;
  check(options);
  const SubjectTrials subject(options.subject.path, options.name, {options.sessions, options.split, false, false});
  std::unique_ptr<Targets> images;
  if (options.from_tokens) images = std::make_unique<Targets>(options.from_tokens->path, false, false, kSlab);

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
  ColumnSlabs betas(n, subject.voxels(), 4, kSlab, [&](auto first, auto count) { return subject.mean_columns(groups, first, count); });

  Columns y;
  if (tokens) {
    hidden = images->tokens() * images->width();
    y = token_columns(*images, stimulus);
  } else {
    std::vector<at::Tensor> rows;
    for (const auto s : stimulus) rows.push_back(latents.at(s));
    y = [all = at::stack(rows)](auto first, auto count) { return all.narrow(1, first, count); };
    latents.clear();
  }
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
  config["subjects"] = {subject.name()};
  config["input_sizes"] = {subject.voxels()};
  config["hidden_dim"] = hidden;
  if (tokens) {
    config["model"] = "ridge";
    config["ridge_output"] = "clip_tokens";
    config["clip_seq_dim"] = images->tokens();
    config["clip_emb_dim"] = images->width();
  }

  RidgeOptions ridge;
  ridge.alphas = options.alphas;
  ridge.intercept = !options.no_intercept;
  ridge.by = options.alpha_by;
  ridge.folds = options.folds;
  ridge.per_target = options.per_target;
  ridge.dtype = options.single ? at::kFloat : at::kDouble;
  ridge.block = options.block;
  std::map<std::string, weights::TensorShape> shapes;
  for (const auto& [name, tensor] : tensors) shapes[name] = {tensor.sizes().vec(), tensor.scalar_type()};
  const std::string weight = "ridge.linears.0.weight", bias = "ridge.linears.0.bias";
  shapes[weight] = {{hidden, subject.voxels()}, at::kFloat};
  shapes[bias] = {{hidden}, at::kFloat};
  weights::ModelWriter writer(options.model.path, shapes);
  for (const auto& [name, tensor] : tensors) writer.write(name, tensor);
  Progress progress("ridge", 2 * hidden);
  const RidgeSolver solver(n, subject.voxels(), [&](auto first, auto count) { return betas(first, count); }, ridge.intercept, ridge.dtype, ridge.block);
  const auto fit = fit_ridge(solver, hidden, y, ridge, [&](auto first, const at::Tensor& rows) { writer.write(weight, rows, first); },
                             [&](auto done, auto) { progress.set_done(done); });
  writer.write(bias, fit.bias);

  report["trials"] = subject.train().size();
  report["rows"] = n;
  report["voxels"] = subject.voxels();
  report["form"] = solver.dual() ? "dual" : "primal";
  report["alphas"] = fit.alphas;
  report["alpha"] = fit.alpha.median().item<double>();
  report["leave_one_out_r2"] = fit.r2;
  config["fit"] = report;
  if (!provenance.empty()) config["me2"] = parse_json(provenance, "provenance");
  writer.commit(config);
  return report.dump();
}

}  // namespace me2::train
