#include "metrics/umap.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/random.h"

namespace me2::metrics {
namespace {

at::Tensor squared_distances(const at::Tensor& x) {  // [n, n] f64 on the diagonal-free Gram matrix
  const auto d = x.to(at::kDouble);
  const auto centred = d - d.mean(0);
  const auto norms = centred.pow(2).sum(1);
  return (norms.unsqueeze(1) + norms - 2 * centred.matmul(centred.t())).clamp_min(0);
}

// The fit of 1/(1 + a r^(2b)) to the membership curve of (min_dist, spread), by Gauss-Newton with damping.
std::pair<double, double> fit_curve(double min_dist, double spread) {
  double a = 1.5, b = 0.9, damping = 1e-3;
  const auto residuals = [&](double a, double b, double* jtj, double* jtr) {
    double sum = 0;
    if (jtj) std::fill(jtj, jtj + 3, 0.), std::fill(jtr, jtr + 2, 0.);
    for (int i = 1; i < 300; ++i) {
      const double r = 3 * spread * i / 299, want = r < min_dist ? 1 : std::exp(-(r - min_dist) / spread);
      const double p = std::pow(r, 2 * b), f = 1 / (1 + a * p), e = f - want;
      sum += e * e;
      if (jtj) {
        const double da = -f * f * p, db = -f * f * a * p * 2 * std::log(r);
        jtj[0] += da * da, jtj[1] += da * db, jtj[2] += db * db, jtr[0] += da * e, jtr[1] += db * e;
      }
    }
    return sum;
  };
  double jtj[3], jtr[2];
  double error = residuals(a, b, jtj, jtr);
  for (int i = 0; i < 200; ++i) {
    const double m0 = jtj[0] * (1 + damping), m2 = jtj[2] * (1 + damping), det = m0 * m2 - jtj[1] * jtj[1];
    const double na = a - (m2 * jtr[0] - jtj[1] * jtr[1]) / det, nb = b - (m0 * jtr[1] - jtj[1] * jtr[0]) / det;
    const double next = residuals(na, nb, nullptr, nullptr);
    if (next < error) {
      a = na, b = nb, damping /= 3;
      error = residuals(a, b, jtj, jtr);
    } else {
      damping *= 4;
    }
  }
  return {a, b};
}

struct Edge {
  std::int64_t from, to;
  double weight;
};

// The fuzzy neighbourhood graph: memberships exp(-(d - rho)/sigma) with sum log2(k), united by a + b - ab.
at::Tensor fuzzy_graph(const at::Tensor& distances, std::int64_t k) {
  const auto n = distances.size(0);
  const auto [values, indices] = distances.sqrt().topk(k, 1, false, true);  // the point itself included, as umap-learn counts
  const auto graph = at::zeros({n, n}, at::kDouble);
  auto g = graph.accessor<double, 2>();
  const auto d = values.accessor<double, 2>();
  const auto index = indices.accessor<std::int64_t, 2>();
  const double mean_all = values.mean().item<double>(), target = std::log2(static_cast<double>(k));
  for (std::int64_t i = 0; i < n; ++i) {
    double rho = 0, mean = 0;
    for (std::int64_t j = 0; j < k; ++j) {
      mean += d[i][j] / static_cast<double>(k);
      if (rho == 0 && d[i][j] > 0) rho = d[i][j];
    }
    double low = 0, high = INFINITY, sigma = 1;
    for (int step = 0; step < 64; ++step) {
      double sum = 0;
      for (std::int64_t j = 1; j < k; ++j) sum += d[i][j] > rho ? std::exp(-(d[i][j] - rho) / sigma) : 1;
      if (std::abs(sum - target) < 1e-5) break;
      if (sum > target) {
        high = sigma;
        sigma = (low + high) / 2;
      } else {
        low = sigma;
        sigma = std::isinf(high) ? sigma * 2 : (low + high) / 2;
      }
    }
    sigma = std::max(sigma, 1e-3 * (rho > 0 ? mean : mean_all));
    for (std::int64_t j = 0; j < k; ++j)
      if (index[i][j] != i) g[i][index[i][j]] = d[i][j] <= rho || sigma == 0 ? 1 : std::exp(-(d[i][j] - rho) / sigma);
  }
  return graph + graph.t() - graph * graph.t();
}

at::Tensor spectral_start(const at::Tensor& graph, Random& draws) {  // [n, 2] in [0, 10]
  const auto n = graph.size(0);
  const auto inverse = graph.sum(1).clamp_min(1e-12).rsqrt();
  const auto laplacian = at::eye(n, at::kDouble) - inverse.unsqueeze(1) * graph * inverse;
  auto y = std::get<1>(at::linalg_eigh(laplacian)).slice(1, 1, 3).contiguous();
  // An eigenvector's sign is free: fixed here, so that the picture does not depend on the solver.
  const auto largest = y.abs().argmax(0, true);
  y = y * y.gather(0, largest).sign();
  y = y * (10 / y.abs().max());
  auto* p = y.data_ptr<double>();
  for (std::int64_t i = 0; i < 2 * n; ++i) p[i] += 1e-4 * draws.normal();
  const auto low = y.amin(0), high = y.amax(0);
  return 10 * (y - low) / (high - low).clamp_min(1e-12);
}

}  // namespace

at::Tensor umap(const at::Tensor& x, const UmapOptions& o) {
  const c10::InferenceMode guard;
  const auto n = x.size(0);
  if (n < 4) throw data_error("UMAP: {} points are too few for a map", n);
  const auto graph = fuzzy_graph(squared_distances(x), std::min(o.neighbours, n - 1));
  Random draws(o.seed, "umap");
  const auto start = spectral_start(graph, draws);
  std::vector<double> y(start.const_data_ptr<double>(), start.const_data_ptr<double>() + 2 * n);

  std::vector<Edge> edges;
  const auto g = graph.accessor<double, 2>();
  const double strongest = graph.max().item<double>();
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < n; ++j)
      if (g[i][j] > strongest / static_cast<double>(o.epochs)) edges.push_back({i, j, g[i][j]});
  const auto [a, b] = fit_curve(o.min_dist, o.spread);
  std::vector<double> period(edges.size()), next(edges.size()), next_negative(edges.size());
  for (std::size_t e = 0; e < edges.size(); ++e) {
    period[e] = strongest / edges[e].weight;
    next[e] = period[e];
    next_negative[e] = period[e] / static_cast<double>(o.negatives);
  }
  const auto clip = [](double v) { return std::clamp(v, -4.0, 4.0); };
  for (std::int64_t epoch = 1; epoch <= o.epochs; ++epoch) {
    const double alpha = 1 - static_cast<double>(epoch - 1) / static_cast<double>(o.epochs);
    for (std::size_t e = 0; e < edges.size(); ++e) {
      if (next[e] > static_cast<double>(epoch)) continue;
      double* p = &y[static_cast<std::size_t>(2 * edges[e].from)];
      double* q = &y[static_cast<std::size_t>(2 * edges[e].to)];
      const double dx = p[0] - q[0], dy = p[1] - q[1], d2 = dx * dx + dy * dy;
      if (d2 > 0) {
        const double pull = -2 * a * b * std::pow(d2, b - 1) / (a * std::pow(d2, b) + 1);
        const double gx = alpha * clip(pull * dx), gy = alpha * clip(pull * dy);
        p[0] += gx, p[1] += gy, q[0] -= gx, q[1] -= gy;
      }
      next[e] += period[e];
      const double step = period[e] / static_cast<double>(o.negatives);
      const auto samples = static_cast<std::int64_t>((static_cast<double>(epoch) - next_negative[e]) / step);
      for (std::int64_t s = 0; s < samples; ++s) {
        const auto other = static_cast<std::int64_t>(draws.below(static_cast<std::uint64_t>(n)));
        if (other == edges[e].from) continue;
        const double* r = &y[static_cast<std::size_t>(2 * other)];
        const double ox = p[0] - r[0], oy = p[1] - r[1], o2 = ox * ox + oy * oy;
        if (o2 > 0) {
          const double push = 2 * b / ((0.001 + o2) * (a * std::pow(o2, b) + 1));
          p[0] += alpha * clip(push * ox), p[1] += alpha * clip(push * oy);
        } else {
          p[0] += alpha * 4, p[1] += alpha * 4;
        }
      }
      next_negative[e] += static_cast<double>(samples) * step;
    }
  }
  return at::tensor(y, at::kDouble).view({n, 2}).to(at::kFloat);
}

double trustworthiness(const at::Tensor& x, const at::Tensor& embedded, std::int64_t k) {
  const c10::InferenceMode guard;
  const auto n = x.size(0);
  if (2 * k >= n) throw data_error("trustworthiness: {} neighbours need more than {} points", k, 2 * k);
  const auto order = squared_distances(x).fill_diagonal_(-1).argsort(true, 1);        // each point first in its own row
  const auto near = squared_distances(embedded).fill_diagonal_(-1).argsort(true, 1).slice(1, 1, k + 1).contiguous();
  const auto ranks = at::zeros({n, n}, at::kLong).scatter_(1, order, at::arange(n, at::kLong).expand({n, n}));
  const auto excess = (ranks.gather(1, near) - k).clamp_min(0).sum().item<double>();
  const auto N = static_cast<double>(n), K = static_cast<double>(k);
  return 1 - excess * 2 / (N * K * (2 * N - 3 * K - 1));
}

}  // namespace me2::metrics
