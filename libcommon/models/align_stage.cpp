#include "models/align_stage.h"

#include <ATen/ATen.h>

#include "base/error.h"
#include "base/json.h"
#include "models/mindeye.h"
#include "nn/row_linear.h"

namespace me2::models {
namespace {

store::Array open_betas(const store::Group& group) {
  if (!group.has_array("betas"))
    throw data_error("{}: no array \"betas\": not a subject store; it holds {}", group.path(), fmt::join(group.array_names(), ", "));
  const store::Array betas = group.array("betas");
  if (betas.shape().size() != 2) throw data_error("{}: shape [{}]; [trial, voxel] expected", betas.path(), fmt::join(betas.shape(), ", "));
  return betas;
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
    if (options.split == TrialSplit::all ? s >= 0 : s == (options.split == TrialSplit::test)) rows_.push_back(t);
  }
  if (rows_.empty()) throw data_error("{}: no trial is left of {} with --split {}", path, trials, name_of(options.split));
  for (const auto t : rows_) stimulus_.push_back(stimulus[static_cast<std::size_t>(t)]);
  columns_ = store::pick_rows(columns, rows_);

  std::string subject = options.subject;
  const Json attributes = group_.attributes();
  if (const auto known = attributes.find("subject"); subject.empty() && known != attributes.end() && known->is_string()) subject = known->get<std::string>();
  if (subject.empty() && !options.ridge) throw usage_error("--subject: {} does not say whose betas it holds; subjNN expected", path);
  const std::int64_t position = options.ridge ? *options.ridge : static_cast<std::int64_t>(ridge_position(model, subject));
  const std::string name = fmt::format("ridge.linears.{}", position);
  if (!model.has(name + ".weight")) throw usage_error("--ridge {}: {} holds no tensor {}.weight", position, model.path(), name);
  const auto shape = model.shape(name + ".weight");
  if (shape.size() != 2 || shape[1] != voxels)
    throw data_error("{}: {} voxels; {} of {} ({}) expects {}", betas_.path(), voxels, name, model.path(), subject.empty() ? "by --ridge" : subject,
                     shape.size() == 2 ? shape[1] : 0);
  nn::Loader loader(model, options.dtype);
  ridge_.emplace(nn::Scope(loader).sub(name), shape[1], shape[0]);
}

store::StageSpec AlignStage::spec() const {
  store::StageSpec spec;
  spec.kind = "latent";
  spec.stimulus = stimulus_;
  spec.arrays = {{"latent", {ridge_->weight.size(0)}, store::DType::f4, {"hidden"}, "1", "shared-subject latent"}};
  spec.build = [columns = columns_](store::Group& group) { store::write_columns(group, columns); };
  return spec;
}

std::uint64_t AlignStage::weight_bytes() const { return ridge_->weight.nbytes() + ridge_->bias.nbytes(); }

void AlignStage::run(store::StageWriter& out, std::int64_t batch, const std::function<void(std::int64_t)>& done) const {
  const std::int64_t voxels = betas_.shape()[1];
  for (const auto& unit : out.todo())
    for (std::int64_t first = unit.first; first < unit.first + unit.count; first += batch) {
      const std::int64_t count = std::min(batch, unit.first + unit.count - first);
      const at::Tensor x = at::empty({count, voxels}, at::kFloat);
      for (std::int64_t i = 0; i < count;) {  // neighbouring trials in one read
        std::int64_t n = 1;
        const std::int64_t row = rows_[static_cast<std::size_t>(first + i)];
        while (i + n < count && rows_[static_cast<std::size_t>(first + i + n)] == row + n) ++n;
        betas_.read_rows(row, n, x.mutable_data_ptr<float>() + i * voxels);
        i += n;
      }
      const at::Tensor latent = nn::row_linear(x, *ridge_);
      out.write("latent", {first, count}, latent.const_data_ptr<float>());
      done(count);
    }
}

}  // namespace me2::models
