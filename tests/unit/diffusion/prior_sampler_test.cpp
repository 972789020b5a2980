// DDIM and DDPM sampling of the prior against golden prior_sample, with the reference's draws; and the identities that
// the fast network must keep.
#include "diffusion/prior_sampler.h"

#include <array>

#include "models/prior_inference.h"
#include "support/golden.h"

namespace me2::diffusion {
namespace {

struct Case {
  test::Golden golden{"prior_sample"};
  nn::Loader loader{weights::StateDict::open(golden.model())};
  models::DiffusionPrior prior{nn::Scope(loader), models::DiffusionPriorConfig::detect(nn::Scope(loader))};
  models::PriorInference fast{prior.net};
  at::Tensor brain = golden.in("text_embed");
  double tolerance(const std::string& name) const { return golden.config["tolerances"][name]; }

  at::Tensor sample(const std::string& noise, std::int64_t steps, double guidance, const PriorObserver& observe = {}, bool plain = false) {
    const at::Tensor draws = golden.in(noise);
    const auto plan = prior_plan(prior.noise_scheduler.timesteps(), steps);
    EXPECT_EQ(plan.draws, draws.size(0));
    return sample_prior(prior.noise_scheduler, plan,
        [&](const at::Tensor& x, std::int64_t t) {
          return plain ? prior.net.guided(x, at::full({x.size(0)}, t, at::kLong), brain, guidance) : fast(x, t, brain, guidance);
        },
        [&](std::int64_t draw) { return draws[draw]; }, observe);
  }
};

TEST(PriorSampler, GoldenDdimWithAndWithoutGuidance) {
  ME2_NEEDS_GOLDEN("prior_sample");
  Case c;
  const std::int64_t steps = c.golden.config["sample_timesteps"];
  const auto plan = prior_plan(c.prior.noise_scheduler.timesteps(), steps);
  std::vector<std::int64_t> times;
  for (const auto& [t, next] : plan.steps) times.push_back(t);
  const at::Tensor want = c.golden.out("ddim20_times");
  EXPECT_EQ(times, std::vector<std::int64_t>(want.const_data_ptr<std::int64_t>(), want.const_data_ptr<std::int64_t>() + want.numel()));
  for (const bool plain : {false, true}) {
    const at::Tensor out = c.sample("ddim_noise", steps, 1, [&](std::int64_t call, const at::Tensor& x, const at::Tensor& clean) {
      if (call == 0) c.golden.expect("ddim20_x_start_0", clean, c.tolerance("ddim20_x_start_0"));
      if (call == 1) c.golden.expect("ddim20_x_before_call_1", x, c.tolerance("ddim20_x_before_call_1"));
      if (call + 1 == static_cast<std::int64_t>(plan.steps.size())) c.golden.expect("ddim20_x_before_last_call", x, c.tolerance("ddim20_x_before_last_call"));
    }, plain);
    c.golden.expect("ddim20_cond_scale_1", out, c.tolerance("ddim20_cond_scale_1"));
    c.golden.expect("ddim20_cond_scale_3", c.sample("ddim_noise", steps, 3, {}, plain), c.tolerance("ddim20_cond_scale_3"));
  }
}

TEST(PriorSampler, GoldenDdpmWithAndWithoutGuidance) {
  ME2_NEEDS_GOLDEN("prior_sample");
  Case c;
  const std::int64_t steps = c.golden.config["timesteps"];
  const at::Tensor out = c.sample("ddpm_noise", steps, 1, [&](std::int64_t call, const at::Tensor& x, const at::Tensor&) {
    if (call == 1) c.golden.expect("ddpm100_x_before_call_1", x, c.tolerance("ddpm100_x_before_call_1"));
    if (call + 1 == steps) c.golden.expect("ddpm100_x_before_last_call", x, c.tolerance("ddpm100_x_before_last_call"));
  });
  c.golden.expect("ddpm100_cond_scale_1", out, c.tolerance("ddpm100_cond_scale_1"));
  c.golden.expect("ddpm100_cond_scale_3", c.sample("ddpm_noise", steps, 3), c.tolerance("ddpm100_cond_scale_3"));
}

TEST(PriorSampler, ASampleIsTheSameBytesInAnyBatch) {
  ME2_NEEDS_GOLDEN("prior_sample");
  Case c;
  const at::Tensor x = c.golden.in("ddim_noise")[0];
  const at::Tensor both = c.fast(x, 50, c.brain, 3);
  for (std::int64_t i = 0; i < x.size(0); ++i)
    EXPECT_TRUE(at::equal(both[i], c.fast(x.narrow(0, i, 1), 50, c.brain.narrow(0, i, 1), 3)[0]));
}

// Widths that fill no vector, an odd number of rows, and heads wider than the rotated part: the small network's own kernels against LibTorch's operators.
TEST(PriorSampler, SmallNetworksOfAnySizeAreComputedAsThePlainNetwork) {
  for (const auto& [width, heads, head, tokens, inner] : {std::array<std::int64_t, 5>{20, 3, 10, 5, 36}, {96, 2, 40, 9, 104}, {34, 1, 6, 3, 7}}) {
    nn::Initialiser fresh(3);
    const models::PriorNetwork net(nn::Scope(fresh), {width, 2, heads, head, tokens, inner, 32, 128, 1e-5});
    models::PriorInference fast(net);
    at::manual_seed(7);
    const at::Tensor image = at::randn({5, tokens, width}), brain = at::randn({5, tokens, width});
    const at::Tensor want = net.guided(image, at::full({5}, 40, at::kLong), brain, 2.5), got = fast(image, 40, brain, 2.5);
    EXPECT_LT((got - want).abs().max().item<double>(), 1e-5 * want.abs().max().item<double>()) << width;
    EXPECT_TRUE(at::equal(got[4], fast(image.narrow(0, 4, 1), 40, brain.narrow(0, 4, 1), 2.5)[0])) << width;
  }
}

TEST(PriorSampler, BfloatWeightsStayCloseToFloat) {
  ME2_NEEDS_GOLDEN("prior_sample");
  Case c;
  nn::Loader half(weights::StateDict::open(c.golden.model()), at::kBFloat16);
  const models::DiffusionPrior prior(nn::Scope(half), models::DiffusionPriorConfig::detect(nn::Scope(half)));
  EXPECT_EQ(prior.noise_scheduler.betas.scalar_type(), at::kFloat);  // the schedule is never narrowed
  models::PriorInference fast(prior.net);
  const at::Tensor x = c.golden.in("ddim_noise")[0];
  const at::Tensor want = c.fast(x, 50, c.brain), got = fast(x, 50, c.brain);
  const double relative = ((got - want).norm() / want.norm()).item<double>();
  EXPECT_LT(relative, .06);  // bfloat16 keeps 8 bits, 0.4 % per product; a random network of three layers reached .03
  EXPECT_GT(relative, 0);
}

TEST(PriorSampler, StepCountsOutsideTheScheduleAreRefused) {
  EXPECT_THROW(prior_plan(100, 1), std::exception);
  EXPECT_THROW(prior_plan(100, 101), std::exception);
  EXPECT_EQ(prior_plan(100, 20).draws, 19);
  EXPECT_EQ(prior_plan(100, 100).draws, 101);
}

}  // namespace
}  // namespace me2::diffusion
