// A stream of random draws named by (seed, label, index): the same stream gives the same numbers whatever was drawn elsewhere.
#pragma once
#include <cmath>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace me2::scenes {

class Draws {
 public:
  Draws(std::uint64_t seed, std::string_view label, std::uint64_t index = 0) : state_(mix(seed ^ mix(hash(label) ^ mix(index)))) {}

  std::uint64_t bits() { return mix(state_ += 0x9E3779B97F4A7C15ull); }
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }  // [0, 1)
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  std::int64_t below(std::int64_t n) { return static_cast<std::int64_t>(uniform() * static_cast<double>(n)); }
  double normal() {  // Box-Muller, both halves used
    if (spare_ready_) {
      spare_ready_ = false;
      return spare_;
    }
    const double r = std::sqrt(-2 * std::log(1 - uniform())), angle = 2 * M_PI * uniform();
    spare_ = r * std::sin(angle);
    spare_ready_ = true;
    return r * std::cos(angle);
  }
  double gamma(double shape) {  // Marsaglia and Tsang (2000)
    if (shape < 1) return gamma(shape + 1) * std::pow(1 - uniform(), 1 / shape);
    const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
    for (;;) {
      const double x = normal(), v = std::pow(1 + c * x, 3);
      if (v > 0 && std::log(1 - uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
    }
  }
  double beta(double a, double b) {
    const double x = gamma(a);
    return x / (x + gamma(b));
  }
  template <class T>
  void shuffle(std::vector<T>& values) {
    for (std::size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[static_cast<std::size_t>(below(static_cast<std::int64_t>(i)))]);
  }

 private:
  static std::uint64_t mix(std::uint64_t z) {  // splitmix64's finaliser
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
  }
  static std::uint64_t hash(std::string_view text) {
    std::uint64_t h = 0xcbf29ce484222325ull;
    for (const unsigned char c : text) h = (h ^ c) * 0x100000001b3ull;
    return h;
  }
  std::uint64_t state_;
  double spare_ = 0;
  bool spare_ready_ = false;
};

}  // namespace me2::scenes
