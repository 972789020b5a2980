// UMAP (McInnes, Healy, Melville 2018) with exact neighbours, for the report's map of brain and image embeddings, and the
// trustworthiness of such a map (Venna & Kaski 2001), by which it is checked against umap-learn.
#pragma once
#include <cstdint>

#include <ATen/core/Tensor.h>

namespace me2::metrics {

struct UmapOptions {  // umap-learn's defaults
  std::int64_t neighbours = 15;
  double min_dist = 0.1, spread = 1.0;
  std::int64_t epochs = 500;
  std::int64_t negatives = 5;  // negative samples per positive one
  std::uint64_t seed = 42;
};

// x f32 [n, features], Euclidean -> f32 [n, 2]. The same bytes for the same seed. Exit::data for fewer than 4 rows.
// Memory n^2 floats: meant for a few thousand rows.
at::Tensor umap(const at::Tensor& x, const UmapOptions& options = {});

// Share of neighbourhoods kept, 0 to 1, as scikit-learn computes it: 1 - 2/(n k (2n - 3k - 1)) sum over intruders of (rank - k).
double trustworthiness(const at::Tensor& x, const at::Tensor& embedded, std::int64_t neighbours = 5);

}  // namespace me2::metrics
