#include <cmath>

#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "diffusion/denoiser.h"
#include "diffusion/edm_samplers.h"
#include "support/golden.h"

namespace me2::diffusion {
namespace {

struct Case {  // tests/golden/edm_sampler: sgm's DiscreteDenoiser, VanillaCFG and EulerEDMSampler
  test::Golden g{"edm_sampler"};
  nn::Loader loader{weights::StateDict::open(g.dir)};
  models::UnclipUnet net{nn::Scope(loader), models::UnetConfig::detect(nn::Scope(loader), g.config["unet"])};
  Denoiser denoiser{[this](const at::Tensor& x, const at::Tensor& t, const models::UnetContext& context, const at::Tensor& y) { return net(x, t, context, y); },
                    EdmSchedule(g.config["denoiser"]["num_idx"].get<std::int64_t>()),
                    parse_scaling(g.config["denoiser"]["scaling_config"]["target"].get<std::string>())};
  Condition both{net.project(at::cat({g.in("uc_crossattn"), g.in("c_crossattn")})), at::cat({g.in("uc_vector"), g.in("c_vector")})};
};

at::Tensor tensor(const std::vector<float>& v) { return at::tensor(v); }

TEST(EdmSchedule, EqualsSgmForSeveralStepCounts) {
  const test::Golden g("edm_sampler");
  const EdmSchedule schedule;
  g.expect("denoiser_sigmas", tensor(schedule.table()), 1e-6);  // one unit in the last place of f32: square roots differ between builds
  for (const int steps : {12, 25, 38, 50}) g.expect(fmt::format("sigmas_{}", steps), tensor(schedule.sigmas(steps)), 1e-6);
  const auto steps = g.config["num_steps"].get<std::int64_t>();
  EXPECT_TRUE(at::equal(at::tensor(schedule.indices(steps)), g.out("step_noise_idx")));
}

TEST(EdmSchedule, RefusesImpossibleStepCounts) {
  EXPECT_THROW(EdmSchedule().sigmas(0), Error);
  EXPECT_THROW(EdmSchedule().sigmas(1001), Error);
  EXPECT_EQ(EdmSchedule().sigmas(1000).front(), EdmSchedule().table().back());
}

TEST(Denoiser, SnapsArbitrarySigmasAsSgm) {
  const at::NoGradGuard no_grad;
  const Case c;
  const at::Tensor x = c.g.in("x"), x2 = at::cat({x, x}) * 3;
  const at::Tensor sigma = at::cat({at::full({x.size(0)}, 9.5f), at::full({x.size(0)}, 0.3f)});
  c.g.expect("denoised_arbitrary_sigma", c.denoiser(x2, sigma, c.both), c.g.config["tolerance"].get<double>());
}

TEST(Sampler, EulerWithGuidanceFollowsSgm) {
  const at::NoGradGuard no_grad;
  const Case c;
  const double tolerance = c.g.config["tolerance"].get<double>();
  const auto steps = c.g.config["num_steps"].get<std::int64_t>();
  const auto sigmas = c.denoiser.schedule().sigmas(steps);
  SamplerHooks hooks;
  hooks.entering = [&](std::int64_t step, const at::Tensor& x) {
    if (step == 0) c.g.expect("x_step0", x, tolerance);
    if (step == 1) c.g.expect("x_step1", x, tolerance);
    if (step == steps / 2) c.g.expect("x_step_mid", x, tolerance);
  };
  const at::Tensor start = scale_to_first_sigma(c.g.in("x"), sigmas);
  c.g.expect("latent", sample(SamplerKind::euler, guided(c.denoiser, c.both, c.g.config["guider_scale"].get<double>()), start, sigmas, hooks), tolerance);
}

TEST(Denoiser, GuidanceOfOneIsTheConditionAlone) {
  const at::NoGradGuard no_grad;
  const Case c;
  const Condition alone{c.net.project(c.g.in("c_crossattn")), c.g.in("c_vector")};
  const at::Tensor x = c.g.in("x") * 5;
  const at::Tensor a = guided(c.denoiser, c.both, 1)(x, 4), b = unguided(c.denoiser, alone)(x, 4);
  EXPECT_LE((a - b).abs().max().item<double>(), 1e-4);
}

// Data from N(0, c^2) have the exact denoiser c^2 / (c^2 + sigma^2) x, and the flow takes x at sigma_0 to x c / sqrt(c^2 + sigma_0^2).
double gaussian_error(SamplerKind kind, int steps) {
  const double c = 0.7;
  const Denoise denoise = [&](const at::Tensor& x, float sigma) { return x * (c * c / (c * c + sigma * sigma)); };
  const auto sigmas = EdmSchedule().sigmas(steps);
  const at::Tensor x = at::full({1}, static_cast<double>(sigmas[0]), at::kDouble);
  const double exact = sigmas[0] * c / std::sqrt(c * c + sigmas[0] * sigmas[0]);
  return std::abs(sample(kind, denoise, x, sigmas).item<double>() - exact);
}

TEST(Sampler, SecondOrderSamplersBeatEulerOnAGaussian) {
  // Not by more: the last step, to zero, is the same first-order one in all of them.
  for (const auto kind : {SamplerKind::heun, SamplerKind::dpmpp_2m}) EXPECT_LT(gaussian_error(kind, 38), 0.5 * gaussian_error(SamplerKind::euler, 38));
  for (const auto kind : {SamplerKind::euler, SamplerKind::heun, SamplerKind::dpmpp_2m}) EXPECT_LT(gaussian_error(kind, 200), gaussian_error(kind, 20));
}

TEST(Sampler, AncestralKeepsTheVarianceOfAGaussian) {
  const double c = 0.7;
  const Denoise denoise = [&](const at::Tensor& x, float sigma) { return x * (c * c / (c * c + sigma * sigma)); };
  const auto sigmas = EdmSchedule().sigmas(100);
  auto generator = at::globalContext().defaultGenerator(at::kCPU);
  generator.set_current_seed(3);
  SamplerHooks hooks;
  hooks.noise = [](std::int64_t) { return at::randn({20000}); };
  const at::Tensor x = sample(SamplerKind::euler_ancestral, denoise, at::randn({20000}) * std::hypot(sigmas[0], c), sigmas, hooks);
  EXPECT_NEAR(x.std().item<double>(), c, 0.05);
}

TEST(Denoiser, VelocityScalingRecoversTheImageFromItsTarget) {
  const at::Tensor z = at::randn({3, 4, 8, 8}), noise = at::randn({3, 4, 8, 8});
  at::Tensor answer;
  for (const auto scaling : {Scaling::eps, Scaling::v}) {
    const Denoiser denoiser([&](const at::Tensor&, const at::Tensor&, const models::UnetContext&, const at::Tensor&) { return answer; }, EdmSchedule(), scaling);
    const auto& table = denoiser.schedule().table();
    const at::Tensor sigma = at::tensor(std::vector<float>{table[40], table[500], table[990]});
    answer = denoiser.target(z, noise, sigma);
    const at::Tensor x = z + sigma.view({-1, 1, 1, 1}) * noise;
    EXPECT_LE((denoiser(x, sigma, {}) - z).abs().max().item<double>(), 1e-4);
  }
}

}  // namespace
}  // namespace me2::diffusion
