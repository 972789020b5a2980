#include "scenes/subject_simulator.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "scenes/draws.h"

namespace me2::scenes {
namespace {

constexpr int kGrid = 16, kMaps = 11, kAxes = 24, kSources = 10, kRuns = 12;
constexpr double kSharedNoise = .45, kSessionOffset = .1;

// The semantic space is the same for every subject and seed-dependent only: attributes -> axes, tanh(.5 S A).
std::vector<double> attributes(const Scene& scene) {
  const auto C = category_names().size(), K = colour_names().size(), B = background_names().size();
  std::vector<double> s(C + K + B + 3, 0.);
  s[static_cast<std::size_t>(scene.object.category)] = 1;
  if (scene.second) s[static_cast<std::size_t>(scene.second->category)] += .5;
  s[C + static_cast<std::size_t>(scene.object.colour)] = 1;
  s[C + K + static_cast<std::size_t>(scene.background)] = 1;
  s[C + K + B] = 2 * scene.object.x - 1;
  s[C + K + B + 1] = 2 * scene.object.y - 1;
  s[C + K + B + 2] = 8 * (scene.object.radius - .29);
  return s;
}

void z_score_columns(std::vector<float>& matrix, std::size_t rows, std::size_t columns) {
  for (std::size_t v = 0; v < columns; ++v) {
    double sum = 0, squares = 0;
    for (std::size_t i = 0; i < rows; ++i) sum += matrix[i * columns + v];
    const double mean = sum / static_cast<double>(rows);
    for (std::size_t i = 0; i < rows; ++i) squares += std::pow(matrix[i * columns + v] - mean, 2);
    const double sd = std::sqrt(squares / static_cast<double>(rows));
    const double scale = sd > 1e-9 ? 1 / sd : 0;
    for (std::size_t i = 0; i < rows; ++i) matrix[i * columns + v] = static_cast<float>((matrix[i * columns + v] - mean) * scale);
  }
}

}  // namespace

int SimulationOptions::voxels(int subject) const {
  static constexpr std::array<int, 8> counts{900, 780, 860, 720, 700, 880, 660, 800};
  return std::max(16, static_cast<int>(std::lround(voxel_scale * counts[static_cast<std::size_t>((subject - 1) % 8)])));
}

ImageFeatures image_features(const Scene& scene, const Picture& picture, int side, std::uint64_t seed) {
  if (side % kGrid) throw usage_error("the image side {} is no multiple of {}", side, kGrid);
  const auto pixels = static_cast<std::size_t>(side) * side;
  std::vector<float> luminance(pixels), red_green(pixels), blue_yellow(pixels);
  for (std::size_t i = 0; i < pixels; ++i) {
    const float r = picture.rgb[i] / 255.f, g = picture.rgb[pixels + i] / 255.f, b = picture.rgb[2 * pixels + i] / 255.f;
    luminance[i] = .299f * r + .587f * g + .114f * b;
    red_green[i] = r - g;
    blue_yellow[i] = b - .5f * (r + g);
  }
  ImageFeatures f;
  f.maps.assign(kMaps * kGrid * kGrid, 0);
  const int cell = side / kGrid;
  const auto pool = [&](int map, auto&& value) {
    for (int y = 0; y < side; ++y)
      for (int x = 0; x < side; ++x) f.maps[static_cast<std::size_t>((map * kGrid + y / cell) * kGrid + x / cell)] += value(x, y) / static_cast<float>(cell * cell);
  };
  const auto at = [&](const std::vector<float>& m, int x, int y) {
    return m[static_cast<std::size_t>(std::clamp(y, 0, side - 1) * side + std::clamp(x, 0, side - 1))];
  };
  pool(0, [&](int x, int y) { return at(luminance, x, y); });
  pool(1, [&](int x, int y) { return at(red_green, x, y); });
  pool(2, [&](int x, int y) { return at(blue_yellow, x, y); });
  // Oriented energy: squared directional differences at two distances, in four directions.
  constexpr std::array<std::array<int, 2>, 4> directions{{{1, 0}, {0, 1}, {1, 1}, {1, -1}}};
  int map = 3;
  for (const int step : {1, 3})
    for (const auto& [dx, dy] : directions) {
      pool(map, [&, dx = dx, dy = dy](int x, int y) {
        const float d = at(luminance, x + step * dx, y + step * dy) - at(luminance, x - step * dx, y - step * dy);
        return d * d;
      });
      for (int i = 0; i < kGrid * kGrid; ++i) {
        float& value = f.maps[static_cast<std::size_t>(map * kGrid * kGrid + i)];
        value = std::sqrt(value);
      }
      ++map;
    }
  const auto s = attributes(scene);
  Random draws = stream(seed, "semantic axes");
  f.axes.assign(kAxes, 0);
  for (const double value : s)
    for (int k = 0; k < kAxes; ++k) f.axes[static_cast<std::size_t>(k)] += static_cast<float>(.5 * value * 2 * draws.normal());
  for (auto& axis : f.axes) axis = std::tanh(axis);
  return f;
}

struct SubjectSimulator::Tuning {
  std::vector<std::int32_t> index;  // into the maps
  std::vector<float> weight;
  std::array<float, kAxes> semantic{};
  double mix = 0, x = 0, y = 0, sigma = 0;
};

SubjectSimulator::~SubjectSimulator() = default;

SubjectSimulator::SubjectSimulator(const SimulationOptions& options, int subject)
    : options_(options), subject_(subject), voxels_(options.voxels(subject)) {
  const auto& o = options_;
  const auto subject_key = static_cast<std::uint64_t>(subject);
  // Which image when: own images in a random order of all their repeats, shared ones spread over the sessions.
  const std::int64_t shared = o.test_images + o.validation_images, own_first = shared + (subject - 1) * o.own_images();
  std::vector<std::int32_t> own;
  for (std::int64_t i = 0; i < o.own_images(); ++i)
    for (int k = 0; k < o.repeats; ++k) own.push_back(static_cast<std::int32_t>(own_first + i));
  stream(o.seed, "trial order", subject_key).shuffle(std::span(own));
  own.resize(static_cast<std::size_t>(o.sessions) * o.trials_per_session);
  std::vector<std::int32_t> common;
  for (std::int32_t i = 0; i < shared; ++i)
    for (int k = 0; k < o.shared_repeats; ++k) common.push_back(i);
  stream(o.seed, "shared trial order").shuffle(std::span(common));  // NSD shows the shared images to everyone at the same places
  std::vector<int> shown(static_cast<std::size_t>(o.images()), 0);
  for (int session = 1; session <= o.sessions; ++session) {
    std::vector<std::int32_t> here(own.begin() + (session - 1) * o.trials_per_session, own.begin() + session * o.trials_per_session);
    const auto begin = common.size() * static_cast<std::size_t>(session - 1) / o.sessions, end = common.size() * static_cast<std::size_t>(session) / o.sessions;
    here.insert(here.end(), common.begin() + static_cast<std::ptrdiff_t>(begin), common.begin() + static_cast<std::ptrdiff_t>(end));
    stream(o.seed, "session order", subject_key * 1000 + static_cast<std::uint64_t>(session)).shuffle(std::span(here));
    for (std::size_t i = 0; i < here.size(); ++i) {
      const auto image = here[i];
      trials_.push_back({image, static_cast<std::int16_t>(session), static_cast<std::int16_t>(1 + i * kRuns / here.size()),
                         static_cast<std::int16_t>(++shown[static_cast<std::size_t>(image)]),
                         static_cast<std::int8_t>(image < o.test_images ? 1 : image < shared ? 2 : 0)});
    }
  }
  for (std::size_t image = 0; image < shown.size(); ++image)
    if (shown[image]) image_rows_.push_back(static_cast<std::int64_t>(image));

  tuning_.resize(static_cast<std::size_t>(voxels_));
  sources_.resize(static_cast<std::size_t>(voxels_) * kSources);
  for (int v = 0; v < voxels_; ++v) {
    Random draws = stream(o.seed, "voxel", subject_key * 1000000 + static_cast<std::uint64_t>(v));
    auto& t = tuning_[static_cast<std::size_t>(v)];
    t.mix = v < voxels_ / 2 ? .93 : .35;  // early visual cortex first, higher areas after
    t.x = draws.uniform(0, kGrid), t.y = draws.uniform(0, kGrid), t.sigma = draws.uniform(.8, 3);
    std::array<double, kMaps> map_weight{};
    for (auto& w : map_weight) w = draws.uniform() < .4 ? draws.normal() : 0;
    if (std::all_of(map_weight.begin(), map_weight.end(), [](double w) { return w == 0; })) map_weight[0] = 1;
    for (int m = 0; m < kMaps; ++m) {
      if (map_weight[static_cast<std::size_t>(m)] == 0) continue;
      for (int y = 0; y < kGrid; ++y)
        for (int x = 0; x < kGrid; ++x) {
          const double d2 = (std::pow(x + .5 - t.x, 2) + std::pow(y + .5 - t.y, 2)) / (t.sigma * t.sigma);
          if (d2 > 9) continue;
          t.index.push_back((m * kGrid + y) * kGrid + x);
          t.weight.push_back(static_cast<float>(map_weight[static_cast<std::size_t>(m)] * std::exp(-.5 * d2)));
        }
    }
    for (auto& w : t.semantic) w = draws.uniform() < .35 ? static_cast<float>(draws.normal()) : 0.f;
    rho_.push_back(std::clamp(beta(draws, 1.3, 3.6), .01, .8));
    double norm = 0;
    for (int k = 0; k < kSources; ++k) {
      auto& w = sources_[static_cast<std::size_t>(v) * kSources + k];
      w = static_cast<float>(draws.normal());
      norm += w * w;
    }
    for (int k = 0; k < kSources; ++k) sources_[static_cast<std::size_t>(v) * kSources + k] /= static_cast<float>(std::sqrt(norm));
  }
}

std::vector<std::int64_t> SubjectSimulator::images() const { return image_rows_; }

void SubjectSimulator::add_image(const ImageFeatures& f) {
  for (const auto& t : tuning_) {
    float low = 0, high = 0;
    for (std::size_t i = 0; i < t.index.size(); ++i) low += t.weight[i] * f.maps[static_cast<std::size_t>(t.index[i])];
    for (std::size_t k = 0; k < kAxes; ++k) high += t.semantic[k] * f.axes[k];
    low_.push_back(low);
    high_.push_back(high);
  }
}

void SubjectSimulator::finish() {
  const auto V = static_cast<std::size_t>(voxels_), N = image_rows_.size();
  if (low_.size() != V * N) throw Error(Exit::internal, fmt::format("{} of {} images were simulated", low_.size() / V, N));
  z_score_columns(low_, N, V);
  z_score_columns(high_, N, V);
  response_.resize(V * N);
  for (std::size_t i = 0; i < N; ++i)
    for (std::size_t v = 0; v < V; ++v) {
      const double m = tuning_[v].mix, z = m * low_[i * V + v] + std::sqrt(1 - m * m) * high_[i * V + v];
      response_[i * V + v] = static_cast<float>((z > 0 ? z : .6 * z) + .05 * (z > 0 ? 1 : -1) * z * z);
    }
  z_score_columns(response_, N, V);
  low_.clear(), low_.shrink_to_fit();
  high_.clear(), high_.shrink_to_fit();
}

void SubjectSimulator::betas(std::int64_t first, std::int64_t count, float* out) const {
  const auto V = static_cast<std::size_t>(voxels_);
  const double independent = std::sqrt(1 - kSharedNoise * kSharedNoise);
  int offset_session = 0;
  std::vector<float> offset(V), noise(V + kSources);
  for (std::int64_t t = first; t < first + count; ++t) {
    const auto& trial = trials_.at(static_cast<std::size_t>(t));
    const auto image = static_cast<std::size_t>(std::lower_bound(image_rows_.begin(), image_rows_.end(), trial.stimulus) - image_rows_.begin());
    if (trial.session != offset_session) {
      fill_normal(offset, {options_.seed, "simulate session", trial.session, static_cast<std::uint32_t>(subject_)});
      offset_session = trial.session;
    }
    fill_normal(noise, {options_.seed, "simulate trial", t, static_cast<std::uint32_t>(subject_)});
    const float* g = noise.data() + V;
    float* row = out + static_cast<std::size_t>(t - first) * V;
    for (std::size_t v = 0; v < V; ++v) {
      double shared = 0;
      for (std::size_t k = 0; k < kSources; ++k) shared += sources_[v * kSources + k] * g[k];
      const double added = kSharedNoise * shared + independent * noise[v];
      row[v] = static_cast<float>(std::sqrt(rho_[v]) * response_[image * V + v] + std::sqrt(1 - rho_[v]) * added + kSessionOffset * offset[v]);
    }
  }
}

std::vector<std::uint8_t> SubjectSimulator::roi(const std::string& name) const {
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(voxels_), 0);
  for (int v = 0; v < voxels_; ++v) {
    const auto& t = tuning_[static_cast<std::size_t>(v)];
    const bool early = v < voxels_ / 2;
    // Receptive fields grow from V1 to V4.
    const int area = early ? std::min(4, 1 + static_cast<int>((t.sigma - .8) / .55)) : 5;
    mask[static_cast<std::size_t>(v)] = name == "nsdgeneral" || (name == "higher_vis" && area == 5) || name == "V" + std::to_string(area);
  }
  return mask;
}

std::vector<std::int32_t> SubjectSimulator::voxel_ijk() const {
  std::vector<std::int32_t> ijk;
  for (int v = 0; v < voxels_; ++v) ijk.insert(ijk.end(), {v % 10, v / 10 % 10, v / 100});
  return ijk;
}

}  // namespace me2::scenes
