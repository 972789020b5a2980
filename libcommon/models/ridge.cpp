#include "models/ridge.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "nn/row_linear.h"

namespace me2::models {
namespace {
nn::Scope one(const nn::Scope& s, const char* kind, std::size_t subject) { return s.sub(kind).sub(static_cast<std::int64_t>(subject)); }
}  // namespace

MlpMap::MlpMap(const nn::Scope& s, std::int64_t voxels, std::int64_t hidden)
    : linear(s.sub("0"), voxels, hidden), norm(s.sub("1"), hidden) {}

at::Tensor MlpMap::operator()(const at::Tensor& betas, const nn::Training* training) const {
  return nn::dropout(at::gelu(norm(linear(betas))), kDropout, training);
}

at::Tensor MlpMap::rows(const at::Tensor& betas) const {
  const at::Tensor inner = nn::row_linear(betas, linear);
  return at::gelu(at::layer_norm(inner, {inner.size(-1)}, norm.weight.to(at::kFloat), norm.bias.to(at::kFloat), norm.eps)).contiguous();
}

Ridge::Ridge(const nn::Scope& s, const std::vector<std::int64_t>& voxels, std::int64_t hidden, bool mlp) {
  for (std::size_t i = 0; i < voxels.size(); ++i)
    if (mlp) mlps.emplace_back(one(s, "mlps", i), voxels[i], hidden);
    else linears.emplace_back(one(s, "linears", i), voxels[i], hidden);
}

bool Ridge::detect_mlp(const nn::Scope& s) { return s.count("mlps", "0.weight") > 0; }

std::vector<std::int64_t> Ridge::detect_voxels(const nn::Scope& s) {
  const bool mlp = detect_mlp(s);
  std::vector<std::int64_t> voxels(static_cast<std::size_t>(mlp ? s.count("mlps", "0.weight") : s.count("linears", "weight")));
  for (std::size_t i = 0; i < voxels.size(); ++i)
    voxels[i] = s.shape(mlp ? fmt::format("mlps.{}.0.weight", i) : fmt::format("linears.{}.weight", i)).at(1);
  return voxels;
}

std::int64_t Ridge::detect_hidden(const nn::Scope& s) { return s.shape(detect_mlp(s) ? "mlps.0.0.weight" : "linears.0.weight").at(0); }

}  // namespace me2::models
