#include "base/random.h"

#include <cmath>
#include <numbers>

#include "base/error.h"

namespace me2 {
namespace {

std::uint64_t mix(std::uint64_t x) {  // splitmix64's finaliser (Steele, Lea, Flood 2014)
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

std::array<std::uint32_t, 2> key_of(std::uint64_t seed, std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;  // FNV-1a
  for (const unsigned char c : name) hash = (hash ^ c) * 0x100000001b3ULL;
  const std::uint64_t key = mix(mix(seed) ^ hash);
  return {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)};
}

// Box-Muller on 32-bit words, in double so that rounding differences between C libraries vanish in the float.
std::pair<double, double> normal_pair(std::uint32_t a, std::uint32_t b) {
  const double radius = std::sqrt(-2 * std::log((a + 0.5) * 0x1p-32));
  const double angle = 2 * std::numbers::pi * ((b + 0.5) * 0x1p-32);
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

template <class Four>
void fill(std::span<float> out, const NoiseKey& noise, const Four& four) {
  if (out.size() / 4 >= std::numeric_limits<std::uint32_t>::max()) throw Error(Exit::internal, "a noise draw of over 2^34 numbers");
  const auto key = key_of(noise.seed, noise.stage);
  const auto id = static_cast<std::uint64_t>(noise.stimulus);
  for (std::size_t i = 0; i < out.size(); i += 4) {
    const auto words = philox({static_cast<std::uint32_t>(i / 4), noise.draw, static_cast<std::uint32_t>(id),
                               static_cast<std::uint32_t>(id >> 32)}, key);
    const std::array<float, 4> values = four(words);
    for (std::size_t j = 0; j < 4 && i + j < out.size(); ++j) out[i + j] = values[j];
  }
}

}  // namespace

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> c, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53} * c[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<std::uint32_t>(b >> 32) ^ c[1] ^ key[0], static_cast<std::uint32_t>(b),
         static_cast<std::uint32_t>(a >> 32) ^ c[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return c;
}

void fill_normal(std::span<float> out, const NoiseKey& key) {
  fill(out, key, [](const std::array<std::uint32_t, 4>& w) {
    const auto [a, b] = normal_pair(w[0], w[1]);
    const auto [c, d] = normal_pair(w[2], w[3]);
    return std::array<float, 4>{static_cast<float>(a), static_cast<float>(b), static_cast<float>(c), static_cast<float>(d)};
  });
}

void fill_uniform(std::span<float> out, const NoiseKey& key) {
  fill(out, key, [](const std::array<std::uint32_t, 4>& w) {
    std::array<float, 4> values;
    for (int i = 0; i < 4; ++i) values[i] = static_cast<float>(w[i] >> 8) * 0x1p-24f;  // 24 bits: exact, and never 1
    return values;
  });
}

Random::Random(std::uint64_t seed, std::string_view stream) : key_(key_of(seed, stream)) {}

Random::result_type Random::operator()() {
  if (used_ == 4) {
    // The last word keeps these blocks apart from those of NoiseKey, whose ids are small.
    words_ = philox({static_cast<std::uint32_t>(block_), static_cast<std::uint32_t>(block_ >> 32), 0, 0x80000000u}, key_);
    ++block_;
    used_ = 0;
  }
  return words_[used_++];
}

double Random::uniform() {
  const std::uint64_t high = (*this)(), low = (*this)();
  return static_cast<double>((high << 32 | low) >> 11) * 0x1p-53;
}

double Random::normal() {
  const std::uint32_t a = (*this)(), b = (*this)();
  return normal_pair(a, b).first;
}

std::uint64_t Random::below(std::uint64_t n) {
  if (n == 0) throw Error(Exit::internal, "Random::below(0)");
  const std::uint64_t limit = std::numeric_limits<std::uint64_t>::max() / n * n;
  while (true) {
    const std::uint64_t high = (*this)(), low = (*this)();
    if (const std::uint64_t value = high << 32 | low; value < limit) return value % n;
  }
}

}  // namespace me2
