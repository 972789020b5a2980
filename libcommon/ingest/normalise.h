// Mean and population deviation per voxel, in float64.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace me2::ingest {

// Welford's recurrence: one pass, no cancellation. sd 0 becomes 1, so that a constant voxel is carried to 0 (as scikit-learn's
// StandardScaler does).
struct Moments {
  explicit Moments(std::size_t width) : mean(width, 0), sd(width, 0) {}
  template <class T>
  void add(const T* row) {
    ++count;
    for (std::size_t v = 0; v < mean.size(); ++v) {
      const double x = static_cast<double>(row[v]), d = x - mean[v];
      mean[v] += d / static_cast<double>(count);
      sd[v] += d * (x - mean[v]);
    }
  }
  void finish() {
    for (double& s : sd) {
      s = count ? std::sqrt(s / static_cast<double>(count)) : 0;
      if (!(s > 0)) s = 1;
    }
  }
  std::vector<double> mean, sd;
  std::int64_t count = 0;
};

}  // namespace me2::ingest
