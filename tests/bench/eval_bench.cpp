// BCa intervals of several scores: eval_bench SCORES.npy RESAMPLES THREADS, SCORES [n images, scores] float64. Prints seconds, then
// value, low and high of each score.
#include <chrono>

#include <fmt/format.h>

#include "metrics/bootstrap.h"
#include "store/npy.h"

int main(int, char** argv) {
  using namespace me2;
  const auto npy = store::read_npy(argv[1]);
  const auto values = npy.as<double>();
  const std::int64_t n = npy.shape.at(0), columns = npy.shape.at(1);
  std::vector<metrics::Scored> scores(columns);
  for (std::int64_t c = 0; c < columns; ++c)
    for (std::int64_t i = 0; i < n; ++i) scores[c].values.push_back(values[i * columns + c]);
  metrics::BootstrapOptions how;
  how.resamples = std::atoll(argv[2]), how.threads = std::atoi(argv[3]);
  const auto start = std::chrono::steady_clock::now();
  const auto intervals = metrics::bca(scores, how);
  fmt::print("{}\n", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  for (const auto& i : intervals) fmt::print("{} {} {}\n", i.value, i.low, i.high);
}
