#include "ingest/glm.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace me2::ingest {
namespace {

constexpr double kUndershoot = 1.0 / 6;

// Regularised lower incomplete gamma P(n, x) for whole n.
double gamma_cdf(int n, double x) {
  if (x <= 0) return 0;
  double term = std::exp(-x), sum = 0;
  for (int k = 0; k < n; ++k) {
    sum += term;
    term *= x / (k + 1);
  }
  return 1 - sum;
}

double gamma_pdf(int n, double x) { return x <= 0 ? 0 : std::exp((n - 1) * std::log(x) - x - std::lgamma(n)); }

// Orthonormal polynomials up to `order` over n points, [order + 1][n].
std::vector<std::vector<double>> polynomials(std::int64_t n, int order) {
  std::vector<std::vector<double>> basis;
  for (int p = 0; p <= order; ++p) {
    std::vector<double> v(static_cast<std::size_t>(n));
    for (std::int64_t t = 0; t < n; ++t) v[static_cast<std::size_t>(t)] = std::pow(n > 1 ? 2.0 * static_cast<double>(t) / static_cast<double>(n - 1) - 1 : 0.0, p);
    for (int pass = 0; pass < 2; ++pass)
      for (const auto& b : basis) {
        double dot = 0;
        for (std::size_t t = 0; t < v.size(); ++t) dot += v[t] * b[t];
        for (std::size_t t = 0; t < v.size(); ++t) v[t] -= dot * b[t];
      }
    double norm = 0;
    for (const double x : v) norm += x * x;
    if (norm < 1e-12) break;  // fewer points than the order asks for
    for (double& x : v) x /= std::sqrt(norm);
    basis.push_back(std::move(v));
  }
  return basis;
}

void project_out(std::vector<double>& v, const std::vector<std::vector<double>>& basis) {
  for (const auto& b : basis) {
    double dot = 0;
    for (std::size_t t = 0; t < v.size(); ++t) dot += v[t] * b[t];
    for (std::size_t t = 0; t < v.size(); ++t) v[t] -= dot * b[t];
  }
}

}  // namespace

double hrf(double t) { return (gamma_pdf(6, t) - kUndershoot * gamma_pdf(16, t)) / (1 - kUndershoot); }
double hrf_integral(double t) { return (gamma_cdf(6, t) - kUndershoot * gamma_cdf(16, t)) / (1 - kUndershoot); }

std::vector<double> response(const TrialEvent& event, std::span<const double> times) {
  std::vector<double> out;
  for (const double t : times)
    out.push_back(event.duration > 0 ? hrf_integral(t - event.onset) - hrf_integral(t - event.onset - event.duration) : hrf(t - event.onset));
  return out;
}

void detrend(Series& s, int order) {
  if (order < 0) return;
  const auto basis = polynomials(s.times, order);
  const auto width = static_cast<std::size_t>(s.voxels);
  std::vector<double> dot(width);
  std::vector<double> residual(s.values.begin(), s.values.end());
  for (const auto& b : basis) {
    std::fill(dot.begin(), dot.end(), 0);
    for (std::size_t t = 0; t < b.size(); ++t)
      for (std::size_t v = 0; v < width; ++v) dot[v] += b[t] * residual[t * width + v];
    for (std::size_t t = 0; t < b.size(); ++t)
      for (std::size_t v = 0; v < width; ++v) residual[t * width + v] -= b[t] * dot[v];
  }
  std::copy(residual.begin(), residual.end(), s.values.begin());
}

void standardise(Series& s, std::span<const std::int64_t> rows) {
  const auto width = static_cast<std::size_t>(s.voxels);
  std::vector<std::int64_t> all;
  if (rows.empty()) {
    for (std::int64_t t = 0; t < s.times; ++t) all.push_back(t);
    rows = all;
  }
  for (std::size_t v = 0; v < width; ++v) {
    double mean = 0, square = 0;
    for (const std::int64_t t : rows) mean += s.values[static_cast<std::size_t>(t) * width + v];
    mean /= static_cast<double>(rows.size());
    for (const std::int64_t t : rows) square += std::pow(s.values[static_cast<std::size_t>(t) * width + v] - mean, 2);
    const double sd = std::sqrt(square / static_cast<double>(rows.size()));
    for (std::int64_t t = 0; t < s.times; ++t) {
      float& x = s.values[static_cast<std::size_t>(t) * width + v];
      x = sd > 0 ? static_cast<float>((x - mean) / sd) : 0;
    }
  }
}

std::vector<float> block_average(const Series& s, std::span<const TrialEvent> events, double shift) {
  const auto width = static_cast<std::size_t>(s.voxels);
  std::vector<float> out(events.size() * width);
  std::vector<double> sum(width);
  for (std::size_t e = 0; e < events.size(); ++e) {
    // Volumes whose start lies in the shifted block; at least the one being acquired at its start.
    const double from = events[e].onset + shift, to = from + events[e].duration;
    std::int64_t first = static_cast<std::int64_t>(std::ceil(from / s.tr - 1e-6)), last = static_cast<std::int64_t>(std::ceil(to / s.tr - 1e-6));
    if (last <= first) first = static_cast<std::int64_t>(std::floor(from / s.tr + 1e-6)), last = first + 1;
    first = std::max<std::int64_t>(first, 0), last = std::min(last, s.times);
    if (last <= first)
      throw data_error("event {} (onset {} s): no volume between {} and {} s of a run of {} volumes", e + 1, events[e].onset, from, to, s.times);
    std::fill(sum.begin(), sum.end(), 0);
    for (std::int64_t t = first; t < last; ++t)
      for (std::size_t v = 0; v < width; ++v) sum[v] += s.values[static_cast<std::size_t>(t) * width + v];
    for (std::size_t v = 0; v < width; ++v) out[e * width + v] = static_cast<float>(sum[v] / static_cast<double>(last - first));
  }
  return out;
}

std::vector<float> least_squares_separate(const Series& s, std::span<const TrialEvent> events, int drift) {
  const auto width = static_cast<std::size_t>(s.voxels), times = static_cast<std::size_t>(s.times);
  const auto basis = polynomials(s.times, std::max(drift, 0));
  if (times <= basis.size() + 2) throw data_error("a run of {} volumes is too short for a drift polynomial of order {} and two regressors", times, drift);
  std::vector<double> at;
  for (std::int64_t t = 0; t < s.times; ++t) at.push_back(s.time_of(t));
  // By Frisch, Waugh and Lovell: with drift projected out of the regressors, the two remaining coefficients follow from 2 x 2 systems.
  std::vector<std::vector<double>> h;
  std::vector<double> all(times, 0);
  for (std::size_t e = 0; e < events.size(); ++e) {
    h.push_back(response(events[e], at));
    project_out(h[e], basis);
    for (std::size_t t = 0; t < times; ++t) all[t] += h[e][t];
  }
  std::vector<double> dot(events.size() * width, 0), total(width, 0);
  for (std::size_t t = 0; t < times; ++t) {
    const float* y = s.values.data() + t * width;
    for (std::size_t e = 0; e < events.size(); ++e) {
      const double w = h[e][t];
      if (w == 0) continue;
      double* d = dot.data() + e * width;
      for (std::size_t v = 0; v < width; ++v) d[v] += w * y[v];
    }
    for (std::size_t v = 0; v < width; ++v) total[v] += all[t] * y[v];
  }
  std::vector<float> out(events.size() * width);
  for (std::size_t e = 0; e < events.size(); ++e) {
    double aa = 0, ab = 0, bb = 0;
    for (std::size_t t = 0; t < times; ++t) {
      const double a = h[e][t], b = all[t] - a;
      aa += a * a, ab += a * b, bb += b * b;
    }
    if (!(aa > 1e-20)) throw data_error("event {} (onset {} s): no response to it falls into a run of {} volumes of {} s", e + 1, events[e].onset, times, s.tr);
    const double det = aa * bb - ab * ab;
    const bool alone = !(bb > 1e-20);
    if (!alone && !(det > 1e-10 * aa * bb)) throw data_error("event {} (onset {} s) cannot be told from the other events of its run", e + 1, events[e].onset);
    for (std::size_t v = 0; v < width; ++v) {
      const double ay = dot[e * width + v], by = total[v] - ay;
      out[e * width + v] = static_cast<float>(alone ? ay / aa : (bb * ay - ab * by) / det);
    }
  }
  return out;
}

}  // namespace me2::ingest
