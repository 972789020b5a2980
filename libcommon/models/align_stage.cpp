#include "models/align_stage.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <ATen/ATen.h>

#include "base/error.h"
#include "base/json.h"
#include "models/mindeye.h"
#include "nn/row_linear.h"
#include "store/gather.h"

namespace me2::models {
namespace {

store::Array open_betas(const store::Group& group) {
  if (!group.has_array("betas"))
    throw data_error("{}: no array \"betas\": not a subject store; it holds {}", group.path(), fmt::join(group.array_names(), ", "));
  const store::Array betas = group.array("betas");
  if (betas.shape().size() != 2) throw data_error("{}: shape [{}]; [trial, voxel] expected", betas.path(), fmt::join(betas.shape(), ", "));
  return betas;
}

// For each trial, the trial of another image that takes its place.
std::vector<std::int64_t> shuffled(const std::vector<std::int64_t>& rows, const std::vector<std::int32_t>& stimulus) {
  std::map<std::int32_t, std::vector<std::int64_t>> trials;
  for (std::size_t i = 0; i < rows.size(); ++i) trials[stimulus[i]].push_back(rows[i]);
  if (trials.size() < 2) throw data_error("--brain shuffled: trials of two images or more expected, {} found", trials.size());
  std::vector<std::int32_t> images;
  for (const auto& [image, of] : trials) images.push_back(image);
  std::map<std::int32_t, const std::vector<std::int64_t>*> other;
  for (std::size_t i = 0; i < images.size(); ++i) other[images[i]] = &trials[images[(i + images.size() / 2) % images.size()]];
  std::map<std::int32_t, std::size_t> repeat;
  std::vector<std::int64_t> out;
  for (const auto image : stimulus) out.push_back(other[image]->at(repeat[image]++ % other[image]->size()));
  return out;
}

at::Tensor mean_betas(const store::Array& betas, const std::vector<std::int64_t>& trials) {  // [1, voxel]
  constexpr std::size_t kBlock = 256;
  at::Tensor sum = at::zeros({1, betas.shape()[1]}, at::kDouble);
  for (std::size_t first = 0; first < trials.size(); first += kBlock) {
    const std::vector<std::int64_t> some(trials.begin() + static_cast<std::ptrdiff_t>(first), trials.begin() + static_cast<std::ptrdiff_t>(std::min(first + kBlock, trials.size())));
    const at::Tensor x = at::empty({static_cast<std::int64_t>(some.size()), betas.shape()[1]}, at::kFloat);
    store::gather_finite_rows(betas, some, x.mutable_data_ptr<float>());
    sum += x.sum({0}, true, at::kDouble);
  }
  return (sum / static_cast<double>(trials.size())).to(at::kFloat);
}

const char* name_of(TrialSplit split) { return split == TrialSplit::train ? "train" : split == TrialSplit::test ? "test" : "all"; }

}  // namespace

AlignStage::AlignStage(const std::string& path, const weights::StateDict& model, const AlignOptions& options)
    : group_(store::Group::open(path)), betas_(open_betas(group_)) {
  const std::int64_t trials = betas_.shape()[0], voxels = betas_.shape()[1];
  const auto stimulus = store::read_stimulus(group_, trials);
  const auto columns = store::read_columns(group_, trials);
  const store::Column* split = nullptr;
  for (const auto& column : columns)
    if (column.name == "split") split = &column;
  if (!split && options.split != TrialSplit::all) throw data_error("{}: no array \"split\", which --split {} asks for", path, name_of(options.split));
  for (std::int64_t t = 0; t < trials; ++t) {
    const std::int32_t s = split ? split->values[static_cast<std::size_t>(t)] : 0;
    if (options.brain == Brain::mean && s == 0) mean_of_.push_back(t);
    if (options.split == TrialSplit::all ? s >= 0 : s == (options.split == TrialSplit::test)) rows_.push_back(t);
  }
  if (rows_.empty()) throw data_error("{}: no trial is left of {} with --split {}", path, trials, name_of(options.split));
  std::string subject = options.subject;
  const Json attributes = group_.attributes();
  if (const auto known = attributes.find("subject"); subject.empty() && known != attributes.end() && known->is_string()) subject = known->get<std::string>();
  if (subject.empty() && !options.ridge) throw usage_error("--subject: {} does not say whose betas it holds; subjNN expected", path);
  const std::int64_t position = options.ridge ? *options.ridge : static_cast<std::int64_t>(ridge_position(model, subject));
  const bool mlp = model.has(fmt::format("ridge.mlps.{}.0.weight", position));
  const std::string name = fmt::format("ridge.{}.{}", mlp ? "mlps" : "linears", position), first = name + (mlp ? ".0.weight" : ".weight");
  if (!model.has(first)) throw usage_error("--ridge {}: {} holds no tensor {}", position, model.path(), first);
  const auto shape = model.shape(first);
  if (shape.size() != 2 || shape[1] != voxels)
    throw data_error("{}: {} voxels; {} of {} ({}) expects {}", betas_.path(), voxels, name, model.path(), subject.empty() ? "by --ridge" : subject,
                     shape.size() == 2 ? shape[1] : 0);
  nn::Loader loader(model, options.dtype, options.device);
  if (mlp) mlp_.emplace(nn::Scope(loader).sub(name), shape[1], shape[0]);
  else ridge_.emplace(nn::Scope(loader).sub(name), shape[1], shape[0]);
  for (const auto& made : loader.made()) weight_bytes_ += made.tensor.nbytes();

  row_shape_ = {shape[0]};
  if (const Json& config = model.config(); config.value("ridge_output", "") == "clip_tokens") {
    const std::int64_t tokens = config.value("clip_seq_dim", 0), width = config.value("clip_emb_dim", 0);
    row_shape_ = {tokens, width};
    if (row_shape_[0] * row_shape_[1] != shape[0])
      throw data_error("{}: config.json says clip_seq_dim {} and clip_emb_dim {}, tensor {} has {} rows", model.path(), row_shape_[0], row_shape_[1], first, shape[0]);
  }
  std::vector<std::int32_t> kept;
  for (const auto t : rows_) kept.push_back(stimulus[static_cast<std::size_t>(t)]);
  const Average average = options.average.value_or(row_shape_.size() == 2 ? Average::repeats : Average::none);
  averaged_ = average_rows(kept, average);
  columns_ = average_columns(store::pick_rows(columns, rows_), averaged_, average);
  if (options.brain == Brain::shuffled) rows_ = shuffled(rows_, kept);
  if (options.brain == Brain::mean && mean_of_.empty()) throw data_error("{}: no training trial for --brain mean", path);
}

store::StageSpec AlignStage::spec() const {
  store::StageSpec spec;
  spec.kind = row_shape_.size() == 2 ? "clip_tokens" : "latent";
  for (const auto& row : averaged_) spec.stimulus.push_back(row.stimulus);
  if (row_shape_.size() == 2) spec.arrays = {{"clip_tokens", row_shape_, store::DType::f4, {"token", "feature"}, "1", "CLIP image tokens by ridge regression from voxels"}};
  else spec.arrays = {{"latent", row_shape_, store::DType::f4, {"hidden"}, "1", "shared-subject latent"}};
  spec.build = [columns = columns_](store::Group& group) { store::write_columns(group, columns); };
  return spec;
}

Work AlignStage::work(std::int64_t batch) const {
  const auto voxels = betas_.shape()[1], outputs = row_shape_.size() == 2 ? row_shape_[0] * row_shape_[1] : row_shape_[0];
  const auto trials = static_cast<double>(rows_.size()), weights = static_cast<double>(weight_bytes_);
  Work work;
  work.flops = trials * weights / 2;  // two for each weight of four bytes
  work.bytes = trials * static_cast<double>(4 * (voxels + outputs)) + weights * std::ceil(trials / static_cast<double>(batch));
  work.calls = 20 * trials;
  work.held = static_cast<std::uint64_t>(8 * batch * (voxels + outputs));
  work.weights = weight_bytes_;
  return work;
}

void AlignStage::run(store::StageWriter& out, std::int64_t batch, const std::function<void(std::int64_t)>& done) const {
  const std::int64_t voxels = betas_.shape()[1];
  at::Tensor mean;
  if (!mean_of_.empty()) mean = mean_betas(betas_, mean_of_);
  for (const auto& unit : out.pending())
    for (std::int64_t first = unit.first; first < unit.first + unit.count; first += batch) {
      const std::int64_t count = std::min(batch, unit.first + unit.count - first);
      std::vector<std::int64_t> trials;  // rows of the store, each once
      std::vector<std::vector<std::int64_t>> where(static_cast<std::size_t>(count));
      for (std::int64_t r = 0; r < count; ++r) {
        const auto begin = static_cast<std::ptrdiff_t>(trials.size());
        for (const auto t : averaged_[static_cast<std::size_t>(first + r)].trials) {
          const auto row = rows_[static_cast<std::size_t>(t)];
          const auto at = std::find(trials.begin() + begin, trials.end(), row);
          where[static_cast<std::size_t>(r)].push_back(at - trials.begin());
          if (at == trials.end()) trials.push_back(row);
        }
      }
      const auto all = static_cast<std::int64_t>(trials.size());
      const at::Tensor x = at::empty({all, voxels}, at::kFloat);
      if (mean.defined()) x.copy_(mean.expand_as(x));
      else store::gather_finite_rows(betas_, trials, x.mutable_data_ptr<float>());
      at::Tensor latent = mlp_ ? mlp_->rows(x) : nn::row_linear(x, *ridge_);
      if (std::any_of(where.begin(), where.end(), [](const auto& w) { return w.size() > 1; })) {
        std::vector<at::Tensor> means;
        for (const auto& w : where) means.push_back(latent.index_select(0, at::tensor(w, at::kLong)).sum({0}) / static_cast<double>(w.size()));
        latent = at::stack(means);
      }
      out.write(row_shape_.size() == 2 ? "clip_tokens" : "latent", {first, count}, latent.const_data_ptr<float>());
      done(count);
    }
}

}  // namespace me2::models
