#include "train/trainer.h"

#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/signals.h"

namespace me2::train {

Trainer::Trainer(const TrainOptions& options, const TrainContext& context, Peers* peers) : options_(options), context_(context), peers_(peers) {
  options_.check();
  settings_.prior_scale = options_.no_prior ? 0 : options_.prior_scale;
  settings_.clip_scale = options_.no_clip ? 0 : options_.clip_scale;
  settings_.blur_scale = options_.no_lowlevel ? 0 : options_.blur_scale;
  settings_.cont_scale = options_.cont_scale;
  settings_.condition_drop = options_.condition_drop;
  settings_.corrected_mixco = options_.corrected_mixco;
  if (!(settings_.prior_scale > 0 || settings_.clip_scale > 0 || settings_.blur_scale > 0))
    throw usage_error("nothing to train: contrastive, prior and low-level losses are all off");
  load_data();
  for (const auto& subject : subjects_) epoch_order(subject, 1, per_subject_, options_.repeated, context_.seed, 0);  // can a batch be filled?
  build_model();
  build_optimizer();
  if (context_.dry_run) return;
  if (writes()) folder_ = TrainingFolder(options_.model.path, context_.resume, context_.overwrite);
  if (peers_) peers_->barrier();  // the folder is ours, and what it held is gone or kept
  if (context_.resume) restore();
  if (together()) align_peers();
}

Trainer::~Trainer() = default;

void Trainer::load_data() {
  lowlevel_ = settings_.blur_scale > 0;
  targets_ = std::make_unique<Targets>(options_.targets.path, lowlevel_, options_.image_aug, context_.dry_run ? 0 : std::int64_t{4} << 30);
  if (lowlevel_ && !targets_->has("vae_latent"))
    throw data_error("{}: array vae_latent is missing: --no-lowlevel trains without the low-level head", options_.targets.path);
  cnx_ = lowlevel_ && targets_->has("cnx_feature") && settings_.cont_scale > 0;
  if (cnx_ && options_.image_aug)
    for (const char* name : {"cnx_feature", "cnx_feature_aug"})
      if (targets_->has(name)) targets_->require_variants(name);
  std::int64_t largest = 0;
  std::set<std::string> names;
  for (std::size_t i = 0; i < options_.subjects.size(); ++i) {
    const std::string name = options_.names.empty() ? "" : options_.names[i];
    subjects_.emplace_back(options_.subjects[i].path, name, SubjectSelection{options_.sessions, options_.split, options_.half_betas, !context_.dry_run});
    const auto& subject = subjects_.back();
    targets_->require(subject.stimulus(), subject.path());
    if (!names.insert(subject.name()).second) throw usage_error("two subjects are named {}: give --names", subject.name());
    largest = std::max(largest, subject.session_trials());
  }
  if (options_.early_stop > 0) held_out_ = subjects_.front().hold_out(options_.holdout, context_.seed);
  const auto count = static_cast<std::int64_t>(subjects_.size());
  const std::int64_t batch = context_.batch_size > 0 ? context_.batch_size : count == 1 ? 24 : 42;
  per_subject_ = batch / count;
  if (per_subject_ < 1) throw usage_error("--batch-size {}: less than one sample for each of {} subjects", batch, count);
  if (together()) Share(std::vector<std::int64_t>(subjects_.size(), per_subject_), peers_->rank(), peers_->size());  // can it be shared?
  const std::int64_t samples = options_.samples_per_epoch > 0 ? options_.samples_per_epoch : largest;
  iterations_ = std::max<std::int64_t>(1, samples / (per_subject_ * count));
  steps_per_epoch_ = std::max<std::int64_t>(1, iterations_ / options_.accumulate);
  total_steps_ = steps_per_epoch_ * options_.epochs;
}

models::MindEyeConfig Trainer::fresh_config() const {
  models::MindEyeConfig config;
  auto& backbone = config.backbone;
  backbone.hidden = options_.hidden.value_or(1024);
  backbone.blocks = options_.blocks.value_or(4);
  backbone.tokens = targets_->tokens();
  backbone.width = targets_->width();
  std::int64_t dim_head = options_.prior_dim_head.value_or(0);
  for (std::int64_t d = std::min<std::int64_t>(52, backbone.width); dim_head == 0 && d > 0; --d)
    if (backbone.width % d == 0) dim_head = d;
  const std::int64_t heads = options_.prior_heads.value_or(std::max<std::int64_t>(1, backbone.width / dim_head));
  config.match_prior(options_.prior_depth.value_or(6), heads, dim_head);
  return config;
}

void Trainer::build_model() {
  weights::StateDict dict;
  std::map<std::string, std::string> ridges;  // our ridge name -> theirs
  const auto refuse = [&](const char* option, const std::optional<std::int64_t>& asked, std::int64_t found) {
    if (asked && *asked != found) throw data_error("{} {}: the pretrained model {} has {}", option, *asked, dict.path(), found);
  };
  config_ = fresh_config();
  if (options_.pretrained) {
    dict = weights::StateDict::open(options_.pretrained->path);
    nn::Loader loader(dict);
    const auto found = models::MindEyeConfig::detect(loader);
    if (!found.with_backbone) throw data_error("{}: no backbone to start from (tensor backbone.backbone_linear.weight is missing)", dict.path());
    refuse("--hidden", options_.hidden, found.backbone.hidden);
    refuse("--blocks", options_.blocks, found.backbone.blocks);
    if (found.backbone.tokens != targets_->tokens() || found.backbone.width != targets_->width())
      throw data_error("{}: clip_tokens are [{}, {}], the pretrained model {} has [{}, {}]", options_.targets.path, targets_->tokens(),
                       targets_->width(), dict.path(), found.backbone.tokens, found.backbone.width);
    config_.backbone = found.backbone;
    if (found.with_prior) {
      refuse("--prior-depth", options_.prior_depth, found.prior.net.depth);
      refuse("--prior-heads", options_.prior_heads, found.prior.net.heads);
      config_.prior = found.prior;
    }
    for (std::size_t i = 0; i < subjects_.size(); ++i) {
      const char* kind = options_.mlp ? "mlps" : "linears";
      const auto to = fmt::format("ridge.{}.{}.", kind, i);
      if (options_.ridge == RidgeStart::keep) {
        if (found.mlp_map != options_.mlp)
          throw usage_error("--ridge keep: {} has {} maps: train {} --mlp-map", dict.path(), found.mlp_map ? "MLP" : "linear", found.mlp_map ? "with" : "without");
        ridges[to] = fmt::format("ridge.{}.{}.", kind, models::ridge_position(dict, subjects_[i].name(), "--ridge keep: subject"));
      } else {
        ridges[to] = to;
      }
    }
  }
  config_.voxels.clear();
  for (const auto& subject : subjects_) config_.voxels.push_back(subject.voxels());
  config_.mlp_map = options_.mlp;
  config_.with_prior = settings_.prior_scale > 0;
  config_.backbone.clip = settings_.clip_scale > 0;
  config_.backbone.dropout = options_.dropout;
  if (lowlevel_) {
    const auto shape = targets_->row_shape("vae_latent");
    auto& head = config_.backbone.head;
    if (shape.size() != 3 || shape[1] != shape[2] || shape[1] % 4 != 0)
      throw data_error("{}: array vae_latent has rows [{}], [channels, size, size] with a size divisible by 4 expected", options_.targets.path, fmt::join(shape, ", "));
    if (!config_.backbone.lowlevel || !options_.pretrained) head.grid = shape[1] / 4, head.latent_channels = shape[0];
    if (head.latent_size() != shape[1] || head.latent_channels != shape[0])
      throw data_error("{}: array vae_latent has rows [{}], the low-level head makes [{}, {}, {}]", options_.targets.path, fmt::join(shape, ", "),
                       head.latent_channels, head.latent_size(), head.latent_size());
    if (cnx_) {
      const auto patches = targets_->row_shape("cnx_feature");
      if (!options_.pretrained && patches.size() == 2) head.aux_width = patches[1];
      if (patches.size() != 2 || patches[0] != head.grid * head.grid || patches[1] != head.aux_width)
        throw data_error("{}: array cnx_feature has rows [{}], the low-level head needs [{}, {}]", options_.targets.path, fmt::join(patches, ", "),
                         head.grid * head.grid, head.aux_width);
    }
    head.dropout = options_.lowlevel_dropout;
  }
  config_.backbone.lowlevel = lowlevel_;
  StartSource source(dict, context_.seed, context_.device, [&](const std::string& name) -> std::string {
    if (!name.starts_with("ridge.")) return name;
    for (const auto& [to, from] : ridges)
      if (name.starts_with(to)) {
        // Fidelity: fine-tuning from a multi-subject checkpoint removes ridge.linears.0.weight only, so the bias of the first pretraining
        // subject is carried over; the other subjects' layers are ignored.
        if (options_.ridge == RidgeStart::fresh && (name.ends_with(".weight") || to != "ridge.linears.0.")) return "";
        return from + name.substr(to.size());
      }
    return "";
  });
  model_.emplace(source, config_);
  if (options_.pretrained)
    source.finish({{"backbone.clip_proj."}, {"backbone.blin1.", "backbone.bnorm.", "backbone.bupsampler.", "backbone.b_maps_projector."}, {"diffusion_prior."}});
  made_ = source.made();
}

void Trainer::build_optimizer() {
  const auto frozen = [&](const std::string& name) {
    if (options_.ridge_only && !name.starts_with("ridge.")) return true;
    for (const auto& prefix : options_.freeze)
      if (name.starts_with(prefix)) return true;
    return false;
  };
  for (const auto& prefix : options_.freeze)
    if (std::none_of(made_.begin(), made_.end(), [&](const auto& n) { return n.name.starts_with(prefix); }))
      throw usage_error("--freeze {}: no parameter's name starts so", prefix);
  if (options_.lora > 0) {
    std::vector<nn::Named> adapted;
    for (const auto& named : made_)
      if (!frozen(named.name)) adapted.push_back(named);
    low_rank_ = LowRank(adapted, options_.lora, options_.lora_alpha, context_.seed);
    if (low_rank_.empty()) throw usage_error("--lora {}: no matrix is larger than that rank", options_.lora);
  }
  for (auto& named : made_)
    if (!named.buffer && (frozen(named.name) || (options_.lora > 0 && !named.name.starts_with("ridge.")))) named.tensor.set_requires_grad(false);
  auto parameters = with_official_decay(made_, options_.weight_decay);
  for (auto& parameter : low_rank_.parameters(options_.weight_decay)) parameters.push_back(parameter);
  if (parameters.empty()) throw usage_error("every parameter is frozen: nothing to train");
  average_ = Average(parameters, options_.ema);
  optimizer_ = AdamW(std::move(parameters));
}

Rate Trainer::rate() const {
  if (options_.schedule == Schedule::linear) return LinearRamp{options_.max_lr, total_steps_}.at(step_);
  return OneCycle{options_.max_lr, total_steps_, OneCycle::official_pct_start(options_.epochs)}.at(step_);
}

std::map<std::string, at::Tensor> Trainer::effective(bool averaged) const {
  std::map<std::string, at::Tensor> out;
  const auto& averages = average_.tensors();
  for (const auto& [name, tensor, buffer] : made_)
    out[name] = averaged && averages.contains(name) ? averages.at(name) : low_rank_.adapts(name) ? low_rank_.merged(name, tensor) : tensor;
  return out;
}

std::map<std::string, at::Tensor> Trainer::weights() const {
  const c10::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> out;
  for (const auto& [name, tensor] : best_.empty() ? effective(average_.on() && low_rank_.empty()) : best_) out[name] = tensor.detach().cpu().contiguous();
  return out;
}

at::Generator Trainer::generator(const std::string& what, std::int64_t where, bool on_device) const {
  auto drawn = draw_generator(context_.seed, what, where);
  if (!on_device || context_.device.is_cpu()) return drawn;
  auto made = at::globalContext().defaultGenerator(context_.device).clone();
  made.set_current_seed(drawn.current_seed());
  return made;
}

Batch Trainer::batch_at(std::int64_t epoch, std::int64_t iteration, const std::vector<std::vector<std::int64_t>>& order, Draws& draws) const {
  const auto where = epoch * std::max(iterations_, steps_per_epoch_ * options_.accumulate) + iteration;
  const bool mixing = contrast_of(epoch, options_.epochs, options_.mixup_pct).mixing;
  Batch batch;
  std::vector<std::int32_t> all, stimulus;  // of the joined batch; of this process
  const Share share = together() ? Share(std::vector<std::int64_t>(subjects_.size(), per_subject_), peers_->rank(), peers_->size()) : Share();
  for (std::size_t s = 0; s < subjects_.size(); ++s) {
    const auto first = order[s].begin() + iteration * per_subject_;
    const std::vector<std::int64_t> rows(first, first + per_subject_);
    batch.subjects.push_back(s);
    batch.voxels.push_back(subjects_[s].betas(rows).to(context_.device));
    for (const auto row : rows) all.push_back(subjects_[s].stimulus()[row]);
    if (mixing) {
      Mix mix = draw_mix_at(context_.seed, subjects_[s].name(), where, per_subject_);
      draws.mix.push_back({mix.perm.to(context_.device), mix.betas.to(context_.device), mix.select.to(context_.device)});
    }
  }
  std::vector<std::int64_t> mine(all.size());
  std::iota(mine.begin(), mine.end(), 0);
  if (!share.whole()) {
    const at::Tensor rows = share.rows();
    mine.assign(rows.const_data_ptr<std::int64_t>(), rows.const_data_ptr<std::int64_t>() + rows.numel());
  }
  for (const auto i : mine) stimulus.push_back(all[static_cast<std::size_t>(i)]);
  Random random(context_.seed, fmt::format("augment/{}", where));
  std::vector<std::int64_t> which;  // one picture behind all targets
  if (options_.image_aug) {
    const auto drawn = targets_->draw_variants("clip_tokens", all.size(), .7, random);  // the reference jitters with p .3; for the joined batch, so that processes agree
    for (const auto i : mine) which.push_back(drawn[static_cast<std::size_t>(i)]);
  }
  const auto target = [&](const char* name) { return (options_.image_aug ? targets_->variants(name, stimulus, which) : targets_->get(name, stimulus)).to(context_.device); };
  batch.clip_target = target("clip_tokens");
  if (lowlevel_) batch.vae_latent = target("vae_latent");
  if (cnx_) {
    batch.cnx = target("cnx_feature");
    if (targets_->has("cnx_feature_aug")) batch.cnx_aug = target("cnx_feature_aug");  // of that picture changed once more
  }
  if (model_->diffusion_prior) {
    const at::Tensor like = at::empty({static_cast<std::int64_t>(all.size()), targets_->tokens(), targets_->width()}, at::kFloat);  // of the joined batch
    draws.prior = model_->diffusion_prior->draw(like, settings_.condition_drop, settings_.condition_drop, generator("prior", where, false));
    for (at::Tensor* t : {&draws.prior.times, &draws.prior.noise, &draws.prior.brain_uniform, &draws.prior.image_uniform})
      if (t->defined()) *t = share.mine(*t).to(context_.device);
  }
  return batch;
}

void Trainer::step_once(std::int64_t epoch, std::int64_t step_in_epoch, const std::vector<std::vector<std::int64_t>>& order) {
  const Contrast contrast = contrast_of(epoch, options_.epochs, options_.mixup_pct);
  const double scale = context_.dtype == at::kHalf ? loss_scale_.scale : 1;
  optimizer_.zero_grad();
  for (std::int64_t k = 0; k < options_.accumulate; ++k) {
    const auto iteration = step_in_epoch * options_.accumulate + k;
    Draws draws;
    const Batch batch = batch_at(epoch, iteration, order, draws);
    const nn::Training training{generator("dropout", epoch * std::max(iterations_, steps_per_epoch_ * options_.accumulate) + iteration, true)};
    draws.dropout = &training;
    draws.temperature = contrast.temperature;
    StepLoss loss;
    {
      const Autocast mixed(context_.device, context_.dtype);
      if (low_rank_.empty()) {
        loss = mindeye_step(*model_, batch, draws, settings_, peers_);
      } else {
        const auto tensors = effective(false);
        TensorSource source(tensors);
        loss = mindeye_step(models::MindEye(source, config_), batch, draws, settings_, peers_);
      }
    }
    if (!std::isfinite(loss.loss)) {
      const bool kept = all_finite(optimizer_.parameters());
      if (kept) checkpoint(true);
      if (peers_) peers_->leave();  // the loss is the joined batch's: all see it
      throw data_error("the loss is {} at step {} (epoch {}, batch {}; prior {}, contrastive {}, low-level {}); {}", std::fabs(loss.loss), position_, epoch,
                       iteration, std::fabs(loss.prior), std::fabs(loss.clip), std::fabs(loss.blurry),
                       kept ? fmt::format("the model before this step is in {}/last", partial()) : folder_.last_checkpoint());
    }
    (loss.total * (scale / static_cast<double>(options_.accumulate))).backward();
    const auto add = [](double& sum, double value) { sum += std::isnan(value) ? 0 : value; };
    add(sums_.loss, loss.loss), add(sums_.prior, loss.prior), add(sums_.clip, loss.clip), add(sums_.blurry, loss.blurry), add(sums_.cont, loss.cont);
    add(sums_.cossim, loss.recon_cossim), add(sums_.mse, loss.recon_mse);
    add(sums_.forward, loss.retrieval.forward), add(sums_.backward, loss.retrieval.backward);
    ++sums_.count;
  }
  ++position_;
  if (together()) sum_gradients();
  if (scale != 1) optimizer_.scale_gradients(1 / scale);
  if (context_.dtype == at::kHalf || options_.clip_gradient > 0) {
    const double norm = optimizer_.gradient_norm();
    if (context_.dtype == at::kHalf) {
      loss_scale_.update(std::isfinite(norm));
      if (!std::isfinite(norm)) return;  // overflow: no step, and the schedule waits
    }
    optimizer_.clip_gradients(norm, options_.clip_gradient);
  }
  const Rate now = rate();
  optimizer_.step(now.lr, now.beta1);
  average_.update(optimizer_.parameters(), step_);
  ++step_;
}

std::string Trainer::run() {
  if (done_) return rows_.empty() ? "{}" : curves_json({rows_.back()})[0].dump();
  Progress progress("training", total_steps_);
  progress.set_done(position_);
  bool stop = false;
  while (!stop && position_ < total_steps_) {
    const auto epoch = position_ / steps_per_epoch_;
    std::vector<std::vector<std::int64_t>> order;
    for (const auto& subject : subjects_)
      order.push_back(epoch_order(subject, std::max(iterations_, steps_per_epoch_ * options_.accumulate), per_subject_, options_.repeated, context_.seed, epoch));
    const auto started = std::chrono::steady_clock::now();
    const auto from = position_;
    while (position_ < (epoch + 1) * steps_per_epoch_) {
      step_once(epoch, position_ - epoch * steps_per_epoch_, order);
      progress.advance();
      if (sums_.count % 8 == 1) progress.set_note(fmt::format("epoch {} loss {:.4g}", epoch, sums_.loss / static_cast<double>(sums_.count)));
      const bool last = position_ == (epoch + 1) * steps_per_epoch_;
      if (!last && stop_asked()) leave();
      if (!last && options_.checkpoint_steps > 0 && position_ % options_.checkpoint_steps == 0) checkpoint(false);
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    stop = end_epoch(epoch);
    const CurveRow& row = rows_.back();
    std::string text;
    for (const auto& [name, value] : row)
      if (std::isfinite(value)) text += fmt::format("{}{} {:.4g}", text.empty() ? "" : ", ", name, value);
    const double rate = static_cast<double>((position_ - from) * options_.accumulate * per_subject_ * static_cast<std::int64_t>(subjects_.size())) / std::max(1e-9, seconds);
    if (log_settings().json) {
      Json event{{"event", "epoch"}};
      event.update(curves_json({row})[0]);
      event["samples_per_second"] = rate;
      log_event(event.dump());
    } else {
      log_info("{}; {:.4g} samples/s", text, rate);
    }
    if (!stop && position_ < total_steps_ && stop_asked()) leave();
    if (!stop && position_ < total_steps_ && epoch % std::max(1, options_.checkpoint_interval) == 0) checkpoint(true);
  }
  finish();
  return curves_json({rows_.back()})[0].dump();
}

void Trainer::leave() {
  checkpoint(true);
  if (peers_) peers_->leave();
  throw Error(Exit::temp_fail, fmt::format("stopped by {} after step {} of {}: --resume goes on from here",
                                          stop_requested() ? stop_signal_name() : "a signal to another process", position_, total_steps_));
}

bool Trainer::end_epoch(std::int64_t epoch) {
  constexpr double none = std::numeric_limits<double>::quiet_NaN();
  const double n = static_cast<double>(std::max<std::int64_t>(1, sums_.count));
  const bool clip = config_.backbone.clip;
  CurveRow row{{"epoch", static_cast<double>(epoch)},
               {"step", static_cast<double>(step_)},
               {"lr", rate().lr},
               {"loss", sums_.loss / n},
               {"loss_prior", config_.with_prior ? sums_.prior / n : none},
               {"loss_clip", clip ? sums_.clip / n : none},
               {"loss_blurry", lowlevel_ ? sums_.blurry / n : none},
               {"loss_cont", cnx_ ? sums_.cont / n : none},
               {"recon_cossim", config_.with_prior ? sums_.cossim / n : none},
               {"recon_mse", config_.with_prior ? sums_.mse / n : none},
               {"image_retrieval", clip ? sums_.forward / n : none},
               {"brain_retrieval", clip ? sums_.backward / n : none}};
  sums_ = {};
  bool stop = false;
  double held = none;
  if (options_.early_stop > 0) {
    if (writes()) held = holdout_loss();
    if (together()) {  // all must come to the same decision
      const at::Tensor shared = at::tensor({held}, at::kDouble);
      peers_->broadcast(shared);
      held = shared.item<double>();
    }
    if (!std::isfinite(held)) {  // no epoch would be better than another
      if (peers_) peers_->leave();
      throw data_error("the loss on the {} held-out trials is {} after epoch {}; {}", held_out_.size(), std::fabs(held), epoch, folder_.last_checkpoint());
    }
    if (best_epoch_ < 0 || held < best_loss_) {
      best_loss_ = held;
      best_epoch_ = epoch;
      const c10::NoGradGuard no_grad;
      best_.clear();
      for (const auto& [name, tensor] : effective(average_.on() && low_rank_.empty())) best_[name] = tensor.detach().clone();
    } else if (epoch - best_epoch_ >= options_.early_stop) {
      stop = true;
      log_info("no better loss on the held-out images since epoch {}: stopping", best_epoch_);
    }
  }
  row.emplace_back("holdout_loss", held);
  const bool last = stop || position_ >= total_steps_;
  const bool due = last || (options_.evaluate_interval > 0 && epoch % options_.evaluate_interval == 0);
  std::pair<Retrieval, double> tested{{none, none}, none};
  if (writes() && due && !subjects_.front().test().empty() && clip) tested = test();
  row.emplace_back("test_image_retrieval", tested.first.forward);
  row.emplace_back("test_brain_retrieval", tested.first.backward);
  row.emplace_back("test_loss_clip", tested.second);
  rows_.push_back(std::move(row));
  return stop;
}

std::pair<Retrieval, double> Trainer::test() const {
  // As the reference: the first images in ascending id; three repeats each (one thrice; two, a and b, as a, b, a), outputs averaged.
  const c10::NoGradGuard no_grad;
  const auto& subject = subjects_.front();
  std::map<std::int32_t, std::vector<std::int64_t>> repeats;
  for (const auto row : subject.test()) repeats[subject.stimulus()[row]].push_back(row);
  const auto tensors = best_.empty() ? effective(average_.on() && low_rank_.empty()) : best_;
  TensorSource source(tensors);
  const models::MindEye model(source, config_);
  std::vector<at::Tensor> voxels, targets;
  auto it = repeats.begin();
  for (std::int64_t done = 0; done < options_.test_images && it != repeats.end();) {
    std::vector<std::int64_t> rows;
    std::vector<std::int32_t> stimulus;
    for (; done < options_.test_images && it != repeats.end() && stimulus.size() < 50; ++it, ++done) {
      stimulus.push_back(it->first);
      for (std::size_t k = 0; k < 3; ++k) rows.push_back(it->second[k % it->second.size()]);
    }
    const at::Tensor latent = (*model.ridge)(subject.betas(rows).to(context_.device), 0);
    const auto out = model.backbone->infer(latent.unsqueeze(1), /*only_clip=*/true);
    const auto n = static_cast<std::int64_t>(stimulus.size());
    voxels.push_back(normalised_rows(out.clip.view({n, 3, out.clip.size(1), out.clip.size(2)}).mean({1})));
    targets.push_back(normalised_rows(targets_->get("clip_tokens", stimulus).to(context_.device)));
  }
  const at::Tensor v = at::cat(voxels), t = at::cat(targets);
  return {retrieval(v, t), soft_clip(v, t, .006).item<double>()};
}

double Trainer::holdout_loss() const {
  const c10::NoGradGuard no_grad;
  const auto& subject = subjects_.front();
  const auto tensors = effective(average_.on() && low_rank_.empty());
  TensorSource source(tensors);
  const models::MindEye model(source, config_);
  double sum = 0;
  std::int64_t count = 0;
  const auto all = static_cast<std::int64_t>(held_out_.size());
  for (std::int64_t first = 0; first < all; first += 64) {
    const std::vector<std::int64_t> rows(held_out_.begin() + first, held_out_.begin() + std::min(all, first + 64));
    std::vector<std::int32_t> stimulus;
    for (const auto row : rows) stimulus.push_back(subject.stimulus()[row]);
    Batch batch{{0}, {subject.betas(rows).to(context_.device)}, targets_->get("clip_tokens", stimulus).to(context_.device), {}, {}, {}};
    if (lowlevel_) batch.vae_latent = targets_->get("vae_latent", stimulus).to(context_.device);
    Draws draws;
    draws.temperature = .006;
    StepSettings plain = settings_;
    plain.condition_drop = 0;
    if (model.diffusion_prior) {  // the same noise in every epoch
      draws.prior = model.diffusion_prior->draw(batch.clip_target.cpu(), 0, 0, generator("holdout", first, false));
      draws.prior.times = draws.prior.times.to(context_.device);
      draws.prior.noise = draws.prior.noise.to(context_.device);
    }
    sum += mindeye_step(model, batch, draws, plain).loss * static_cast<double>(rows.size());
    count += static_cast<std::int64_t>(rows.size());
  }
  return sum / static_cast<double>(count);
}

}  // namespace me2::train
