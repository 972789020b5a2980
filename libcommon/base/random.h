// Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3").
// A number is a function of its key and its place, so it is the same whatever the batch size, shard, order or number of threads.
#pragma once
#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <utility>

namespace me2 {

// Which noise: of one sample, in one stage, for its n-th draw.
struct NoiseKey {
  std::uint64_t seed = 0;
  std::string_view stage;     // "prior", "unclip", ...: stages of one seed are independent
  std::int64_t stimulus = 0;  // the sample's stimulus id, never its position
  std::uint32_t draw = 0;     // 0: the starting latent, n: step n, as the stage counts
};

void fill_normal(std::span<float> out, const NoiseKey& key);   // mean 0, sd 1
void fill_uniform(std::span<float> out, const NoiseKey& key);  // [0, 1)

// The generator itself: 128 bits of counter and 64 of key to 128 random bits.
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

// A sequence, for what is not tied to a sample (weights at start, simulation, bootstrap): the n-th number of (seed, stream).
// Its distributions are written out here because those of <random> differ between standard libraries.
class Random {
 public:
  using result_type = std::uint32_t;
  explicit Random(std::uint64_t seed, std::string_view stream = "");
  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return std::numeric_limits<result_type>::max(); }
  result_type operator()();
  double uniform();                        // [0, 1), 53 bits
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  double normal();                         // mean 0, sd 1
  std::uint64_t below(std::uint64_t n);    // 0 .. n-1 without bias; n >= 1
  template <class T>
  void shuffle(std::span<T> values) {      // Fisher-Yates
    for (std::size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[below(i)]);
  }

 private:
  std::array<std::uint32_t, 2> key_;
  std::uint64_t block_ = 0;
  std::array<std::uint32_t, 4> words_{};
  int used_ = 4;
};

}  // namespace me2
