#include "models/brain_stage.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include "base/error.h"
#include "base/json.h"
#include "models/mindeye.h"
#include "nn/count_work.h"
#include "store/gather.h"

namespace me2::models {
namespace {

store::Array open_latents(const store::Group& group) {
  if (!group.has_array("latent"))
    throw data_error("{}: no array \"latent\": a store from another stage; it holds {}", group.path(), fmt::join(group.array_names(), ", "));
  return group.array("latent");
}

}  // namespace

BrainStage::BrainStage(const std::string& path, const weights::StateDict& model, const BrainOptions& options)
    : latents_(open_latents(store::Group::open(path))), options_(options) {
  const store::Group group = store::Group::open(path);
  const auto shape = latents_.shape();
  if (shape.empty()) throw data_error("{}: a single number; [sample, hidden] expected", latents_.path());
  const auto columns = store::read_columns(group, shape[0]);
  rows_ = average_rows(store::read_stimulus(group, shape[0]), options.average);
  columns_ = average_columns(columns, rows_, options.average);

  const weights::StateDict part = part_of(model, "backbone");
  nn::Loader loader(part, options.dtype, options.device);
  // A model trained without the retrieval head tells the tokens' width in its config, or by its prior.
  std::int64_t width = model.config().value("clip_emb_dim", std::int64_t{0});
  if (width == 0 && model.has("diffusion_prior.net.learned_query")) width = model.shape("diffusion_prior.net.learned_query").at(1);
  BackboneConfig config = BackboneConfig::detect(nn::Scope(loader), width);
  if (options.only == BrainHeads::clip && !config.clip) throw data_error("{}: has no retrieval head: --only clip asks for what is not there", model.path());
  const nn::Shape want = config.seq_len == 1 ? nn::Shape{config.hidden} : nn::Shape{config.seq_len, config.hidden};
  if (nn::Shape got(shape.begin() + 1, shape.end()); got != want && !(config.seq_len == 1 && got == nn::Shape{1, config.hidden}))
    throw data_error("{}: rows of [{}]; the backbone of {} expects [{}]", latents_.path(), fmt::join(got, ", "), model.path(), fmt::join(want, ", "));
  if (options.only == BrainHeads::clip) {
    config.lowlevel = false;  // its tensors are not even looked at
    for (const char* head : {"blin1.", "bnorm.", "bupsampler.", "b_maps_projector."}) loader.ignore(head);
  }
  net_.emplace(nn::Scope(loader), config);
  loader.finish();
  for (const auto& made : loader.made()) weight_bytes_ += made.tensor.nbytes();
}

store::StageSpec BrainStage::spec() const {
  const auto& c = net_->config;
  store::StageSpec spec;
  spec.kind = options_.only == BrainHeads::clip ? "clip" : "tokens";
  for (const auto& row : rows_) spec.stimulus.push_back(row.stimulus);
  if (options_.only == BrainHeads::all)
    spec.arrays.push_back({"tokens", {c.tokens, c.width}, store::DType::f4, {"token", "feature"}, "1", "backbone tokens: the prior's condition"});
  if (c.clip) spec.arrays.push_back({"clip", {c.tokens, c.width}, store::DType::f4, {"token", "feature"}, "1", "tokens of the retrieval head, not normalised"});
  if (net_->lowlevel)
    spec.arrays.push_back({"lowlevel", {c.head.latent_channels, c.head.latent_size(), c.head.latent_size()}, store::DType::f4, {"channel", "y", "x"}, "1",
                           "latent of the Stable Diffusion autoencoder, times 0.18215"});
  spec.build = [columns = columns_](store::Group& group) { store::write_columns(group, columns); };
  return spec;
}

Work BrainStage::work(std::int64_t batch) const {
  double trials = 0;
  for (const auto& row : rows_) trials += static_cast<double>(row.distinct);
  const auto& c = net_->config;
  const c10::InferenceMode guard;
  return nn::count_work([&] { net_->infer(nn::meta({batch, c.seq_len, c.hidden}), options_.only == BrainHeads::clip); }).times(trials / static_cast<double>(batch));
}

void BrainStage::run(store::StageWriter& out, std::int64_t batch, const std::function<void(std::int64_t)>& done) const {
  const c10::InferenceMode guard;
  const auto& c = net_->config;
  for (const auto& unit : out.pending()) {
    std::int64_t first = unit.first;
    while (first < unit.first + unit.count) {
      std::vector<std::int64_t> trials;  // distinct ones of as many rows as fit the batch
      std::int64_t last = first;
      for (; last < unit.first + unit.count; ++last) {
        const auto& row = rows_[static_cast<std::size_t>(last)];
        if (last > first && static_cast<std::int64_t>(trials.size()) + row.distinct > batch) break;
        for (const auto t : row.trials)
          if (std::find(trials.begin(), trials.end(), t) == trials.end()) trials.push_back(t);
      }
      const at::Tensor latent = at::empty({static_cast<std::int64_t>(trials.size()), c.seq_len, c.hidden}, at::kFloat);
      store::gather_finite_rows(latents_, trials, latent.mutable_data_ptr<float>());
      const auto found = net_->infer(latent.to(options_.device), options_.only == BrainHeads::clip);
      const auto write = [&](const char* name, const at::Tensor& outputs) {
        if (!outputs.defined()) return;
        std::vector<at::Tensor> averaged;
        for (std::int64_t r = first; r < last; ++r) {
          const auto& row = rows_[static_cast<std::size_t>(r)].trials;
          at::Tensor sum;
          for (const auto t : row) {
            const at::Tensor one = outputs[std::find(trials.begin(), trials.end(), t) - trials.begin()];
            sum = sum.defined() ? sum + one : one;
          }
          averaged.push_back(row.size() > 1 ? sum / static_cast<double>(row.size()) : sum);
        }
        const at::Tensor rows = at::stack(averaged).cpu().contiguous();
        out.write(name, {first, last - first}, rows.const_data_ptr<float>());
      };
      if (options_.only == BrainHeads::all) write("tokens", found.tokens);
      write("clip", found.clip);
      write("lowlevel", found.latent);
      done(last - first);
      first = last;
    }
  }
}

}  // namespace me2::models
