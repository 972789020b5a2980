// images_bench THREADS REPEATS BATCH [bigg]: seconds of each pass of OpenCLIP's ViT-L/14 (or bigG/14) image tower over BATCH pictures of 224
// pixels, after a first one; the last line is the process's peak memory in MB.
#include <sys/resource.h>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "models/open_clip.h"

int main(int argc, char** argv) {
  if (argc != 4 && argc != 5) return 64;
  using namespace me2;
  at::set_num_threads(std::atoi(argv[1]));
  const c10::InferenceMode inference;
  models::OpenClipVisionConfig c;
  if (argc == 4) c.image_size = 224, c.patch_size = 14, c.width = 1024, c.layers = 24, c.heads = 16, c.mlp_width = 4096, c.embed_dim = 768;
  auto source = std::make_unique<nn::Initialiser>(1);
  const models::OpenClipVision tower(nn::Scope(*source), c);
  source.reset();
  const at::Tensor x = at::randn({std::atoi(argv[3]), 3, 224, 224});
  for (int i = 0; i <= std::atoi(argv[2]); ++i) {
    const auto start = std::chrono::steady_clock::now();
    tower(x);
    if (i) std::printf("%.6f\n", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::printf("peak %ld\n", usage.ru_maxrss / 1024);
}
