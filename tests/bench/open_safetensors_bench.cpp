// open_safetensors_bench FILE TENSOR: opens the file and sums one tensor; prints the seconds that took.
#include <ATen/ATen.h>

#include <chrono>
#include <cstdio>

#include "weights/state_dict.h"

int main(int argc, char** argv) {
  if (argc != 3) return 64;
  at::ones({1 << 20}).sum().item<double>();  // LibTorch's own start is not the question, here and in the peer
  const auto start = std::chrono::steady_clock::now();
  const auto dict = me2::weights::StateDict::open(argv[1]);
  const double sum = dict.get(argv[2]).sum().item<double>();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::printf("%.6f %.9g\n", seconds, sum);
}
