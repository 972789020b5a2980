// brain_bench backbone|prior|tiny f32|bf16 BATCH THREADS REPEATS: seconds of each repeat. backbone: hidden 4096, without the low-level
// head; prior: one network call at full size; tiny: the 19 calls of DDIM 20 at width 48. Weights are arbitrary. On stderr: MiB of weights
// and of the process's peak.
#include <sys/resource.h>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "diffusion/prior_sampler.h"
#include "models/backbone.h"
#include "models/prior_inference.h"
#include "nn/device.h"

namespace {

using namespace me2;

// Weights at once: one block of normal numbers, repeated.
struct Filler : nn::ParamSource {
  at::ScalarType dtype;
  at::Tensor block = at::randn({1 << 22}) * .02;
  std::size_t bytes = 0;
  explicit Filler(at::ScalarType type) : dtype(type) {}
  at::Tensor param(const std::string& name, const nn::Shape& shape, const nn::Init& init, bool buffer) override {
    at::Tensor t = at::empty(shape, buffer || init.wide ? at::kFloat : dtype);
    if (name.ends_with("freqs") || name.starts_with("noise")) t.fill_(.5);
    else for (std::int64_t at = 0; at < t.numel(); at += block.numel()) {
      const std::int64_t n = std::min(block.numel(), t.numel() - at);
      t.view({-1}).narrow(0, at, n).copy_(block.narrow(0, 0, n));
    }
    bytes += t.nbytes();
    return t;
  }
  bool has(const std::string&) const override { return true; }
  nn::Shape shape(const std::string&) const override { return {}; }
  bool knows_shapes() const override { return true; }
};

template <class F>
void time_it(int repeats, std::size_t weights, const F& f) {
  f();
  for (int i = 0; i < repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    f();
    std::printf("%.6f\n", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::fprintf(stderr, "weights %zu MiB, peak %ld MiB\n", weights >> 20, usage.ru_maxrss >> 10);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) return 64;
  const std::string what = argv[1];
  const std::int64_t batch = std::atol(argv[3]);
  nn::set_threads(std::atoi(argv[4]));
  nn::hold_freed_memory();
  const int repeats = std::atoi(argv[5]);
  Filler filler(nn::parse_dtype(argv[2]));
  if (what == "backbone") {
    models::BackboneConfig config;
    config.lowlevel = false;
    const models::Backbone net{nn::Scope(filler), config};
    const at::Tensor x = at::randn({batch, 1, config.hidden});
    time_it(repeats, filler.bytes, [&] { net.infer(x); });
    return 0;
  }
  models::PriorNetworkConfig config;
  if (what == "tiny") config = {48, 2, 4, 12, 16, 192, 32, 128, 1e-5};
  const models::PriorNetwork net(nn::Scope(filler), config);
  models::PriorInference fast(net);
  const at::Tensor brain = at::randn({batch, config.tokens, config.width}), image = at::randn_like(brain);
  if (what == "prior") {
    time_it(repeats, filler.bytes, [&] { fast(image, 50, brain); });
  } else {
    nn::Initialiser fresh(1);
    const models::NoiseScheduler schedule{nn::Scope(fresh)};
    const auto plan = diffusion::prior_plan(100, 20);
    time_it(repeats, filler.bytes, [&] {
      diffusion::sample_prior(schedule, plan, [&](const at::Tensor& x, std::int64_t t) { return fast(x, t, brain); }, [&](std::int64_t) { return image; });
    });
  }
}
