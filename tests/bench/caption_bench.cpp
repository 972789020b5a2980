// caption_bench GIT FEATURES.safetensors BEAMS THREADS: captions with a beam search; prints seconds and the ids.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "models/caption_model.h"
#include "weights/state_dict.h"

int main(int argc, char** argv) {
  if (argc != 5) return 64;
  at::set_num_threads(std::atoi(argv[4]));
  const c10::InferenceMode inference;
  const auto git = me2::models::load_git(argv[1]);
  const at::Tensor features = me2::weights::StateDict::open(argv[2]).get("features").clone();
  const auto run = [&] { return git.beam(features, std::atoi(argv[3]), 20); };
  run();
  const auto start = std::chrono::steady_clock::now();
  const at::Tensor ids = run();
  std::printf("%.6f", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  for (std::int64_t i = 0; i < ids.numel(); ++i) std::printf(" %ld", static_cast<long>(ids.flatten()[i].item<std::int64_t>()));
  std::printf("\n");
}
