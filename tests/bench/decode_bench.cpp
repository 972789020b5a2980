// decode_bench unet|vae f32|bf16 THREADS REPEATS [ROWS]: seconds of each repeat after a first call. unet: SDXL's layout at a quarter
// of its width (80 channels, heads of 16), batch 2 (guidance), 48x48 latents, context 256 x 416. vae: SDXL's autoencoder decoding
// 512 px, in strips of ROWS rows when given; the last line is the process's peak memory in MB.
#include <sys/resource.h>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "models/unclip_unet.h"
#include "models/vae.h"

namespace {

using namespace me2;

struct Filler : nn::ParamSource {  // arbitrary small weights
  at::ScalarType dtype;
  explicit Filler(at::ScalarType type) : dtype(type) {}
  at::Tensor param(const std::string& name, const nn::Shape& shape, const nn::Init&, bool buffer) override {
    at::Tensor t = (at::randn(shape) * 0.02).to(dtype);
    made_.push_back({name, t, buffer});
    return t;
  }
  bool has(const std::string&) const override { return true; }
  nn::Shape shape(const std::string&) const override { return {}; }
  bool knows_shapes() const override { return false; }
};

template <class F>
void measure(int repeats, const F& f) {
  f();
  for (int i = 0; i < repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    f();
    std::printf("%.6f\n", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::printf("peak %ld\n", usage.ru_maxrss / 1024);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) return 64;
  const std::string what = argv[1];
  const auto dtype = std::string(argv[2]) == "bf16" ? at::kBFloat16 : at::kFloat;
  at::set_num_threads(std::atoi(argv[3]));
  const int repeats = std::atoi(argv[4]);
  const c10::InferenceMode inference;
  if (what == "unet") {
    models::UnetConfig c;
    c.model_channels = 80;
    c.num_head_channels = 16;
    c.norm_groups = 16;
    c.context_dim = 416;
    auto source = std::make_unique<Filler>(dtype);
    const models::UnclipUnet net(nn::Scope(*source), c);
    source.reset();
    const at::Tensor x = at::randn({2, 4, 48, 48}), t = at::full({2}, 500, at::kLong), y = at::randn({2, 1024}), context = at::randn({2, 256, 416});
    measure(repeats, [&] { net(x, t, context, y); });
  } else {
    auto source = std::make_unique<Filler>(dtype);
    const models::Vae vae(nn::Scope(*source), models::VaeConfig(), models::Vae::Parts::decoder);
    source.reset();
    const at::Tensor z = at::randn({1, 4, 64, 64});
    measure(repeats, [&] { vae.decode(z, argc > 5 ? std::atoi(argv[5]) : 0); });
  }
  return 0;
}
