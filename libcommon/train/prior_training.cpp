#include "train/prior_training.h"

#include <cmath>
#include <filesystem>
#include <numeric>
#include <span>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/GradMode.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/signals.h"
#include "nn/count_work.h"
#include "store/gather.h"
#include "store/stage.h"

namespace me2::train {
namespace fs = std::filesystem;

void PriorTrainOptions::describe(Describe& d) {
  d.positional("TOKENS", tokens, "stage store with tokens [sample, T, D] (me2-embed brain): the conditions");
  d.positional("TARGETS", targets, "target store with clip_tokens [sample, T, D], joined by stimulus");
  d.positional("MODEL", model, "model directory to write; grows in MODEL.partial");
  d.option("--pretrained", pretrained, "start from the prior of this model");
  d.option("--epochs", epochs, "number of epochs");
  d.option("--depth", depth, "layers (default 6)");
  d.option("--heads", heads, "attention heads (default: width / dim-head)");
  d.option("--dim-head", dim_head, "width of a head (default 52, or the largest divisor of the width up to 52)");
  d.option("--max-lr", max_lr, "largest learning rate");
  d.option("--weight-decay", weight_decay, "AdamW's decoupled decay");
  d.option("--condition-drop", condition_drop, "probability of dropping the brain and the image tokens");
  d.option("--clip-gradient", clip_gradient, "clip the gradient's norm to this; 0: never");
  d.option("--ema", ema, "decay of an exponential moving average of the weights, which is then what is saved; 0: none");
  d.option("--schedule", schedule, "learning rate over the steps");
  d.option("--checkpoint-interval", checkpoint_interval, "epochs between checkpoints");
}

void PriorTrainOptions::check() const {
  const auto size = [](const char* option, const std::optional<std::int64_t>& value) { expect_at_least(option, static_cast<double>(value.value_or(1)), 1); };
  size("--depth", depth), size("--heads", heads), size("--dim-head", dim_head);
  expect_at_least("--epochs", epochs, 1), expect_at_least("--checkpoint-interval", checkpoint_interval, 1);
  expect_at_least("--weight-decay", weight_decay, 0), expect_at_least("--clip-gradient", clip_gradient, 0);
  expect_above_zero("--max-lr", max_lr);
  expect_share("--condition-drop", condition_drop);
  expect_below_one("--ema", ema);
}

namespace {

models::MindEyeConfig prior_config(const PriorTrainOptions& options, const store::Shape& shape, weights::StateDict& dict) {
  models::MindEyeConfig config;
  config.backbone.tokens = shape[1];
  config.backbone.width = shape[2];
  if (options.pretrained) {
    dict = weights::StateDict::open(options.pretrained->path);
    nn::Loader loader(dict);
    const auto found = models::MindEyeConfig::detect(loader);
    if (!found.with_prior) throw data_error("{}: no prior to start from (tensor diffusion_prior.net.learned_query is missing)", dict.path());
    config.prior = found.prior;
    const auto refuse = [&](const char* option, const std::optional<std::int64_t>& asked, std::int64_t there) {
      if (asked && *asked != there) throw data_error("{} {}: the pretrained model {} has {}", option, *asked, dict.path(), there);
    };
    refuse("--depth", options.depth, found.prior.net.depth);
    refuse("--heads", options.heads, found.prior.net.heads);
    refuse("--dim-head", options.dim_head, found.prior.net.dim_head);
    if (config.prior.net.tokens != shape[1] || config.prior.net.width != shape[2])
      throw data_error("{}: its prior is for [{}, {}] tokens, {} has [{}, {}]", dict.path(), config.prior.net.tokens, config.prior.net.width, options.tokens.path, shape[1], shape[2]);
  } else {
    std::int64_t dim_head = options.dim_head.value_or(0);
    for (std::int64_t d = std::min<std::int64_t>(52, shape[2]); dim_head == 0 && d > 0; --d)
      if (shape[2] % d == 0) dim_head = d;
    config.match_prior(options.depth.value_or(6), options.heads.value_or(std::max<std::int64_t>(1, shape[2] / dim_head)), dim_head);
  }
  config.with_backbone = false;
  return config;
}

}  // namespace

namespace {

// Tokens and the image tokens they are to become: of the same images, of the same shape.
void check_pairs(const store::StageReader& reader, const PriorTrainOptions& options, const Targets& targets) {
  targets.require(reader.stimulus(), options.tokens.path);
  const auto shape = reader.array("tokens").shape();
  if (reader.samples() < 1) throw data_error("{}: no sample to train on", options.tokens.path);
  if (shape.size() != 3 || shape[1] != targets.tokens() || shape[2] != targets.width())
    throw data_error("{}: array tokens has shape [{}], clip_tokens of {} are [{}, {}]", options.tokens.path, fmt::join(shape, ", "), options.targets.path,
                     targets.tokens(), targets.width());
}

}  // namespace

Work prior_training_work(const PriorTrainOptions& options, const TrainContext& context) {
  options.check();
  const store::StageReader reader(options.tokens.path);
  const auto shape = reader.array("tokens").shape();
  check_pairs(reader, options, Targets(options.targets.path, false, false, 0));
  weights::StateDict dict;
  const auto config = prior_config(options, shape, dict);
  nn::Initialiser source(0, at::kMeta);
  const models::MindEye model(source, config);
  const std::int64_t batch = std::min(reader.samples(), context.batch_size > 0 ? context.batch_size : 24);
  at::Tensor kept;
  Work work = nn::training_step(nn::count_work([&] {
    kept = model.diffusion_prior->net(nn::meta({batch, shape[1], shape[2]}), nn::meta({batch}, at::kLong), nn::meta({batch, shape[1], shape[2]}));
  }), options.ema > 0).times(static_cast<double>(std::max<std::int64_t>(1, reader.samples() / std::max<std::int64_t>(1, batch)) * options.epochs));
  work.held += static_cast<std::uint64_t>(std::min(reader.samples() * shape[1] * shape[2] * 4, std::int64_t{4} << 30));
  return work;
}

std::string train_prior(const PriorTrainOptions& options, const TrainContext& context) {
  options.check();
  const store::StageReader reader(options.tokens.path);
  const auto conditions = reader.array("tokens");
  const Targets targets(options.targets.path, false, false);
  check_pairs(reader, options, targets);
  const auto& stimulus = reader.stimulus();
  const auto samples = reader.samples();
  const auto& shape = conditions.shape();

  weights::StateDict dict;
  const models::MindEyeConfig config = prior_config(options, shape, dict);
  StartSource source(dict, context.seed, context.device, [](const std::string& name) { return name; });
  const models::MindEye model(source, config);
  if (options.pretrained) source.finish({{"backbone."}});
  const auto& prior = *model.diffusion_prior;
  const auto parameters = with_official_decay(source.made(), options.weight_decay);
  AdamW optimizer(parameters);
  Average average(parameters, options.ema);

  const std::int64_t batch = std::min(samples, context.batch_size > 0 ? context.batch_size : 24);
  const std::int64_t per_epoch = std::max<std::int64_t>(1, samples / batch), total = per_epoch * options.epochs;
  const std::string partial = options.model.path + ".partial", resume = partial + "/resume.safetensors";
  std::vector<CurveRow> rows;
  std::int64_t step = 0, taken = 0;  // batches seen; optimizer steps, which an overflow in float16 leaves out
  double sum = 0;
  LossScale loss_scale;
  TrainingFolder folder(options.model.path, context.resume, context.overwrite);
  if (context.resume && fs::exists(resume)) {
    const c10::NoGradGuard no_grad;
    const auto state = weights::StateDict::open(resume);
    const at::Tensor text = state.get("position").contiguous();
    const Json position = parse_json({reinterpret_cast<const char*>(text.const_data_ptr<std::uint8_t>()), static_cast<std::size_t>(text.numel())}, resume);
    if (position.at("digest").get<std::string>() != context.config_digest)
      throw data_error("{}: this is a training with other options or inputs: --overwrite starts again", resume);
    for (const auto& p : parameters) p.tensor.detach().copy_(state.get("weights." + p.name));
    optimizer.load_state(state.sub("optimizer."));
    if (average.on()) average.load(state, "average.");
    step = position.at("step");
    taken = position.at("taken");
    loss_scale = {position.at("loss_scale"), position.at("good")};
    sum = position.at("sum");
    rows = curves_from(position.at("rows"));
    log_info("resuming after step {} of {}", step, total);
  }
  const auto saved = [&] {
    std::map<std::string, at::Tensor> out;
    for (const auto& [name, tensor, buffer] : source.made())
      out[name] = (average.on() && average.tensors().contains(name) ? average.tensors().at(name) : tensor.detach()).cpu().contiguous();
    return out;
  };
  const auto checkpoint = [&] {
    const c10::NoGradGuard no_grad;
    if (!all_finite(parameters))  // what was good is not replaced
      throw data_error("the weights are not finite after step {} of {}: the training has diverged; {}", step, total, folder.last_checkpoint());
    std::map<std::string, at::Tensor> state;
    for (const auto& p : parameters) state["weights." + p.name] = p.tensor.detach().cpu().contiguous();
    for (const auto& [name, tensor] : optimizer.state()) state["optimizer." + name] = tensor.cpu().contiguous();
    for (const auto& [name, tensor] : average.tensors()) state["average." + name] = tensor.cpu().contiguous();
    const std::string text = Json{{"digest", context.config_digest}, {"step", step}, {"taken", taken}, {"loss_scale", loss_scale.scale}, {"good", loss_scale.good}, {"sum", sum}, {"rows", curves_json(rows)}}.dump();
    state["position"] = at::tensor(std::vector<std::uint8_t>(text.begin(), text.end()), at::kByte);
    weights::save_safetensors(resume, state);
    Json about{{"model", "mindeye2"}, {"clip_emb_dim", shape[2]}, {"clip_seq_dim", shape[1]}, {"prior_depth", config.prior.net.depth},
               {"prior_dim_head", config.prior.net.dim_head}, {"prior_heads", config.prior.net.heads}, {"timesteps", config.prior.timesteps}};
    if (!context.provenance.empty()) about["me2"] = parse_json(context.provenance, "provenance");
    weights::save_model_dir(partial + "/last", about, saved());
    write_file_atomic(partial + "/curves.csv", curves_csv(rows));
  };
  const auto generator = [&](const char* what, std::int64_t where) {
    Random random(context.seed, fmt::format("{}/{}", what, where));
    return at::make_generator<at::CPUGeneratorImpl>((static_cast<std::uint64_t>(random()) << 32) | random());
  };

  Progress progress("prior", total);
  progress.set_done(step);
  while (step < total) {
    const auto epoch = step / per_epoch;
    std::vector<std::int64_t> order(static_cast<std::size_t>(samples));
    std::iota(order.begin(), order.end(), 0);
    Random(context.seed, fmt::format("order/prior/{}", epoch)).shuffle(std::span<std::int64_t>(order));
    for (std::int64_t i = step % per_epoch; i < per_epoch; ++i) {
      std::vector<std::int32_t> shown;
      at::Tensor brain = at::empty({batch, shape[1], shape[2]}, at::kFloat);
      const auto chosen = std::span<const std::int64_t>(order).subspan(static_cast<std::size_t>(i * batch), static_cast<std::size_t>(batch));
      for (const auto row : chosen) shown.push_back(stimulus[static_cast<std::size_t>(row)]);
      store::gather_rows(conditions, chosen, brain.mutable_data_ptr<float>());
      const at::Tensor target = targets.get("clip_tokens", shown);
      auto draws = prior.draw(target, options.condition_drop, options.condition_drop, generator("prior", step));
      for (at::Tensor* t : {&draws.times, &draws.noise, &draws.brain_uniform, &draws.image_uniform})
        if (t->defined()) *t = t->to(context.device);
      optimizer.zero_grad();
      at::Tensor loss;
      {
        const Autocast mixed(context.device, context.dtype);
        loss = prior.loss(target.to(context.device), brain.to(context.device), draws, options.condition_drop, options.condition_drop).loss;
      }
      const double value = loss.item<double>();
      if (!std::isfinite(value)) {
        const bool kept = all_finite(parameters);
        if (kept) checkpoint();
        throw data_error("the loss is {} at step {} (epoch {}, batch {}); {}", std::fabs(value), step, epoch, i,
                         kept ? fmt::format("the model before this step is in {}/last", partial) : folder.last_checkpoint());
      }
      const bool scaled = context.dtype == at::kHalf;
      (scaled ? loss * loss_scale.scale : loss).backward();
      if (scaled) optimizer.scale_gradients(1 / loss_scale.scale);
      const double norm = scaled || options.clip_gradient > 0 ? optimizer.gradient_norm() : 0;
      if (scaled) loss_scale.update(std::isfinite(norm));
      const Rate rate = options.schedule == Schedule::linear ? LinearRamp{options.max_lr, total}.at(taken)
                                                             : OneCycle{options.max_lr, total, OneCycle::official_pct_start(options.epochs)}.at(taken);
      if (std::isfinite(norm) || !scaled) {  // an overflow leaves the step out, and the schedule waits
        optimizer.clip_gradients(norm, options.clip_gradient);
        optimizer.step(rate.lr, rate.beta1);
        average.update(parameters, taken++);
      }
      ++step;
      sum += value;
      progress.advance();
      if (i + 1 == per_epoch) {
        rows.push_back({{"epoch", double(epoch)}, {"step", double(taken)}, {"lr", rate.lr}, {"loss", sum / double(per_epoch)}, {"loss_prior", sum / double(per_epoch)}});
        log_info("epoch {}, step {}, lr {:.3g}, loss_prior {:.5g}", epoch, step, rate.lr, sum / double(per_epoch));
        sum = 0;
      }
      if (stop_requested() && step < total) {
        checkpoint();
        throw Error(Exit::temp_fail, fmt::format("stopped by {} after step {} of {}: --resume goes on from here", stop_signal_name(), step, total));
      }
    }
    if (step < total && epoch % std::max(1, options.checkpoint_interval) == 0) checkpoint();
  }
  checkpoint();
  const fs::path last = fs::path(partial) / "last";
  write_file_atomic((last / "curves.csv").string(), curves_csv(rows));
  write_file_atomic((last / "curves.svg").string(), curves_svg(rows, fs::path(options.model.path).filename().string()));
  folder.publish();
  return curves_json({rows.back()})[0].dump();
}

}  // namespace me2::train
