#include "diffusion/prior_stage.h"

#include <algorithm>
#include <filesystem>

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include "base/error.h"
#include "base/json.h"
#include "base/random.h"
#include "models/mindeye.h"
#include "models/prior_inference.h"
#include "nn/count_work.h"
#include "store/gather.h"

namespace me2::diffusion {
namespace {

store::Array open_tokens(const store::Group& group) {
  if (!group.has_array("tokens"))
    throw data_error("{}: no array \"tokens\": a store from another stage; it holds {}", group.path(), fmt::join(group.array_names(), ", "));
  return group.array("tokens");
}

}  // namespace

PriorStage::PriorStage(const std::string& path, const weights::StateDict& model, const PriorStageOptions& options)
    : tokens_(open_tokens(store::Group::open(path))), options_(options) {
  // A draw's number is the upper half of its noise key: see noise().
  if (options.draws < 1 || options.draws > 65536) throw usage_error("--draws: 1 to 65536 expected, {} given", options.draws);
  const store::Group group = store::Group::open(path);
  const auto shape = tokens_.shape();
  const weights::StateDict part = models::part_of(model, "diffusion_prior");
  nn::Loader loader(part, options.dtype, options.device);
  auto config = models::DiffusionPriorConfig::detect(nn::Scope(loader));
  if (model.config().contains("out_norm_eps")) config.net.out_norm_eps = model.config()["out_norm_eps"].get<double>();
  if (options.autocast_eps) config.net.out_norm_eps = 1e-3;
  if (shape.size() != 3 || shape[1] != config.net.tokens || shape[2] != config.net.width)
    throw data_error("{}: shape [{}]; the prior of {} expects [sample, {}, {}]", tokens_.path(), fmt::join(shape, ", "), model.path(), config.net.tokens, config.net.width);
  stimulus_ = store::read_stimulus(group, shape[0]);
  plan_ = prior_plan(config.timesteps, options.steps);
  prior_.emplace(nn::Scope(loader), config);
  loader.finish();
  for (const auto& made : loader.made()) weight_bytes_ += made.tensor.nbytes();

  std::vector<std::int64_t> from;
  std::vector<std::int32_t> draw;
  for (std::int64_t s = 0; s < shape[0]; ++s)
    for (std::int64_t d = 0; d < (options.mean ? 1 : options.draws); ++d) from.push_back(s), draw.push_back(static_cast<std::int32_t>(d));
  columns_ = store::pick_rows(store::read_columns(group, shape[0]), from);
  std::erase_if(columns_, [](const auto& c) { return c.name == "draw"; });
  if (options.draws > 1 && !options.mean) columns_.push_back({"draw", draw});

  // The images asked for are never recalled themselves.
  if (!options.recall.empty()) {
    if (!group.has_array("clip") || group.array("clip").shape() != shape)
      throw data_error("{}: --recall needs the retrieval head's output, an array \"clip\" of the shape of \"tokens\"; it holds {}", path, fmt::join(group.array_names(), ", "));
    head_ = group.array("clip");
    memory_.emplace(options.recall, shape[1], shape[2], std::set<std::int32_t>(stimulus_.begin(), stimulus_.end()), options.temperature);
  }
  if (!options.noise.empty()) {
    const store::Group noise = store::Group::open(options.noise);
    if (!noise.has_array("noise")) throw data_error("{}: no array \"noise\"; it holds {}", noise.path(), fmt::join(noise.array_names(), ", "));
    given_noise_ = noise.array("noise");
    const store::Shape want{plan_.draws, shape[0] * options.draws, shape[1], shape[2]};
    if (given_noise_->shape() != want)
      throw data_error("{}: shape [{}]; [{}] expected: {} calls of --steps {}, {} rows of {} tokens", given_noise_->path(), fmt::join(given_noise_->shape(), ", "),
                       fmt::join(want, ", "), plan_.draws, options.steps, want[1], want[2]);
  }
}

store::StageSpec PriorStage::spec() const {
  const auto& c = prior_->net.config;
  store::StageSpec spec;
  spec.kind = "clip_tokens";
  for (const auto id : stimulus_) spec.stimulus.insert(spec.stimulus.end(), static_cast<std::size_t>(options_.draws / draws_in_row()), id);
  spec.arrays = {{"clip_tokens", {c.tokens, c.width}, store::DType::f4, {"token", "feature"}, "1", "CLIP image tokens drawn from the prior"}};
  if (memory_) spec.arrays.push_back({"recalled", {c.tokens, c.width}, store::DType::f4, {"token", "feature"}, "1", "tokens of real images as the retrieval head weights them"});
  spec.build = [columns = columns_](store::Group& group) { store::write_columns(group, columns); };
  return spec;
}

at::Tensor PriorStage::noise(std::int64_t call, std::int64_t first, std::int64_t count) const {
  const auto& c = prior_->net.config;
  const std::int64_t size = c.tokens * c.width;
  const at::Tensor values = at::empty({count, c.tokens, c.width}, at::kFloat);
  float* to = values.mutable_data_ptr<float>();
  if (given_noise_) {
    given_noise_->read_bytes({{call, first, 0, 0}, {1, count, c.tokens, c.width}}, store::DType::f4, to);
    return values.to(options_.device);
  }
  for (std::int64_t i = 0; i < count; ++i) {
    // A key of its own for every (stimulus, draw of the sample, call), so that neither batch nor order nor --draws changes a value.
    const std::int64_t row = first + i;
    const auto sample_draw = static_cast<std::uint32_t>(row % options_.draws);
    const NoiseKey key{options_.seed, "prior", stimulus_[static_cast<std::size_t>(row / options_.draws)], (sample_draw << 16) + static_cast<std::uint32_t>(call)};
    fill_normal({to + i * size, static_cast<std::size_t>(size)}, key);
  }
  return values.to(options_.device);
}

void PriorStage::begin_saved_noise() {
  const auto& c = prior_->net.config;
  store::Group group = store::Group::create(options_.save_noise + ".partial");
  store::ArraySpec spec;
  const auto rows = static_cast<std::int64_t>(stimulus_.size()) * options_.draws;
  spec.shape = {plan_.draws, rows, c.tokens, c.width};
  spec.chunks = {plan_.draws, 1, c.tokens, c.width};
  spec.dimension_names = {"call", "sample", "token", "feature"};
  spec.units = "1";
  spec.long_name = "standard normal draws, the first being the starting latent";
  saved_noise_ = group.create_array("noise", spec);
}

void PriorStage::keep_noise(std::int64_t first, std::int64_t count) const {
  const auto& c = prior_->net.config;
  for (std::int64_t row = first; row < first + count; ++row) {
    std::vector<at::Tensor> calls;
    for (std::int64_t draw = 0; draw < plan_.draws; ++draw) calls.push_back(noise(draw, row, 1).cpu());
    const at::Tensor all = at::stack(calls).contiguous();
    store::Array array = *saved_noise_;
    array.write_bytes({{0, row, 0, 0}, {plan_.draws, 1, c.tokens, c.width}}, store::DType::f4, all.const_data_ptr());
  }
}

Work PriorStage::work(std::int64_t batch) const {
  const auto& c = prior_->net.config;
  const c10::InferenceMode guard;
  const auto tokens = [&] { return nn::meta({batch, c.tokens, c.width}, options_.dtype); };
  const auto rows = static_cast<double>(stimulus_.size()) * static_cast<double>(options_.draws);
  return nn::count_work([&] { prior_->net.guided(tokens(), nn::meta({batch}, at::kLong), tokens(), options_.guidance); })
      .times(static_cast<double>(plan_.steps.size()) * rows / static_cast<double>(batch));
}

void PriorStage::run(store::StageWriter& out, std::int64_t batch, const std::function<void(std::int64_t)>& done) {
  const c10::InferenceMode guard;
  const auto& c = prior_->net.config;
  const std::int64_t size = c.tokens * c.width;
  std::optional<models::PriorInference> fast;
  if (options_.device.is_cpu()) fast.emplace(prior_->net);
  if (!options_.save_noise.empty()) begin_saved_noise();
  const std::int64_t in_row = draws_in_row(), step = std::max<std::int64_t>(1, batch / in_row);
  for (const auto& unit : out.pending())
    for (std::int64_t first = unit.first; first < unit.first + unit.count; first += step) {
      const std::int64_t rows = std::min(step, unit.first + unit.count - first), from = first * in_row, count = rows * in_row;
      at::Tensor brain = at::empty({count, c.tokens, c.width}, at::kFloat);
      std::vector<std::int64_t> samples;
      for (std::int64_t i = 0; i < count; ++i) samples.push_back((from + i) / options_.draws);
      store::gather_finite_rows(tokens_, samples, brain.mutable_data_ptr<float>());
      brain = brain.to(options_.device);
      const auto denoise = [&](const at::Tensor& x, std::int64_t time) {
        if (fast) return (*fast)(x, time, brain, options_.guidance);
        const at::Tensor times = at::full({count}, time, at::TensorOptions().dtype(at::kLong).device(options_.device));
        return prior_->net.guided(x, times, brain, options_.guidance).to(at::kFloat);
      };
      at::Tensor tokens = sample_prior(prior_->noise_scheduler, plan_, denoise, [&](std::int64_t call) { return noise(call, from, count); }).cpu();
      if (options_.mean) tokens = tokens.view({rows, in_row, c.tokens, c.width}).mean(1);
      tokens = tokens.contiguous();
      out.write("clip_tokens", {first, rows}, tokens.const_data_ptr<float>());
      if (memory_) {
        const at::Tensor head = at::empty({rows, c.tokens, c.width}, at::kFloat);  // of a sample's every draw
        for (std::int64_t i = 0; i < rows; ++i) head_->read_rows((first + i) * in_row / options_.draws, 1, head.mutable_data_ptr<float>() + i * size);
        out.write("recalled", {first, rows}, memory_->recall(head).const_data_ptr<float>());
      }
      if (saved_noise_) keep_noise(from, count);
      done(rows);
    }
  if (saved_noise_) std::filesystem::rename(options_.save_noise + ".partial", options_.save_noise);
}

}  // namespace me2::diffusion
