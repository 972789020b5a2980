// Every network on the device in f32, f16 and bf16 against the CPU in f32 on the golden cases, within bounds on the relative error
// (the norm of the difference over the norm of the CPU's result). docs/cuda.md has the bounds and why they are what they are.
#include <c10/core/InferenceMode.h>

#include "device.h"
#include "diffusion/prior_sampler.h"
#include "diffusion/sdxl_refine.h"
#include "diffusion/unclip.h"
#include "models/backbone.h"
#include "models/clip_converter.h"
#include "models/clip_text.h"
#include "models/convnext.h"
#include "models/diffusion_prior.h"
#include "models/git_captioner.h"
#include "models/open_clip.h"
#include "models/vae.h"

namespace me2 {
namespace {

using test::Golden;

// `make` builds the network from a scope; `run` gets inputs moved to the device in the network's type by `in`.
struct Setting {
  at::Device device;
  at::ScalarType dtype;
  at::Tensor operator()(const at::Tensor& t) const { return at::isFloatingType(t.scalar_type()) ? t.to(device, dtype) : t.to(device); }
  nn::Loader load(const weights::StateDict& dict) const { return nn::Loader(dict, dtype, device); }
};

at::Tensor flat(const std::vector<at::Tensor>& parts) {
  std::vector<at::Tensor> out;
  for (const auto& t : parts) {
    EXPECT_TRUE(t.defined());
    out.push_back(t.to(at::kCPU, at::kFloat).flatten());
  }
  return at::cat(out);
}

at::Tensor backbone(const Setting& s) {
  const Golden g("backbone");
  auto loader = s.load(weights::StateDict::open(g.dir));
  const nn::Scope scope = nn::Scope(loader).sub("backbone");
  const models::Backbone net(scope, models::BackboneConfig::detect(scope));
  const auto out = net.infer(s(g.out("latent")));
  return flat({out.tokens, out.clip, out.latent});
}

at::Tensor prior_network(const Setting& s) {
  const Golden g("prior_network");
  auto loader = s.load(weights::StateDict::open(g.model()));
  const models::PriorNetwork net(nn::Scope(loader), models::PriorNetworkConfig::detect(nn::Scope(loader)));
  return flat({net.guided(g.in("image_embed").to(s.device), g.in("timesteps").to(s.device), g.in("text_embed").to(s.device), 3)});
}

at::Tensor prior_sample(const Setting& s) {
  const Golden g("prior_sample");
  auto loader = s.load(weights::StateDict::open(g.model()));
  const models::DiffusionPrior prior(nn::Scope(loader), models::DiffusionPriorConfig::detect(nn::Scope(loader)));
  const at::Tensor draws = g.in("ddim_noise").to(s.device), brain = g.in("text_embed").to(s.device);
  const auto plan = diffusion::prior_plan(prior.noise_scheduler.timesteps(), g.config["sample_timesteps"].get<std::int64_t>());
  return flat({diffusion::sample_prior(prior.noise_scheduler, plan,
      [&](const at::Tensor& x, std::int64_t t) {
        return prior.net.guided(x, at::full({x.size(0)}, t, x.options().dtype(at::kLong)), brain, 1).to(at::kFloat);
      },
      [&](std::int64_t draw) { return draws[draw]; })});
}

at::Tensor open_clip_vision(const Setting& s) {
  const Golden g("openclip_visual");
  auto loader = s.load(weights::StateDict::open(g.dir).sub("visual."));
  const nn::Scope scope(loader);
  const models::OpenClipVision tower(scope, models::OpenClipVisionConfig::detect(scope, g.config));
  const auto out = tower(s(models::clip_pixels(g.in("image_a_u8").to(at::kFloat) / 255, tower.config.image_size, true)));
  return flat({out.tokens, out.pooled});
}

at::Tensor open_clip_text(const Setting& s) {
  const Golden g("openclip_text");
  auto loader = s.load(weights::StateDict::open(g.dir));
  const nn::Scope scope(loader);
  const auto out = models::OpenClipText(scope, models::OpenClipTextConfig::detect(scope, g.config))(s(g.in("tokens")));
  return flat({out.penultimate, out.pooled});
}

at::Tensor clip_text(const Setting& s) {
  const Golden g("clip_text_hf");
  auto loader = s.load(weights::StateDict::open(g.dir).sub("text_model."));
  const nn::Scope scope(loader);
  const auto out = models::ClipText(scope, models::ClipTextConfig::detect(scope, g.config))(s(g.in("tokens")));
  return flat({out.last_hidden_state, out.pooled});
}

at::Tensor convnext(const Setting& s) {
  const Golden g("convnext_xl");
  auto loader = s.load(weights::StateDict::open(g.dir));
  const nn::Scope scope(loader);
  const auto out = models::ConvNext(scope, models::ConvNextConfig::detect(scope))(s(g.in("image")));
  return flat({out.tokens, out.embeds});
}

at::Tensor vae(const Setting& s) {
  const Golden g("sd_vae");
  const auto net = models::Vae::open(weights::StateDict::open(g.dir), models::Vae::Parts::both, s.dtype, s.device);
  const at::Tensor z = s(g.in("z_scaled"));
  return flat({net.encode(s(2 * g.in("image") - 1)).mode(), net.decode_first_stage(z), net.decode_first_stage(z, 8)});
}

at::Tensor unet(const Setting& s) {
  const Golden g("unclip_unet_formula");
  auto loader = s.load(weights::StateDict::open(g.dir));
  const nn::Scope scope(loader);
  const models::UnclipUnet net(scope, models::UnetConfig::detect(scope, g.config["unet"]));
  return flat({net(g.in("x").to(s.device), g.in("timesteps").to(s.device), s(g.in("context")), s(g.in("y")))});
}

at::Tensor converter(const Setting& s) {
  const Golden g("clip_converter");
  auto loader = s.load(weights::StateDict::open(g.dir));
  return flat({models::ClipConverter(nn::Scope(loader), models::ClipConverterConfig::detect(nn::Scope(loader)))(s(g.in("x")))});
}

at::Tensor captioner(const Setting& s) {
  const Golden g("git_caption");
  auto loader = s.load(weights::StateDict::open(g.dir));
  const models::GitCaptioner git(nn::Scope(loader), models::GitConfig::detect(nn::Scope(loader), g.config));
  const at::Tensor features = s(g.in("image_features"));
  return flat({git.logits(features, s(g.out("generated_ids")))});
}

at::Tensor unclip(const Setting& s) {  // tokens to picture, all steps, guidance and all; the autoencoder in f32
  const Golden g("unclip_end2end");
  diffusion::UnclipDecoder::Options options;
  options.dtype = s.dtype;
  options.device = s.device;
  const auto decoder = diffusion::UnclipDecoder::open(weights::StateDict::open(g.dir), options);
  const auto n = g.config["num_samples"].get<std::int64_t>();
  const auto on = [&](const std::string& name) { return g.in(name).to(s.device); };
  const diffusion::UnclipDraws draws{on("z"), on("noise"), on("offset"), on("uc_crossattn").expand({n, -1, -1})};
  const auto& c = decoder.config();
  return flat({decoder.picture(decoder.latent(on("tokens").expand({n, -1, -1}), draws, diffusion::SamplerKind::euler, c.steps, c.guidance))});
}

at::Tensor refine(const Setting& s) {
  const Golden g("sdxl_img2img");
  diffusion::UnclipDecoder::Options options;
  options.dtype = s.dtype;
  options.device = s.device;
  const auto refiner = diffusion::SdxlRefiner::open(weights::StateDict::open(g.dir), options);
  diffusion::SdxlRefiner::Settings settings;
  settings.steps = g.config["num_steps"].get<std::int64_t>();
  settings.timepoint = g.config["img2img_timepoint"].get<std::int64_t>();
  settings.guidance = g.config["guider_scale"].get<double>();
  return flat({refiner.picture(refiner.latent(g.in("image"), refiner.prompt({g.in("prompt_ids_clip_l"), g.in("prompt_ids_bigg")}),
                                              refiner.negative({g.in("negative_ids_clip_l"), g.in("negative_ids_bigg")}), g.in("posterior_noise"), g.in("noise"), settings))});
}

struct Network {
  const char* name;
  at::Tensor (*run)(const Setting&);
  double f32, f16, bf16;  // bounds
};
void PrintTo(const Network& n, std::ostream* out) { *out << n.name; }

// One pass: rounding of the type, some layers deep. Many steps with guidance: the same, carried and amplified by the steps.
constexpr double kF32 = 1e-4, kF16 = 1e-2, kBF16 = 6e-2;
const Network kNetworks[] = {{"backbone", backbone, kF32, kF16, kBF16},
                             {"prior_network", prior_network, kF32, kF16, kBF16},
                             {"prior_sample", prior_sample, kF32, kF16, kBF16},
                             {"open_clip_vision", open_clip_vision, kF32, kF16, kBF16},
                             {"open_clip_text", open_clip_text, kF32, kF16, kBF16},
                             {"clip_text", clip_text, kF32, kF16, kBF16},
                             {"convnext", convnext, kF32, kF16, kBF16},
                             {"vae", vae, kF32, kF16, kBF16},
                             {"unet", unet, kF32, kF16, kBF16},
                             {"clip_converter", converter, kF32, kF16, kBF16},
                             {"captioner", captioner, kF32, kF16, kBF16},
                             {"unclip", unclip, 1e-3, 2e-2, 0.1},
                             {"refine", refine, 1e-3, 2e-2, 0.1}};

class OnTheDevice : public test::DeviceTest, public testing::WithParamInterface<std::tuple<Network, at::ScalarType>> {};

TEST_P(OnTheDevice, IsWithinBoundsOfTheCpu) {
  const auto& [network, dtype] = GetParam();
  const c10::InferenceMode guard;
  static std::map<std::string, at::Tensor> known;
  at::Tensor& cpu = known[network.name];
  if (!cpu.defined()) cpu = network.run({at::kCPU, at::kFloat});
  const at::Tensor got = network.run({device(), dtype});
  ASSERT_EQ(got.sizes(), cpu.sizes());
  const double error = test::relative_error(got, cpu), bound = dtype == at::kFloat ? network.f32 : dtype == at::kHalf ? network.f16 : network.bf16;
  std::printf("%-18s %-9s relative error %.2e, bound %.0e\n", network.name, toString(dtype), error, bound);
  EXPECT_LE(error, bound);
}

INSTANTIATE_TEST_SUITE_P(Networks, OnTheDevice, testing::Combine(testing::ValuesIn(kNetworks), testing::Values(at::kFloat, at::kHalf, at::kBFloat16)),
                         [](const auto& info) { return std::string(std::get<0>(info.param).name) + "_" + toString(std::get<1>(info.param)); });

using DeviceCaptions = test::DeviceTest;
TEST_F(DeviceCaptions, GreedyAndBeamChooseTheCpusWords) {
  const c10::InferenceMode guard;
  const Golden g("git_caption");
  const auto ids = [&](at::Device device, std::int64_t beams) {
    nn::Loader loader(weights::StateDict::open(g.dir), at::kFloat, device);
    const models::GitCaptioner git(nn::Scope(loader), models::GitConfig::detect(nn::Scope(loader), g.config));
    const at::Tensor features = g.in("image_features").to(device);
    return (beams == 1 ? git.greedy(features, g.config.value("max_length", 20)).ids : git.beam(features, beams)).cpu();
  };
  EXPECT_TRUE(at::equal(ids(device(), 1), g.out("generated_ids")));
  EXPECT_TRUE(at::equal(ids(device(), 3), ids(at::kCPU, 3)));
}

}  // namespace
}  // namespace me2
