// The files of a training: checkpoints, the resume file, the published model directory.
#include <filesystem>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "nn/count_work.h"
#include "nn/device.h"
#include "store/zarr.h"
#include "train/trainer.h"
#include "weights/torch_file.h"

namespace me2::train {
namespace fs = std::filesystem;
namespace {

at::Tensor text_tensor(const std::string& text) {
  at::Tensor out = at::empty({static_cast<std::int64_t>(text.size())}, at::kByte);
  std::copy(text.begin(), text.end(), out.mutable_data_ptr<std::uint8_t>());
  return out;
}

std::string tensor_text(const at::Tensor& tensor) {
  const at::Tensor bytes = tensor.contiguous();
  const auto* data = bytes.const_data_ptr<std::uint8_t>();
  return {data, data + bytes.numel()};
}

}  // namespace

TrainContext make_context(const std::string& device, const std::string& dtype, int threads, std::uint64_t seed, std::int64_t batch_size, bool plan) {
  nn::set_threads(threads);
  TrainContext context;
  context.seed = seed;
  context.batch_size = batch_size;
  context.device = nn::open_device(device, plan);
  context.dtype = nn::parse_dtype(dtype);
  return context;
}

bool finished_before(const std::string& model, const TrainContext& context) {
  return context.resume && fs::exists(fs::path(model) / "config.json") && !fs::exists(model + ".partial");
}

Json Trainer::config_json() const {
  Json config;
  Json names = Json::array();
  for (const auto& subject : subjects_) names.push_back(subject.name());
  config["model"] = "mindeye2";
  config["subjects"] = names;
  config["input_sizes"] = config_.voxels;
  config["hidden_dim"] = config_.backbone.hidden;
  config["n_blocks"] = config_.backbone.blocks;
  config["seq_len"] = config_.backbone.seq_len;
  if (config_.mlp_map) config["subject_map"] = "mlp";  // a note: the tensors' names say it
  config["clip_emb_dim"] = config_.backbone.width;
  config["clip_seq_dim"] = config_.backbone.tokens;
  config["clip_scale"] = settings_.clip_scale;
  config["blurry_recon"] = lowlevel_;
  if (config_.with_prior) {
    config["prior_depth"] = config_.prior.net.depth;
    config["prior_dim_head"] = config_.prior.net.dim_head;
    config["prior_heads"] = config_.prior.net.heads;
    config["timesteps"] = config_.prior.timesteps;
  }
  Describe described;
  TrainOptions copy = options_;
  copy.describe(described);
  Json& training = config["training"] = Json::object();
  for (const auto& item : described.items()) {
    const auto values = item.get();
    training[item.name] = item.repeated ? Json(values) : values.empty() ? Json() : Json(values.front());
  }
  training["--batch-size"] = per_subject_ * static_cast<std::int64_t>(subjects_.size());
  training["--seed"] = context_.seed;
  training["steps"] = step_;
  if (!rows_.empty()) config["last"] = curves_json({rows_.back()})[0];
  if (!context_.provenance.empty()) config["me2"] = parse_json(context_.provenance, "provenance");
  return config;
}

std::string Trainer::plan() const {
  std::int64_t all = 0, trained = 0;
  for (const auto& named : made_)
    if (!named.buffer) all += named.tensor.numel();
  for (const auto& parameter : optimizer_.parameters()) trained += parameter.tensor.numel();
  Json plan;
  for (const auto& subject : subjects_)
    plan["subjects"].push_back({{"name", subject.name()}, {"voxels", subject.voxels()}, {"train_trials", subject.train().size()}, {"test_trials", subject.test().size()}});
  plan["tokens"] = {targets_->tokens(), targets_->width()};
  plan["hidden"] = config_.backbone.hidden;
  plan["parameters"] = all;
  plan["trained_parameters"] = trained;
  plan["batch"] = per_subject_ * static_cast<std::int64_t>(subjects_.size());
  plan["steps_per_epoch"] = steps_per_epoch_;
  plan["steps"] = total_steps_;
  plan["bytes_weights"] = all * 4;
  plan["bytes_training"] = all * 4 + trained * 12;  // weights, gradients and two moments
  return plan.dump(1);
}

Work Trainer::work() const {
  const auto rows = per_subject_ * static_cast<std::int64_t>(subjects_.size());
  const auto& backbone = config_.backbone;
  std::vector<at::Tensor> kept;  // what the way back needs is alive to the end
  Work step = nn::training_step(nn::count_work([&] {
    std::vector<at::Tensor> latents;
    for (std::size_t s = 0; s < subjects_.size(); ++s) latents.push_back((*model_->ridge)(nn::meta({per_subject_, subjects_[s].voxels()}), s));
    const auto out = (*model_->backbone)(at::cat(latents).unsqueeze(1));
    kept = {out.tokens, out.clip, out.latent, out.aux};
    if (model_->diffusion_prior) kept.push_back(model_->diffusion_prior->net(nn::meta({rows, backbone.tokens, backbone.width}), nn::meta({rows}, at::kLong), out.tokens));
    if (out.clip.defined()) kept.push_back(at::matmul(out.clip.flatten(1), out.clip.flatten(1).t()));
  }), average_.on());
  const auto targets = store::Group::open(targets_->path());
  std::int64_t data = 0;  // in memory: betas, and targets as far as they fit
  for (const auto& subject : subjects_) data += static_cast<std::int64_t>(subject.stimulus().size()) * subject.voxels() * (options_.half_betas ? 2 : 4);
  std::int64_t tokens = 0;
  for (const std::string array : {"clip_tokens", "vae_latent", "cnx_feature", "cnx_feature_aug"})
    for (const auto& name : {array, array + "_augmented"})
      if (targets_->has(name)) tokens += targets.array(name).size() * (targets.array(name).dtype() == store::DType::f2 ? 2 : 4);
  step.held += static_cast<std::uint64_t>(data + std::min(tokens, std::int64_t{4} << 30));
  Work all = step.times(static_cast<double>(total_steps_) * options_.accumulate);
  all.bytes += static_cast<double>(data + tokens);
  return all;
}

void Trainer::checkpoint(bool with_model) {
  // The loss tells of weights that are not finite a step late: what was good is not replaced by them. They are the same in all processes.
  if (!all_finite(optimizer_.parameters())) {
    if (peers_) peers_->leave();
    throw data_error("the weights are not finite after step {} of {}: the training has diverged; {}", position_, total_steps_, folder_.last_checkpoint());
  }
  if (writes()) write_checkpoint(with_model);
  if (peers_) peers_->barrier();  // nobody leaves before it is written
}

void Trainer::write_checkpoint(bool with_model) {
  const c10::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> state;
  for (const auto& parameter : optimizer_.parameters()) state["weights." + parameter.name] = parameter.tensor.detach().cpu().contiguous();
  for (const auto& [name, tensor] : optimizer_.state()) state["optimizer." + name] = tensor.cpu().contiguous();
  for (const auto& [name, tensor] : average_.tensors()) state["average." + name] = tensor.cpu().contiguous();
  for (const auto& [name, tensor] : best_) state["best." + name] = tensor.cpu().contiguous();
  Json position{{"digest", context_.config_digest}, {"step", step_}, {"position", position_}, {"loss_scale", loss_scale_.scale}, {"good", loss_scale_.good},
                {"best_epoch", best_epoch_}, {"best_loss", best_loss_}, {"rows", curves_json(rows_)}};
  position["sums"] = {sums_.loss, sums_.prior, sums_.clip, sums_.blurry, sums_.cont, sums_.cossim, sums_.mse, sums_.forward, sums_.backward};
  position["count"] = sums_.count;
  state["position"] = text_tensor(position.dump());
  weights::save_safetensors(partial() + "/resume.safetensors", state);
  write_file_atomic(partial() + "/curves.csv", curves_csv(rows_));
  if (with_model) {
    write_file_atomic(partial() + "/curves.svg", curves_svg(rows_, fs::path(options_.model.path).filename().string()));
    weights::save_model_dir(partial() + "/last", config_json(), weights());
  }
}

void Trainer::restore() {
  const std::string file = partial() + "/resume.safetensors";
  if (!fs::exists(file)) {
    log_info("{} is not there: starting from the beginning", file);
    return;
  }
  const c10::NoGradGuard no_grad;
  const auto state = weights::StateDict::open(file);
  const Json position = parse_json(tensor_text(state.get("position")), file);
  if (const auto digest = position.at("digest").get<std::string>(); digest != context_.config_digest)
    throw data_error("{}: this is a training with other options or inputs (digest {}, {} now): --overwrite starts again", file,
                     digest.substr(0, 12), context_.config_digest.substr(0, 12));
  for (const auto& parameter : optimizer_.parameters()) {
    const at::Tensor saved = state.get("weights." + parameter.name);
    if (saved.sizes() != parameter.tensor.sizes())
      throw data_error("{}: tensor weights.{} has shape [{}], [{}] expected", file, parameter.name, fmt::join(saved.sizes(), ", "), fmt::join(parameter.tensor.sizes(), ", "));
    parameter.tensor.detach().copy_(saved);
  }
  optimizer_.load_state(state.sub("optimizer."));
  if (average_.on()) average_.load(state, "average.");
  for (const auto& [name, tensor, buffer] : made_)
    if (state.has("best." + name)) best_[name] = state.get("best." + name).to(tensor.options().requires_grad(false), false, true);
  step_ = position.at("step");
  position_ = position.at("position");
  loss_scale_ = {position.at("loss_scale"), position.at("good")};
  best_epoch_ = position.at("best_epoch");
  best_loss_ = position.at("best_loss");
  const auto& sums = position.at("sums");
  sums_ = {sums[0], sums[1], sums[2], sums[3], sums[4], sums[5], sums[6], sums[7], sums[8], position.at("count")};
  rows_ = curves_from(position.at("rows"));
  log_info("resuming after step {} of {}", position_, total_steps_);
}

void Trainer::finish() {
  checkpoint(true);
  if (!writes()) {
    peers_->barrier();
    done_ = true;
    return;
  }
  const fs::path last = fs::path(partial()) / "last";
  for (const char* name : {"curves.csv", "curves.svg"}) fs::copy_file(fs::path(partial()) / name, last / name, fs::copy_options::overwrite_existing);
  if (options_.export_official) {
    weights::save_torch_zip(options_.export_official->path, weights(), {{"epoch", static_cast<std::int64_t>(rows_.size()) - 1}});
    log_info("wrote {}", options_.export_official->path);
  }
  folder_.publish();
  if (peers_) peers_->barrier();
  done_ = true;
}

}  // namespace me2::train
