// The recorded denoising step against the same step call by call.
#include "nn/step_runner.h"

#include <c10/core/InferenceMode.h>

#include "device.h"
#include "diffusion/unclip.h"

namespace me2::nn {
namespace {

class Recorded : public test::DeviceTest {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    if (!IsSkipped() && !cuda_part()) GTEST_SKIP() << "libme2_cuda.so is not here";
  }
};

TEST(StepRunner, OnTheCpuIsThePlainCall) {
  const c10::InferenceMode guard;
  int calls = 0;
  StepRunner runner([&](const std::vector<at::Tensor>& in) {
    ++calls;
    return in[0] * 2;
  });
  for (int i = 1; i <= 4; ++i) {
    EXPECT_EQ(runner({at::full({2}, i)}).sum().item<double>(), 4 * i);
    EXPECT_EQ(calls, i);
  }
  EXPECT_FALSE(runner.recorded());
}

TEST_F(Recorded, ReplaysGiveEachInputsOwnResult) {
  const c10::InferenceMode guard;
  const at::Tensor weight = at::randn({8, 8}).to(device());
  const auto step = [&](const std::vector<at::Tensor>& in) { return at::tanh(at::linear(in[0], weight)) + in[1]; };
  StepRunner runner(step);
  std::vector<at::Tensor> kept, wanted;
  at::Tensor constant = at::randn({8}).to(device());
  for (int i = 0; i < 7; ++i) {
    if (i == 4) constant = at::randn({8}).to(device());                 // another condition
    const std::int64_t rows = i < 5 ? 3 : 5;                            // another batch
    const at::Tensor x = at::randn({rows, 8}).to(device()), expanded = constant.expand({rows, 8});
    kept.push_back(runner({x, expanded}));
    wanted.push_back(step({x, expanded}));
    EXPECT_EQ(runner.recorded(), (i > 0 && i < 5) || i > 5) << i;  // a form's first run is plain
  }
  for (std::size_t i = 0; i < kept.size(); ++i) EXPECT_LE(test::relative_error(kept[i], wanted[i]), 1e-6) << i;  // nor did a replay write over an earlier result
}

TEST_F(Recorded, AStepThatLooksAtItsValuesRunsCallByCall) {
  const c10::InferenceMode guard;
  StepRunner runner([](const std::vector<at::Tensor>& in) { return in[0] * in[0].sum().item<double>(); });
  for (int i = 1; i < 5; ++i) EXPECT_EQ(runner({at::full({2}, i).to(at::kFloat).to(device())})[0].item<double>(), 2 * i * i);
  EXPECT_FALSE(runner.recorded());
}

TEST_F(Recorded, WithGradientsIsThePlainCall) {
  StepRunner runner([](const std::vector<at::Tensor>& in) { return in[0] * 2; });
  const at::Tensor x = at::ones({2}).to(device()).requires_grad_();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(runner({x}).requires_grad());
  EXPECT_FALSE(runner.recorded());
}

// The decoder with all samplers: replayed steps against the network itself.
TEST_F(Recorded, LatentsAreThoseOfStepsCallByCall) {
  const c10::InferenceMode guard;
  const test::Golden g("unclip_end2end");
  const auto on = [&](const std::string& name) { return g.in(name).to(device()); };
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    diffusion::UnclipDecoder::Options options;
    options.device = device();
    options.dtype = dtype;
    const auto decoder = diffusion::UnclipDecoder::open(weights::StateDict::open(g.dir), options);
    const auto& unet = decoder.unet();
    const auto& schedule = decoder.denoiser().schedule();
    const diffusion::Network network = [&](const at::Tensor& x, const at::Tensor& t, const models::UnetContext& context, const at::Tensor& y) { return unet(x, t, context, y); };
    const diffusion::Denoiser plain(network, schedule, decoder.denoiser().scaling()), recorded(diffusion::replayed(network), schedule, decoder.denoiser().scaling());
    const auto sigmas = schedule.sigmas(5);
    const auto n = g.config["num_samples"].get<std::int64_t>();
    const at::Tensor y = decoder.vector(n);
    diffusion::SamplerHooks hooks;
    hooks.noise = [&](std::int64_t) { return on("noise"); };
    int batch = 0;
    for (const auto kind : {diffusion::SamplerKind::euler, diffusion::SamplerKind::euler_ancestral, diffusion::SamplerKind::dpmpp_2m, diffusion::SamplerKind::heun})
      for (int twice = 0; twice < 2; ++twice) {  // every batch but the first meets the recording of another condition
        const double scale = 1 - 0.1 * batch++;
        const auto condition = diffusion::guidance_condition(unet, on("uc_crossattn").expand({n, -1, -1}), on("tokens").expand({n, -1, -1}) * scale, y, y);
        const at::Tensor x = on("z") + on("noise") * sigmas.front();
        const at::Tensor got = diffusion::sample(kind, diffusion::guided(recorded, condition, 5), x, sigmas, hooks);
        const at::Tensor want = diffusion::sample(kind, diffusion::guided(plain, condition, 5), x, sigmas, hooks);
        EXPECT_LE(test::relative_error(got, want), dtype == at::kFloat ? 1e-5 : 1e-2) << described::print_one(kind) << " " << toString(dtype);
      }
    const diffusion::Condition alone{unet.project(on("tokens").expand({n, -1, -1})), y};  // without guidance: the vector is one row, expanded
    const at::Tensor x = on("z") * sigmas.front();
    EXPECT_LE(test::relative_error(diffusion::sample(diffusion::SamplerKind::euler, diffusion::unguided(recorded, alone), x, sigmas),
                                   diffusion::sample(diffusion::SamplerKind::euler, diffusion::unguided(plain, alone), x, sigmas)), dtype == at::kFloat ? 1e-5 : 1e-2);
  }
}

TEST_F(Recorded, AttentionOfTheDecodersShapesIsFused) {
  const c10::InferenceMode guard;
  for (const auto dtype : {at::kHalf, at::kBFloat16}) {
    const at::Tensor q = at::randn({2, 10, 64, 64}).to(device(), dtype);
    const auto backend = at::_fused_sdp_choice(q, q, q);
    if (std::getenv("ME2_CUDA_STAND_IN")) GTEST_SKIP() << "the stand-in has no fused attention";
    EXPECT_NE(backend, 0) << toString(dtype) << ": scaled_dot_product_attention would make the whole matrix";
  }
}

}  // namespace
}  // namespace me2::nn
