// Scores on features of pairs of images: identification among candidates, correlation distance, diversity.
// Ref: MindEye2 final_evaluations two_way_identification. Features are [n, F] (flattened here), any float type.
#pragma once
#include <vector>

#include <ATen/core/Tensor.h>

namespace me2::metrics {

// r[i,j] = Pearson(a_i, b_j) in float64, computed in slices of the features: f64 [n, m].
at::Tensor feature_correlations(const at::Tensor& a, const at::Tensor& b);

// For each reconstruction j, how many wrong images i correlate less with it than the right one: #{i != j : r[i,j] < r[j,j]}.
// Ties fail. r [n, n], rows: truth, columns: reconstruction.
std::vector<std::int64_t> wins(const at::Tensor& r);

// Per image, the chance of being picked out of `ways` candidates, the distractors drawn without replacement from the other
// images of the pool: exact, C(wins, ways-1) / C(pool-1, ways-1). ways = 2 is two-way identification.
std::vector<double> n_way(const std::vector<std::int64_t>& wins, std::int64_t ways);
std::vector<double> rank_percentile(const std::vector<std::int64_t>& wins);  // wins / (pool - 1); equals n_way(2)
std::vector<double> top_k(const std::vector<std::int64_t>& wins, std::int64_t k);  // 1 when the right one is among the first k

std::vector<double> correlation_distance(const at::Tensor& real, const at::Tensor& pred);  // per pair 1 - r, lower is better

// Mean correlation between different rows: 1 = all outputs alike (collapse). NaN for one row. `counts` f64 [n]: how often each row is there
// (undefined: once).
double mean_pairwise_correlation(const at::Tensor& features, const at::Tensor& counts = {});

}  // namespace me2::metrics
