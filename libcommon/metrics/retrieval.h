// Retrieval between brain embeddings and image embeddings. Ref: MindEye2 final_evaluations (300-way, 30 draws).
// Directions are named by query: image_retrieval asks with a brain embedding among images, brain_retrieval with an image among
// brain embeddings. Fidelity: the reference's similarity helper returns its matrix transposed, so what it prints as "fwd" is
// our brain_retrieval and "bwd" our image_retrieval, against its own text.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace me2::metrics {

// Rows [first, first + count) of a set of embeddings, flattened: float, bf16 or f16 [count, F].
struct Rows {
  std::int64_t size = 0;
  std::function<at::Tensor(std::int64_t first, std::int64_t count)> read;
  static Rows of(const at::Tensor& x);  // [n, ...]
};

// Cosine of every brain row with every image row, f32 [brain, image]. Holds one set as 16-bit or as stored and the other in
// blocks, so 1,000 x 425,984 needs under 2 GiB.
at::Tensor cosine_matrix(const Rows& brain, const Rows& image);

struct Draw {  // which pairs of the pool make one n-way test
  std::vector<std::int64_t> index;
};
std::vector<Draw> retrieval_draws(std::int64_t pool, std::int64_t ways, std::int64_t draws, std::uint64_t seed);  // without replacement

struct Direction {
  std::vector<double> per_draw;            // top-1 fraction of each draw
  double mean = 0, sem = 0, low = 0, high = 0;  // over draws, as the reference: population sd / sqrt(draws), +-1.959964 sem
  std::vector<double> per_query;           // mean over the draws a query was in; NaN when it was in none
};
struct Retrieval {
  std::int64_t ways = 0;
  Direction image_retrieval, brain_retrieval;
  const Direction& fwd() const { return brain_retrieval; }
  const Direction& bwd() const { return image_retrieval; }
};
// similarity [n, n]: row = brain, column = image. The right one must be strictly the last of an ascending sort, as numpy's.
Retrieval retrieve(const at::Tensor& similarity, const std::vector<Draw>& draws);

// Full-pool ranks: how many wrong candidates each query puts below the right one. dim 1: brain queries, dim 0: image queries.
std::vector<std::int64_t> retrieval_wins(const at::Tensor& similarity, int dim);

// Cross-domain similarity local scaling: 2 s - mean of the k nearest in each direction (Conneau et al. 2018); re-ranks hubs down.
at::Tensor csls(const at::Tensor& similarity, std::int64_t k = 10);

}  // namespace me2::metrics
