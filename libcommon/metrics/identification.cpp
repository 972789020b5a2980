#include "metrics/identification.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "base/error.h"

namespace me2::metrics {
namespace {

constexpr std::int64_t kSlice = 4096;  // features at once: bounds the float64 copies

at::Tensor means(const at::Tensor& x) {  // f64 [n, 1]
  at::Tensor sum = at::zeros({x.size(0), 1}, at::kDouble);
  for (std::int64_t f = 0; f < x.size(1); f += kSlice) sum += x.slice(1, f, std::min(f + kSlice, x.size(1))).to(at::kDouble).sum(1, true);
  return sum / x.size(1);
}

}  // namespace

at::Tensor feature_correlations(const at::Tensor& left, const at::Tensor& right) {
  const at::Tensor a = left.flatten(1), b = right.flatten(1);
  if (a.size(1) != b.size(1)) throw data_error("features of one width expected, {} and {} found", a.size(1), b.size(1));
  const at::Tensor ma = means(a), mb = means(b);
  at::Tensor dot = at::zeros({a.size(0), b.size(0)}, at::kDouble), aa = at::zeros({a.size(0)}, at::kDouble), bb = at::zeros({b.size(0)}, at::kDouble);
  for (std::int64_t f = 0; f < a.size(1); f += kSlice) {
    const auto last = std::min(f + kSlice, a.size(1));
    const at::Tensor x = a.slice(1, f, last).to(at::kDouble) - ma, y = b.slice(1, f, last).to(at::kDouble) - mb;
    dot.addmm_(x, y.t());
    aa += x.pow(2).sum(1);
    bb += y.pow(2).sum(1);
  }
  return dot / (aa.sqrt().unsqueeze(1) * bb.sqrt().unsqueeze(0));
}

std::vector<std::int64_t> wins(const at::Tensor& r) {
  if (r.dim() != 2 || r.size(0) != r.size(1)) throw data_error("a square matrix of correlations expected, {} found", r.sizes().vec());
  const at::Tensor counts = r.lt(r.diagonal().unsqueeze(0)).sum(0).to(at::kLong).contiguous();
  const auto* p = counts.const_data_ptr<std::int64_t>();
  return {p, p + counts.numel()};
}

std::vector<double> n_way(const std::vector<std::int64_t>& wins, std::int64_t ways) {
  const auto others = static_cast<std::int64_t>(wins.size()) - 1;
  if (ways < 2 || ways - 1 > others) throw data_error("{}-way identification needs {} images, {} found", ways, ways, wins.size());
  std::vector<double> out(wins.size());
  for (std::size_t j = 0; j < wins.size(); ++j) {
    double p = 1;
    for (std::int64_t k = 0; k < ways - 1; ++k) p *= std::max(0.0, static_cast<double>(wins[j] - k)) / static_cast<double>(others - k);
    out[j] = p;
  }
  return out;
}

std::vector<double> rank_percentile(const std::vector<std::int64_t>& wins) { return n_way(wins, 2); }

std::vector<double> top_k(const std::vector<std::int64_t>& wins, std::int64_t k) {
  std::vector<double> out(wins.size());
  for (std::size_t j = 0; j < wins.size(); ++j) out[j] = wins[j] >= static_cast<std::int64_t>(wins.size()) - k ? 1 : 0;
  return out;
}

std::vector<double> correlation_distance(const at::Tensor& real, const at::Tensor& pred) {
  const at::Tensor a = real.flatten(1), b = pred.flatten(1);
  if (a.sizes() != b.sizes()) throw data_error("pairs of features expected, {} and {} found", a.sizes().vec(), b.sizes().vec());
  std::vector<double> out(a.size(0));
  for (std::int64_t i = 0; i < a.size(0); ++i) {
    at::Tensor x = a[i].to(at::kDouble), y = b[i].to(at::kDouble);
    x = x - x.mean(), y = y - y.mean();
    out[i] = 1 - (x.dot(y) / (x.norm() * y.norm())).item<double>();
  }
  return out;
}

double mean_pairwise_correlation(const at::Tensor& features, const at::Tensor& counts) {
  const at::Tensor x = features.flatten(1), times = (counts.defined() ? counts : at::ones({x.size(0)}, at::kDouble)).unsqueeze(1);
  const auto n = times.sum().item<double>();
  if (n < 2) return std::numeric_limits<double>::quiet_NaN();
  // The rows at length one sum up to a vector whose square holds the correlation of every pair, twice, and of each row with itself.
  const at::Tensor centre = means(x);
  at::Tensor squares = at::zeros({x.size(0), 1}, at::kDouble);
  const auto each_slice = [&](auto&& f) {
    for (std::int64_t from = 0; from < x.size(1); from += kSlice) f(x.slice(1, from, std::min(from + kSlice, x.size(1))).to(at::kDouble) - centre);
  };
  each_slice([&](const at::Tensor& part) { squares += part.square().sum(1, true); });
  const at::Tensor weight = times / squares.sqrt();
  double all = 0;
  each_slice([&](const at::Tensor& part) { all += at::mv(part.t(), weight.squeeze(1)).square().sum().item<double>(); });
  return (all - n) / (n * (n - 1));
}

}  // namespace me2::metrics
