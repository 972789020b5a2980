#include "metrics/brain.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "metrics/identification.h"

namespace me2::metrics {
namespace {

at::Tensor row_correlation(const at::Tensor& a, const at::Tensor& b) {  // [n, F] x2 -> f64 [n]
  at::Tensor x = a.to(at::kDouble), y = b.to(at::kDouble);
  x = x - x.mean(-1, true), y = y - y.mean(-1, true);
  return (x * y).sum(-1) / (x.pow(2).sum(-1).sqrt() * y.pow(2).sum(-1).sqrt());
}

std::vector<double> to_vector(const at::Tensor& x) {
  const at::Tensor y = x.to(at::kDouble).contiguous();
  return {y.const_data_ptr<double>(), y.const_data_ptr<double>() + y.numel()};
}

at::Tensor ranks(const at::Tensor& x) {
  const auto v = to_vector(x);
  std::vector<std::size_t> order(v.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](auto i, auto j) { return v[i] < v[j]; });
  at::Tensor out = at::empty({static_cast<std::int64_t>(v.size())}, at::kDouble);
  auto* p = out.mutable_data_ptr<double>();
  for (std::size_t i = 0, j; i < order.size(); i = j) {
    for (j = i; j < order.size() && v[order[j]] == v[order[i]]; ++j) {}
    for (std::size_t k = i; k < j; ++k) p[order[k]] = static_cast<double>(i + j - 1) / 2;
  }
  return out;
}

double correlate(const at::Tensor& a, const at::Tensor& b) { return row_correlation(a.unsqueeze(0), b.unsqueeze(0)).item<double>(); }

}  // namespace

std::vector<double> brain_correlation(const at::Tensor& measured, const at::Tensor& predicted, const at::Tensor& mask) {
  if (measured.sizes() != predicted.sizes() || mask.numel() != measured.size(1))
    throw data_error("measured and predicted betas [n, voxels] and a mask [voxels] expected, {}, {} and {} found", measured.sizes().vec(),
                     predicted.sizes().vec(), mask.sizes().vec());
  const at::Tensor chosen = at::nonzero(mask.flatten().to(at::kBool)).flatten();
  if (chosen.numel() < 2) throw data_error("a region of 2 voxels or more expected, {} found", chosen.numel());
  return to_vector(row_correlation(measured.index_select(1, chosen), predicted.index_select(1, chosen)));
}

Reliability repeat_reliability(const at::Tensor& repeats) {
  const std::int64_t k = repeats.size(1);
  if (repeats.dim() != 3 || k < 2) throw data_error("repeats [n, 2 or more, values] expected, {} found", repeats.sizes().vec());
  double sum = 0;
  for (std::int64_t i = 0; i < k; ++i)
    for (std::int64_t j = i + 1; j < k; ++j) sum += row_correlation(repeats.select(1, i), repeats.select(1, j)).mean().item<double>();
  Reliability out;
  const double r = out.split_half = sum / (static_cast<double>(k * (k - 1)) / 2);
  out.spearman_brown = static_cast<double>(k) * r / (1 + static_cast<double>(k - 1) * r);
  out.ceiling = std::sqrt(std::max(0.0, out.spearman_brown));
  return out;
}

at::Tensor correlation_rdm(const at::Tensor& features) { return 1 - feature_correlations(features, features); }

at::Tensor upper_triangle(const at::Tensor& rdm) {
  const at::Tensor at = at::triu_indices(rdm.size(-2), rdm.size(-1), 1);
  return rdm.to(at::kDouble).contiguous().view({-1}).index_select(0, at[0] * rdm.size(-1) + at[1]);
}

double spearman(const at::Tensor& a, const at::Tensor& b) { return correlate(ranks(a), ranks(b)); }

RSA rsa(const at::Tensor& model_rdm, const at::Tensor& subject_rdms) {
  if (subject_rdms.dim() != 3 || subject_rdms.size(1) != model_rdm.size(0) || model_rdm.dim() != 2 || model_rdm.size(0) != model_rdm.size(1))
    throw data_error("a model RDM [n, n] and subject RDMs [subjects, n, n] expected, {} and {} found", model_rdm.sizes().vec(), subject_rdms.sizes().vec());
  const std::int64_t subjects = subject_rdms.size(0);
  const at::Tensor model = ranks(upper_triangle(model_rdm));
  std::vector<at::Tensor> each;
  for (std::int64_t s = 0; s < subjects; ++s) each.push_back(ranks(upper_triangle(subject_rdms[s])));
  std::vector<at::Tensor> raw;
  for (std::int64_t s = 0; s < subjects; ++s) raw.push_back(upper_triangle(subject_rdms[s]));
  const at::Tensor total = at::stack(raw).sum(0);
  RSA out;
  for (std::int64_t s = 0; s < subjects; ++s) {
    out.per_subject.push_back(correlate(model, each[s]));
    out.mean += out.per_subject.back() / static_cast<double>(subjects);
    // Nili et al. 2014: the mean over subjects correlates nearly best with them (upper); without the subject itself it is the lower bound.
    out.ceiling_high += correlate(ranks(total), each[s]) / static_cast<double>(subjects);
    out.ceiling_low += correlate(ranks(total - raw[s]), each[s]) / static_cast<double>(subjects);
  }
  return out;
}

}  // namespace me2::metrics
