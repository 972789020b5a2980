// startup_bench make FILE CHANNELS: an unCLIP checkpoint (torch.save) of SDXL's layout with so many channels (SDXL: 320) and SDXL's
// autoencoder, arbitrary weights. startup_bench open FILE bf16|f32 THREADS: what me2-decode unclip does until its first denoising step;
// prints "first step" when it gets there.
#include <unistd.h>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "diffusion/unclip.h"
#include "weights/torch_file.h"

namespace {

using namespace me2;

struct Filler : nn::ParamSource {
  at::Tensor param(const std::string& name, const nn::Shape& shape, const nn::Init&, bool buffer) override {
    made_.push_back({name, at::full(shape, 0.01F), buffer});
    return made_.back().tensor;
  }
  bool has(const std::string&) const override { return true; }
  nn::Shape shape(const std::string&) const override { return {}; }
  bool knows_shapes() const override { return false; }
};

void make(const std::string& file, std::int64_t channels) {
  models::UnetConfig c;
  c.model_channels = channels;
  std::map<std::string, at::Tensor> tensors;
  {
    Filler unet;
    const models::UnclipUnet net(nn::Scope(unet), c);
    for (const auto& named : unet.made()) tensors["model.diffusion_model." + named.name] = named.tensor;
  }
  Filler vae;
  const models::VaeConfig sizes;
  const models::Vae net(nn::Scope(vae), sizes);
  for (const auto& named : vae.made()) tensors["first_stage_model." + named.name] = named.tensor;
  double bytes = 0;
  for (const auto& [name, t] : tensors) bytes += static_cast<double>(t.nbytes());
  weights::save_torch_zip(file, tensors);
  std::printf("%.3f GB\n", bytes / 1e9);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 64;
  const c10::InferenceMode inference;
  if (std::string(argv[1]) == "make") {
    make(argv[2], std::atoll(argv[3]));
    return 0;
  }
  at::set_num_threads(std::atoi(argv[4]));
  const auto decoder = diffusion::UnclipDecoder::open(weights::StateDict::open(argv[2]), {std::string(argv[3]) == "bf16" ? at::kBFloat16 : at::kFloat});
  const at::Tensor tokens = at::randn({1, 256, decoder.unet().config().context_dim}), z = at::randn({1, 4, 96, 96});
  diffusion::SamplerHooks hooks;
  hooks.entering = [](std::int64_t, const at::Tensor&) {
    std::printf("first step\n");
    std::fflush(stdout);
    _exit(0);
  };
  decoder.latent(tokens, {z, z, at::zeros({1}), tokens}, diffusion::SamplerKind::euler, 38, 5, hooks);
  return 1;
}
