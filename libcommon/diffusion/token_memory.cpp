#include "diffusion/token_memory.h"

#include <vector>

#include <ATen/ATen.h>

#include "base/error.h"
#include "store/columns.h"
#include "store/gather.h"

namespace me2::diffusion {

TokenMemory::TokenMemory(const std::string& path, std::int64_t tokens, std::int64_t width, const std::set<std::int32_t>& except, double temperature) {
  if (!(temperature > 0)) throw usage_error("--recall-temperature: a positive number expected, {} given", temperature);
  const store::Group group = store::Group::open(path);
  if (!group.has_array("clip_tokens")) throw data_error("{}: no array \"clip_tokens\"; it holds {}", path, fmt::join(group.array_names(), ", "));
  const store::Array array = group.array("clip_tokens");
  const auto shape = array.shape();
  if (shape.size() != 3 || shape[1] != tokens || shape[2] != width)
    throw data_error("{}: shape [{}]; [sample, {}, {}] expected", array.path(), fmt::join(shape, ", "), tokens, width);
  const auto stimulus = store::read_stimulus(group, shape[0]);
  std::vector<std::int64_t> kept;
  for (std::int64_t i = 0; i < shape[0]; ++i)
    if (!except.contains(stimulus[static_cast<std::size_t>(i)])) kept.push_back(i);
  if (kept.empty()) throw data_error("{}: no image is left to recall: all {} are among those asked for", path, shape[0]);
  const auto count = static_cast<std::int64_t>(kept.size());
  rows_ = at::empty({count, tokens * width}, at::kFloat);
  store::gather_rows(array, kept, rows_.mutable_data_ptr<float>());
  norms_ = rows_.norm(2, {1}).clamp_min(1e-12);
  temperature_ = temperature;
}

at::Tensor TokenMemory::recall(const at::Tensor& x) const {
  at::Tensor out = at::empty_like(x, at::MemoryFormat::Contiguous);
  for (std::int64_t i = 0; i < x.size(0); ++i) {  // one at a time: a product of many rows may round otherwise
    const at::Tensor row = x[i].reshape({-1});
    const at::Tensor cosine = at::mv(rows_, row) / (norms_ * row.norm().clamp_min(1e-12));
    const at::Tensor weight = at::softmax(cosine.to(at::kDouble) / temperature_, 0).to(at::kFloat);
    out[i].copy_(at::mv(rows_.t(), weight).view(x[i].sizes()));
  }
  return out;
}

}  // namespace me2::diffusion
