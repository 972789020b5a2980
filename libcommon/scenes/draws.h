// The named random streams of the simulation: (seed, label, index) -> a sequence of its own.
#pragma once
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/random.h"

namespace me2::scenes {

inline Random stream(std::uint64_t seed, std::string_view label, std::uint64_t index = 0) {
  return Random(seed, std::string(label) + "/" + std::to_string(index));
}

inline double gamma(Random& draws, double shape) {  // Marsaglia and Tsang (2000)
  if (shape < 1) return gamma(draws, shape + 1) * std::pow(1 - draws.uniform(), 1 / shape);
  const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = draws.normal(), v = std::pow(1 + c * x, 3);
    if (v > 0 && std::log(1 - draws.uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

inline double beta(Random& draws, double a, double b) {
  const double x = gamma(draws, a);
  return x / (x + gamma(draws, b));
}

}  // namespace me2::scenes
