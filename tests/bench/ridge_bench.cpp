// ridge_bench TRIALS VOXELS TARGETS f32|f64 THREADS REPEATS: a fit of ten penalties chosen by leave-one-out, from arrays in memory: seconds of
// factorisation (Gram matrix and its eigenvectors), of the rest up to weights and bias in memory, and of the rest up to what is chosen and its
// scores (no weights; beside it the coefficients, as a kernel solver gives them), each repeat.
#include <ATen/ATen.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "nn/device.h"
#include "train/ridge_fit.h"

int main(int argc, char** argv) {
  using namespace me2;
  if (argc != 7) return 64;
  const std::int64_t n = std::atol(argv[1]), p = std::atol(argv[2]), t = std::atol(argv[3]);
  nn::set_threads(std::atoi(argv[5]));
  nn::hold_freed_memory();
  const at::Tensor x = at::randn({n, p}), y = x.narrow(1, 0, 64).mm(at::randn({64, t})) / 8 + at::randn({n, t});
  train::RidgeOptions options;
  options.dtype = std::string(argv[4]) == "f64" ? at::kDouble : at::kFloat;
  options.block = std::max(p, t);
  for (int i = 0; i < 10; ++i) options.alphas.push_back(std::pow(10.0, 1 + 5.0 * i / 9));
  for (int i = 0; i <= std::atoi(argv[6]); ++i) {
    const auto clock = [] { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); };
    const double start = clock();
    const train::RidgeSolver solver(x, true, options.dtype, options.block);
    const double factored = clock();
    const auto columns = [&](auto first, auto count) { return y.narrow(1, first, count); };
    const auto fit = train::fit_ridge(solver, t, columns, options);
    const double fitted = clock();
    auto without = options;
    without.weights = false;
    train::fit_ridge(solver, t, columns, without);
    if (i > 0) std::printf("%.6f %.6f %.6f %.3g\n", factored - start, fitted - factored, clock() - fitted, fit.alpha[0].item<double>());
  }
}
