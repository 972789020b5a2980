#include "report/embeddings.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <numeric>

#include "base/error.h"
#include "store/npy.h"
#include "store/parallel.h"
#include "store/zarr.h"

namespace me2::report {

namespace fs = std::filesystem;

namespace {

template <class Bits>
[[gnu::optimize("O3")]] unsigned full_exponents(const Bits* p, std::int64_t n, Bits mask) {
  unsigned any = 0;
  for (std::int64_t i = 0; i < n; ++i) any |= (p[i] & mask) == mask;
  return any;
}

// One pass over the bits, in place of at::isfinite's three over copies.
template <class Bits>
bool exponents_below(const at::Tensor& x, Bits mask) {
  const at::Tensor flat = x.contiguous();
  const auto* p = static_cast<const Bits*>(flat.const_data_ptr());
  const std::int64_t n = flat.numel();
  constexpr std::int64_t kPart = 1 << 16;
  std::atomic<bool> fine = true;
  store::parallel_for((n + kPart - 1) / kPart, at::get_num_threads(), [&](std::int64_t part) {
    const auto first = part * kPart;
    if (full_exponents(p + first, std::min(kPart, n - first), mask)) fine = false;
  });
  return fine;
}

bool all_finite(const at::Tensor& x) {
  if (x.scalar_type() == at::kHalf) return exponents_below<std::uint16_t>(x, 0x7c00);
  if (x.scalar_type() == at::kFloat) return exponents_below<std::uint32_t>(x, 0x7f800000);
  return at::isfinite(x).all().item<bool>();
}

}  // namespace

Embeddings open_embeddings(const std::string& path, const std::string& wanted) {
  Embeddings out;
  out.path = path;
  if (fs::is_directory(path)) {
    const auto group = store::Group::open(path);
    std::string name = wanted;
    for (const char* candidate : {"clip", "clip_tokens", "clip_pooled", "tokens"})
      if (name.empty() && group.has_array(candidate)) name = candidate;
    if (name.empty()) throw data_error("{}: no array clip, clip_tokens, clip_pooled or tokens; it holds {}", path, fmt::join(group.array_names(), ", "));
    const auto array = group.array(name);
    if (array.shape().size() < 2) throw data_error("{}: embeddings [sample, ...] expected, {} axes found", array.path(), array.shape().size());
    out.path = array.path();
    out.size = array.shape()[0];
    if (group.has_array("stimulus"))
      for (const auto id : group.array("stimulus").read<std::int64_t>()) out.ids.push_back(std::to_string(id));
    out.read = [array](std::int64_t first, std::int64_t count) {
      const bool half = array.dtype() == store::DType::f2;
      auto box = store::Box{store::Shape(array.shape().size(), 0), array.shape()};
      box.start[0] = first, box.count[0] = count;
      at::Tensor x = at::empty({count, array.size() / array.shape()[0]}, half ? at::kHalf : at::kFloat);
      array.read_bytes(box, half ? store::DType::f2 : store::DType::f4, x.mutable_data_ptr());
      return x;
    };
  } else {
    auto npy = std::make_shared<store::NpyFile>(path);
    const auto& shape = npy->header().shape;
    if (shape.size() < 2) throw data_error("{}: embeddings [n, ...] expected, {} axes found", path, shape.size());
    out.size = shape[0];
    const auto width = std::accumulate(shape.begin() + 1, shape.end(), std::int64_t{1}, std::multiplies<>());
    out.read = [npy, width](std::int64_t first, std::int64_t count) {
      at::Tensor x = at::empty({count, width}, at::kFloat);
      npy->read_rows(first, count, store::DType::f4, x.mutable_data_ptr());
      return x;
    };
  }
  if (out.size == 0) throw data_error("{}: no embeddings", out.path);
  return out;
}

std::pair<std::vector<std::string>, std::vector<std::vector<std::int64_t>>> group_repeats(const Embeddings& e) {
  std::vector<std::string> names;
  std::vector<std::vector<std::int64_t>> rows;
  std::map<std::string, std::size_t> at;
  for (std::int64_t i = 0; i < e.size; ++i) {
    if (e.ids.empty()) {
      rows.push_back({i});
      continue;
    }
    const auto [it, fresh] = at.emplace(e.ids[i], rows.size());
    if (fresh) names.push_back(e.ids[i]), rows.emplace_back();
    rows[it->second].push_back(i);
  }
  return {std::move(names), std::move(rows)};
}

metrics::Rows averaged(const Embeddings& e, const std::vector<std::vector<std::int64_t>>& rows, std::size_t repeats) {
  return {static_cast<std::int64_t>(rows.size()), [&e, &rows, repeats](std::int64_t first, std::int64_t count) {
            bool single = true, neighbours = true;
            for (std::int64_t i = first; i < first + count; ++i) {
              single = single && std::min(repeats, rows[i].size()) == 1;
              neighbours = neighbours && rows[i][0] == rows[first][0] + i - first;
            }
            at::Tensor out;
            if (single && neighbours) {
              out = e.read(rows[first][0], count);
            } else {
              std::vector<at::Tensor> parts;
              for (std::int64_t i = first; i < first + count; ++i) {
                const auto k = std::min(repeats, rows[i].size());
                at::Tensor sum = e.read(rows[i][0], 1);
                if (k > 1) sum = sum.to(at::kFloat);
                for (std::size_t r = 1; r < k; ++r) sum += e.read(rows[i][r], 1).to(at::kFloat);
                parts.push_back(k > 1 ? sum / static_cast<double>(k) : sum);
              }
              out = at::cat(parts);
            }
            if (!all_finite(out))
              for (std::int64_t i = 0; i < count; ++i)
                if (!all_finite(out.narrow(0, i, 1))) throw data_error("{}: row {} holds values that are not finite", e.path, fmt::join(rows[first + i], " or "));
            return out;
          }};
}

}  // namespace me2::report
