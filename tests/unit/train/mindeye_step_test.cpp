#include "train/mindeye_step.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "base/json.h"
#include "support/golden.h"
#include "nn/device.h"
#include "train/adamw.h"
#include "train/one_cycle.h"
#include "weights/formula.h"

namespace me2::train {
namespace {

std::int64_t number(const Json& config, const char* key) { return config.at(key).get<std::int64_t>(); }

// Four optimizer steps of the official loop (its maths in float32, one process), golden cases "train_steps" and "train_steps_multi".
struct TrainSteps : testing::TestWithParam<const char*> {};

TEST_P(TrainSteps, LossesScheduleGradientsAndFinalWeights) {
  ME2_NEEDS_GOLDEN(GetParam());
  const test::Golden g(GetParam());
  nn::set_threads(1);  // as the golden was made; also far faster than two threads at these sizes on a busy machine
  const auto subjects = static_cast<std::size_t>(number(g.config, "subjects"));
  models::MindEyeConfig config;
  config.voxels = g.config.at("input_sizes").get<std::vector<std::int64_t>>();
  config.backbone.hidden = number(g.config, "hidden_dim");
  config.backbone.blocks = number(g.config, "n_blocks");
  config.backbone.tokens = number(g.config, "clip_seq_dim");
  config.backbone.width = number(g.config, "clip_emb_dim");
  config.backbone.dropout = config.backbone.head.dropout = g.config.at("dropout").get<double>();
  config.prior.timesteps = number(g.config, "timesteps");
  config.match_prior(number(g.config, "prior_depth"), number(g.config, "prior_heads"), number(g.config, "prior_dim_head"));

  // model.safetensors holds ridge and prior; the backbone comes from the formula over its own sorted names.
  std::map<std::string, std::vector<std::int64_t>> shapes;
  {
    nn::ShapeLister lister;
    const models::Backbone backbone(nn::Scope(lister), config.backbone);
    for (const auto& named : lister.made()) shapes[named.name] = named.tensor.sizes().vec();
  }
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, entry] : weights::formula_entries(shapes)) tensors["backbone." + name] = entry.load();
  const auto saved = weights::StateDict::open(g.model());
  for (const auto& name : saved.names()) tensors[name] = saved.get(name);
  nn::Loader loader(weights::StateDict::from_tensors(tensors), at::kFloat, at::kCPU, /*trainable=*/true);
  const models::MindEye model(loader, config);
  loader.finish();

  std::map<std::string, at::Tensor> by_name, before;
  for (const auto& named : loader.made()) by_name[named.name] = named.tensor;
  {
    const c10::NoGradGuard no_grad;
    for (const auto& [name, tensor] : by_name) before[name] = tensor.clone();
  }
  AdamW optimizer(with_official_decay(loader.made(), g.config.at("weight_decay").get<double>()), 0.999,
                  g.config.at("adamw_eps").get<double>());
  const auto epochs = number(g.config, "num_epochs");
  const auto steps = epochs * number(g.config, "num_iterations_per_epoch");
  const OneCycle schedule{g.config.at("max_lr").get<double>(), steps, g.config.at("pct_start").get<double>()};
  const double mixup = g.config.at("mixup_pct").get<double>();
  StepSettings settings;
  settings.condition_drop = g.config.at("cond_drop_prob").get<double>();

  const auto near = [&](const std::string& name, std::int64_t step, double got) {
    const double want = g.out(name)[step].item<double>();
    EXPECT_LE(std::abs(want - got), 1e-5 * std::max(1.0, std::abs(want))) << name << " at step " << step << ": " << got << ", " << want << " expected";
  };
  const auto zero = g.config.at("zero_gradient").get<std::vector<std::string>>();
  double lr_sum = 0;
  for (std::int64_t step = 0; step < steps; ++step) {
    Batch batch;
    Draws draws;
    const Contrast contrast = contrast_of(step, epochs, mixup);
    for (std::size_t s = 0; s < subjects; ++s) {
      batch.subjects.push_back(s);
      batch.voxels.push_back(g.in(fmt::format("voxels{}", s))[step].squeeze(1));
      if (contrast.mixing)
        draws.mix.push_back({g.in(fmt::format("perm{}", s))[step], g.in(fmt::format("betas{}", s))[step],
                             g.in(fmt::format("select{}", s))[step].to(at::kBool)});
    }
    batch.clip_target = g.in("clip_target")[step];
    batch.vae_latent = g.in("image_enc")[step];
    batch.cnx = g.in("cnx_embeds");
    batch.cnx_aug = g.in("cnx_aug_embeds");
    draws.prior.times = g.in("prior_times")[step];
    draws.prior.noise = g.in("prior_noise")[step];
    draws.temperature = contrast.temperature;
    optimizer.zero_grad();
    const StepLoss loss = mindeye_step(model, batch, draws, settings);
    loss.total.backward();
    if (step == 0) {
      const auto names = g.config.at("parameter_names_sorted").get<std::vector<std::string>>();
      for (std::size_t i = 0; i < names.size(); ++i) {
        ASSERT_TRUE(by_name.contains(names[i])) << names[i];
        const at::Tensor gradient = by_name.at(names[i]).grad();
        const double norm = gradient.defined() ? gradient.norm().item<double>() : 0;
        const double want = g.out("grad0_norm")[i].item<double>();
        // A gradient that is zero in exact arithmetic is rounding noise on both sides.
        const bool noise = std::find(zero.begin(), zero.end(), names[i]) != zero.end();
        EXPECT_LE(std::abs(norm - want), noise ? 1e-3 : 1e-4 * want + 1e-6) << names[i];
        if (!gradient.defined() || noise || !g.io.has("out.grad0_sample." + names[i])) continue;
        const at::Tensor some = g.out("grad0_sample." + names[i]).flatten(), all = gradient.flatten();
        const at::Tensor got = all.index_select(0, (at::arange(some.numel()) * all.numel()).div(some.numel(), "floor"));
        EXPECT_LE((got - some).abs().max().item<double>(), 1e-4 * want + 1e-6) << names[i];
      }
    }
    const Rate rate = schedule.at(step);
    near("lr", step, rate.lr);
    near("temp", step, contrast.mixing ? settings.mixco_temperature : contrast.temperature);
    near("beta1", step, rate.beta1);
    near("loss", step, loss.loss);
    near("loss_prior", step, loss.prior);
    near("loss_clip", step, loss.clip);
    near("loss_blurry", step, loss.blurry);
    near("loss_cont", step, loss.cont);
    near("recon_cossim", step, loss.recon_cossim);
    near("recon_mse", step, loss.recon_mse);
    near("fwd_percent_correct", step, loss.retrieval.forward);
    near("bwd_percent_correct", step, loss.retrieval.backward);
    optimizer.step(rate.lr, rate.beta1);
    lr_sum += rate.lr;
  }

  // Tolerances of config.json: 1e-6 for 99 % of the elements of each tensor with a true gradient, 2 sum(lr) for every element.
  int compared = 0;
  const c10::NoGradGuard no_grad;
  for (const auto& key : g.io.names()) {
    const bool sample = key.starts_with("out.final_sample.");
    if (!sample && !key.starts_with("out.final.")) continue;
    const std::string name = key.substr(sample ? 17 : 10);
    const at::Tensor want = g.io.get(key);
    at::Tensor got = by_name.at(name).flatten();
    if (sample) got = got.index_select(0, (at::arange(want.numel()) * got.numel()).div(want.numel(), "floor"));
    const at::Tensor error = (got.flatten() - want.flatten()).abs();
    EXPECT_LE(error.max().item<double>(), 2 * lr_sum) << name;
    if (std::find(zero.begin(), zero.end(), name) == zero.end()) {
      EXPECT_LE(error.gt(1e-6).to(at::kDouble).mean().item<double>(), 0.01) << name;
    }
    ++compared;
  }
  EXPECT_GT(compared, 100);
  if (!g.io.has("out.delta_norm")) return;
  const auto names = g.config.at("parameter_names_sorted").get<std::vector<std::string>>();
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (std::find(zero.begin(), zero.end(), names[i]) != zero.end()) continue;
    const double want = g.out("delta_norm")[i].item<double>();
    EXPECT_NEAR((by_name.at(names[i]) - before.at(names[i])).norm().item<double>(), want, 2e-3 * want + 1e-6) << names[i];
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, TrainSteps, testing::Values("train_steps", "train_steps_multi"));

}  // namespace
}  // namespace me2::train
