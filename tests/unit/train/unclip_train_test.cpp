#include "train/unclip_train.h"

#include <csignal>
#include <filesystem>
#include <numeric>
#include <set>

#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/signals.h"
#include "support/golden.h"
#include "support/temp_dir.h"
#include "train/vae_train.h"

namespace me2::train {
namespace {

TEST(UnclipLoss, ValuesAndGradientsEqualTheReference) {  // tests/golden/unclip_train: sgm StandardDiffusionLoss
  const test::Golden g("unclip_train");
  nn::Loader loader(weights::StateDict::open(g.dir), at::kFloat, at::kCPU, /*trainable=*/true);
  const models::UnclipUnet net(nn::Scope(loader), models::UnetConfig::detect(nn::Scope(loader), g.config["unet"]));
  loader.finish();
  const diffusion::Denoiser denoiser(
      [&](const at::Tensor& x, const at::Tensor& t, const models::UnetContext& context, const at::Tensor& y) { return net(x, t, context, y); },
      diffusion::EdmSchedule(), diffusion::parse_scaling(g.config["denoiser"]["scaling_config"]["target"].get<std::string>()));
  const at::Tensor z = g.in("z").requires_grad_(), tokens = g.in("c_crossattn").requires_grad_(), vector = g.in("c_vector").requires_grad_();
  const at::Tensor noise = offset_noise(g.in("noise"), g.in("offset"), g.config["offset_noise_level"].get<double>());
  const at::Tensor loss = unclip_loss(denoiser, z, g.in("sigma_idx"), noise, {net.project(tokens), vector});
  g.expect("loss", loss, g.config["tolerance"].get<double>());
  g.expect("loss_mean", loss.mean(), g.config["tolerance"].get<double>());
  loss.mean().backward();
  const double relative = g.config["tolerance_grad_relative"].get<double>();
  // With 32 groups of one channel the norm removes what the size conditioning adds: those gradients are rounding alone, in the
  // reference too (its own f32 against f64 is `reference_error_grads`).
  const auto check = [&](const std::string& name, const at::Tensor& grad) {
    g.expect(name, grad, std::max(relative * g.out(name).abs().max().item<double>(), 5 * g.config["reference_error_grads"].value(name, 0.0)));
  };
  check("grad_z", z.grad());
  check("grad_crossattn", tokens.grad());
  check("grad_vector", vector.grad());
  int parameters = 0;
  for (const auto& named : loader.made())
    if (g.io.has("out.grad." + named.name)) check("grad." + named.name, named.tensor.grad()), ++parameters;
  EXPECT_GT(parameters, 0);
}

models::UnetConfig tiny() {
  return models::UnetConfig::parse(Json{{"model_channels", 16}, {"num_res_blocks", 1}, {"channel_mult", {1, 2}}, {"transformer_depth", {1, 1}},
                                        {"attention_resolutions", {1, 2}}, {"num_head_channels", 8}, {"context_dim", 6}, {"adm_in_channels", 16},
                                        {"norm_groups", 8}});
}

// Latents that the tokens decide: a constant per channel.
UnclipTrainData toy_data() {
  const at::Tensor tokens = at::linspace(-1, 1, 8).view({8, 1, 1}).expand({8, 3, 6}).contiguous();
  const at::Tensor mean = tokens.select(1, 0).slice(1, 0, 4).unsqueeze(-1).unsqueeze(-1).expand({8, 4, 4, 4});
  return {at::cat({mean, at::full({8, 4, 4, 4}, -30.0)}, 1), [tokens](const std::vector<std::int64_t>& rows) { return tokens.index_select(0, at::tensor(rows)); }};
}

struct Toy {
  UnetStart start{weights::StateDict(), 5, at::kCPU};
  models::UnclipUnet net{nn::Scope(start), tiny()};
  diffusion::Denoiser denoiser{[this](const at::Tensor& x, const at::Tensor& t, const models::UnetContext& c, const at::Tensor& y) { return net(x, t, c, y); },
                               diffusion::EdmSchedule(), diffusion::Scaling::v};
  diffusion::UnclipConfig config;
  UnclipTrainData data = toy_data();
  UnclipTrainOptions options{4, 3, 0.1, 0, NoiseLevels::lognormal};
  at::Tensor loss(std::int64_t step) {
    return unclip_train_step(net, denoiser, config, 1.0, [](const at::Tensor& t) { return t; }, at::zeros({1, 16}), data, options, step);
  }
};

TEST(UnclipTrain, LearnsLatentsThatTheTokensDecide) {
  const test::TempDir dir;
  Toy toy;
  StepLoopSettings s;
  s.steps = 60;
  s.lr = 3e-3;
  s.folder = dir / "m.partial";
  const auto curve = StepLoop(toy.start.made(), s).run("toy", [&](std::int64_t step) { return toy.loss(step); });
  const auto mean = [&](std::size_t from) { return std::accumulate(curve.begin() + static_cast<long>(from), curve.begin() + static_cast<long>(from) + 15, 0.0) / 15; };
  EXPECT_LT(mean(45), 0.6 * mean(0));
}

// Rows that share a picture, encoded once, are trained on as if each had a picture of its own.
TEST(UnclipTrain, RowsOfTokensMayShareAPicture) {
  Toy own, shared;
  const std::vector<std::int64_t> picture{3, 0, 0, 2, 1, 3, 2, 1};
  const at::Tensor pictures = own.data.moments.slice(0, 0, 4).contiguous();
  own.data.moments = pictures.index_select(0, at::tensor(picture));
  shared.data.moments = pictures;
  shared.data.picture = picture;
  EXPECT_EQ(shared.data.size(), 8);
  for (const std::int64_t step : {0, 1, 2}) EXPECT_EQ(own.loss(step).item<double>(), shared.loss(step).item<double>()) << step;
  shared.data.picture = {0, 0, 0, 2, 1, 3, 2, 1};
  EXPECT_NE(own.loss(0).item<double>() + own.loss(1).item<double>(), shared.loss(0).item<double>() + shared.loss(1).item<double>());
}

TEST(UnclipTrain, ResumesToTheSameWeights) {
  const test::TempDir dir;
  const auto train = [&](const std::string& folder, std::int64_t stop_at, bool resume) {
    Toy toy;
    StepLoopSettings s;
    s.steps = 8;
    s.lr = 1e-3;
    s.warmup = 2;
    s.cosine = true;
    s.folder = dir / folder;
    s.digest = "d";
    s.resume = resume;
    StepLoop loop(toy.start.made(), s);
    loop.run("toy", [&](std::int64_t step) {
      if (step + 1 == stop_at) request_stop(SIGTERM);
      return toy.loss(step);
    });
    return loop.weights();
  };
  const auto whole = train("whole", -1, false);
  EXPECT_THROW(train("parts", 3, false), Error);
  clear_stop();
  const auto parts = train("parts", -1, true);
  for (const auto& [name, tensor] : whole) EXPECT_TRUE(at::equal(tensor, parts.at(name))) << name;
}

// Normalised tokens have mean 0 and deviation 1 at every position; coded, each position has a mean of its own that the seed decides.
TEST(TokenStatistics, NormaliseAndCodePositions) {
  const at::Tensor tokens = at::arange(150 * 3 * 4, at::kFloat).view({150, 3, 4}).remainder(17.0) * at::arange(1, 5) + 5;
  UnclipTrainData data{at::zeros({150, 2, 1, 1}), [&](const std::vector<std::int64_t>& rows) { return tokens.index_select(0, at::tensor(rows)); }};
  const auto normalised = [&](TokenNorm norm, std::uint64_t seed) {
    const auto [mean, sd] = token_statistics(data, norm, seed);
    return (tokens - mean) / sd;
  };
  const at::Tensor plain = normalised(TokenNorm::position, 1), coded = normalised(TokenNorm::coded, 1);
  EXPECT_LE(plain.mean(0).abs().max().item<double>(), 1e-5);
  EXPECT_LE((plain.std(0, false) - 1).abs().max().item<double>(), 1e-5);
  EXPECT_LE((coded.std(0, false) - 1).abs().max().item<double>(), 1e-5);
  EXPECT_GT((coded.mean(0)[0] - coded.mean(0)[1]).abs().max().item<double>(), 0.1);
  EXPECT_TRUE(at::equal(coded, normalised(TokenNorm::coded, 1)));
  EXPECT_FALSE(at::allclose(coded, normalised(TokenNorm::coded, 2)));
  EXPECT_TRUE(at::equal(tokens, normalised(TokenNorm::none, 1)));
}

TEST(UnetStart, RenewsKeysAndValuesAndCutsTheSizeConditioning) {
  Toy toy;
  std::map<std::string, at::Tensor> tensors;
  for (const auto& named : toy.start.made()) tensors[named.name] = named.tensor.detach();
  auto config = tiny();
  config.context_dim = 5;
  config.adm_in_channels = 8;
  UnetStart start(weights::StateDict::from_tensors(tensors), 1, at::kCPU);
  const models::UnclipUnet net(nn::Scope(start), config);
  std::set<std::string> renewed(start.renewed().begin(), start.renewed().end());
  EXPECT_TRUE(renewed.contains("middle_block.1.transformer_blocks.0.attn2.to_k.weight"));
  for (const auto& named : start.made()) {
    if (named.name == "label_emb.0.0.weight") {
      EXPECT_TRUE(at::equal(named.tensor, tensors[named.name].slice(1, 0, 8)));
    } else if (!renewed.contains(named.name)) {
      EXPECT_TRUE(at::equal(named.tensor, tensors[named.name])) << named.name;
    }
  }
}

TEST(BatchRows, EveryEpochVisitsEveryRowOnce) {
  std::multiset<std::int64_t> seen;
  for (std::int64_t step = 0; step < 7; ++step)
    for (const auto row : batch_rows(1, 7, 3, step)) seen.insert(row);
  for (std::int64_t row = 0; row < 7; ++row) EXPECT_EQ(seen.count(row), 3u) << row;
}

TEST(VaeTrain, ReconstructsFlatPicturesBetterThanItStarted) {
  const test::TempDir dir;
  nn::Initialiser init(2);
  const models::Vae vae(nn::Scope(init), models::VaeConfig::parse(Json{{"ddconfig", {{"ch", 8}, {"ch_mult", {1, 2}}, {"num_res_blocks", 1}, {"norm_groups", 4}}}}));
  const Pictures pictures = [](const std::vector<std::int64_t>& rows) {
    return at::tensor(rows).to(at::kFloat).view({-1, 1, 1, 1}).div(8).expand({static_cast<std::int64_t>(rows.size()), 3, 24, 24});
  };
  StepLoopSettings s;
  s.steps = 60;
  s.lr = 3e-3;
  s.folder = dir / "m.partial";
  const VaeTrainOptions options{4, 16, 3};
  const auto curve = StepLoop(init.made(), s).run("vae", [&](std::int64_t step) { return vae_train_step(vae, pictures, 8, options, step, at::kCPU); });
  EXPECT_LT(curve.back(), 0.4 * curve.front());
  const double scale = unit_scale(vae, pictures, 8, at::kCPU);
  EXPECT_TRUE(scale > 0 && std::isfinite(scale));
}

TEST(VaeTrain, TheFeatureTermIsTheRelativeErrorOfTheFeatures) {
  nn::Initialiser init(2);
  const models::Vae vae(nn::Scope(init), models::VaeConfig::parse(Json{{"ddconfig", {{"ch", 8}, {"ch_mult", {1, 2}}, {"num_res_blocks", 1}, {"norm_groups", 4}}}}));
  const at::Tensor x = at::rand({2, 3, 8, 8}) * 2 - 1, noise = at::zeros({2, 4, 4, 4});
  VaeTrainOptions options;
  const double plain = vae_loss(vae, x, noise, options).item<double>();
  options.feature_weight = 3;
  options.features = [](const at::Tensor& pictures) { return pictures.flatten(1) * 5; };  // the pictures themselves
  const at::Tensor loss = vae_loss(vae, x, noise, options);
  const at::Tensor y = vae.decode(vae.encode(x).mode());
  const double relative = (y - x).square().sum().item<double>() / (x + 1).square().sum().item<double>();  // of pictures in [0, 1]
  EXPECT_NEAR(loss.item<double>() - plain, 3 * relative, 1e-4);
  loss.backward();
  EXPECT_GT(init.made().back().tensor.grad().abs().sum().item<double>(), 0);
}

TEST(VaeTrain, TowerFeaturesAreUnitTokensAndTheUnitPooledVector) {
  nn::Initialiser init(4);
  const Json config{{"open_clip", {{"embed_dim", 6}, {"vision_cfg", {{"image_size", 16}, {"patch_size", 8}, {"width", 8}, {"layers", 1}, {"head_width", 4}}}}}};
  const auto tower = std::make_shared<models::OpenClipVision>(nn::Scope(init), models::OpenClipVisionConfig::from_json(config));
  const at::Tensor f = tower_features(tower, false)(at::rand({3, 3, 16, 16})).detach();
  ASSERT_EQ(f.sizes(), (std::vector<std::int64_t>{3, 4 * 8 + 6}));
  EXPECT_NEAR(f.slice(1, 0, 32).square().sum().item<double>(), 3, 1e-4);  // a sample's tokens weigh 1 on average, and so does its pooled vector
  EXPECT_NEAR(f.slice(1, 32).square().sum().item<double>(), 3, 1e-4);
}

}  // namespace
}  // namespace me2::train
