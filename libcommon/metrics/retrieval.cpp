#include "metrics/retrieval.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "base/random.h"

namespace me2::metrics {
namespace {

constexpr std::int64_t kBlock = 256;   // rows of the streamed set in memory, as stored
constexpr std::int64_t kSlice = 2048;  // features of both turned into f32 at once: stays in the cache
constexpr std::int64_t kRead = 32;     // rows of one read

Direction summarise(std::vector<double> per_draw, std::vector<double> per_query) {
  Direction d;
  const double n = static_cast<double>(per_draw.size());
  d.mean = std::accumulate(per_draw.begin(), per_draw.end(), 0.0) / n;
  double squares = 0;
  for (double v : per_draw) squares += (v - d.mean) * (v - d.mean);
  d.sem = std::sqrt(squares / n) / std::sqrt(n);
  d.low = d.mean - 1.959963984540054 * d.sem;
  d.high = d.mean + 1.959963984540054 * d.sem;
  d.per_draw = std::move(per_draw);
  d.per_query = std::move(per_query);
  return d;
}

Direction top_one(const at::Tensor& similarity, const std::vector<Draw>& draws, bool brain_asks) {
  const auto s = similarity.to(at::kFloat).contiguous();
  const float* p = s.const_data_ptr<float>();
  const std::int64_t n = s.size(0), width = s.size(1);
  std::vector<double> per_draw, asked(n), right(n);
  for (const auto& draw : draws) {
    std::int64_t hits = 0;
    for (const auto query : draw.index) {
      const auto at = [&](std::int64_t candidate) { return brain_asks ? p[query * width + candidate] : p[candidate * width + query]; };
      const float own = at(query);
      // The last place of an ascending sort: among equals the reference's sort is not stable; we call a tie a miss.
      const bool hit = std::none_of(draw.index.begin(), draw.index.end(), [&](auto c) { return c != query && at(c) >= own; });
      hits += hit;
      asked[query] += 1;
      right[query] += hit;
    }
    per_draw.push_back(static_cast<double>(hits) / static_cast<double>(draw.index.size()));
  }
  std::vector<double> per_query(n, std::numeric_limits<double>::quiet_NaN());
  for (std::int64_t i = 0; i < n; ++i)
    if (asked[i] > 0) per_query[i] = right[i] / asked[i];
  return summarise(std::move(per_draw), std::move(per_query));
}

}  // namespace

Rows Rows::of(const at::Tensor& x) {
  return {x.size(0), [x](std::int64_t first, std::int64_t count) { return x.narrow(0, first, count).flatten(1); }};
}

namespace {

// Rows [first, first + count) as stored, in `out` (made when it is not there yet).
void read_into(const Rows& rows, std::int64_t first, std::int64_t count, at::Tensor& out) {
  for (std::int64_t i = 0; i < count; i += kRead) {
    const at::Tensor part = rows.read(first + i, std::min(kRead, count - i));
    if (!out.defined()) out = at::empty({count, part.size(1)}, part.options());
    if (part.size(1) != out.size(1) || part.scalar_type() != out.scalar_type()) throw data_error("embeddings of one width and type expected, {} and {} found", out.size(1), part.size(1));
    out.narrow(0, i, part.size(0)).copy_(part);
  }
}

}  // namespace

at::Tensor cosine_matrix(const Rows& brain, const Rows& image) {
  if (brain.size == 0 || image.size == 0) throw data_error("no embeddings to compare");
  at::Tensor held;
  read_into(image, 0, image.size, held);
  const std::int64_t features = held.size(1);
  at::Tensor out = at::zeros({brain.size, image.size}, at::kFloat), held_squares = at::zeros({image.size}, at::kDouble);
  // Buffers are kept: fresh ones of this size cost more than the arithmetic.
  at::Tensor rows, row_slice, held_slice = at::empty({image.size, std::min(kSlice, features)}, at::kFloat);
  const auto squares = [](const at::Tensor& x) { return at::linalg_vector_norm(x, 2, at::IntArrayRef{1}).to(at::kDouble).square_(); };
  for (std::int64_t first = 0; first < brain.size; first += kBlock) {
    const std::int64_t count = std::min(kBlock, brain.size - first);
    if (rows.defined() && rows.size(0) != count) rows = rows.narrow(0, 0, count);
    read_into(brain, first, count, rows);
    if (rows.size(1) != features) throw data_error("brain and image embeddings of one width expected, {} and {} found", rows.size(1), features);
    if (!row_slice.defined()) row_slice = at::empty({count, held_slice.size(1)}, at::kFloat);
    at::Tensor dots = out.narrow(0, first, count), row_squares = at::zeros({count}, at::kDouble);
    for (std::int64_t f = 0; f < features; f += kSlice) {
      const auto width = std::min(kSlice, features - f);
      at::Tensor a = row_slice.narrow(0, 0, count).narrow(1, 0, width), b = held_slice.narrow(1, 0, width);
      a.copy_(rows.narrow(1, f, width));
      b.copy_(held.narrow(1, f, width));
      row_squares += squares(a);
      if (first == 0) held_squares += squares(b);
      dots.addmm_(a, b.t());
    }
    dots.div_(row_squares.sqrt().to(at::kFloat).unsqueeze(1)).div_(held_squares.sqrt().to(at::kFloat).unsqueeze(0));
  }
  return out;
}

std::vector<Draw> retrieval_draws(std::int64_t pool, std::int64_t ways, std::int64_t draws, std::uint64_t seed) {
  if (ways < 2 || ways > pool) throw data_error("{}-way retrieval needs {} pairs, {} found", ways, ways, pool);
  std::vector<Draw> out(draws);
  for (std::int64_t d = 0; d < draws; ++d) {
    Random random(seed, "retrieval " + std::to_string(d));
    std::vector<std::int64_t> all(pool);
    std::iota(all.begin(), all.end(), std::int64_t{0});
    random.shuffle(std::span<std::int64_t>(all));
    all.resize(ways);
    out[d].index = std::move(all);
  }
  return out;
}

Retrieval retrieve(const at::Tensor& similarity, const std::vector<Draw>& draws) {
  if (similarity.dim() != 2 || similarity.size(0) != similarity.size(1)) throw data_error("a square matrix of similarities expected, {} found", similarity.sizes().vec());
  if (draws.empty()) throw data_error("no draws of candidates");
  for (const auto& draw : draws)
    for (const auto i : draw.index)
      if (i < 0 || i >= similarity.size(0)) throw data_error("a draw names pair {} of {}", i, similarity.size(0));
  Retrieval out;
  out.ways = static_cast<std::int64_t>(draws[0].index.size());
  out.image_retrieval = top_one(similarity, draws, true);
  out.brain_retrieval = top_one(similarity, draws, false);
  return out;
}

std::vector<std::int64_t> retrieval_wins(const at::Tensor& similarity, int dim) {
  const at::Tensor right = similarity.diagonal().unsqueeze(dim);
  const at::Tensor counts = similarity.lt(right).sum(dim).to(at::kLong).contiguous();
  const auto* p = counts.const_data_ptr<std::int64_t>();
  return {p, p + counts.numel()};
}

at::Tensor csls(const at::Tensor& similarity, std::int64_t k) {
  const auto near = [&](int dim) { return std::get<0>(similarity.topk(std::min(k, similarity.size(dim)), dim)).mean(dim, true); };
  return 2 * similarity - near(1) - near(0);
}

}  // namespace me2::metrics
