#include "models/convnext.h"

#include <ATen/ATen.h>

#include "base/error.h"

namespace me2::models {
namespace {

at::Tensor channels_norm(const nn::LayerNorm& norm, const at::Tensor& x) {  // LayerNorm over axis 1 of [B, C, H, W]
  return norm(x.permute({0, 2, 3, 1})).permute({0, 3, 1, 2});
}

}  // namespace

ConvNextConfig ConvNextConfig::detect(const nn::Scope& s) {
  ConvNextConfig c;
  for (int i = 0; i < 4; ++i) {
    const auto stage = fmt::format("backbone.stages.{}", i);
    c.depths.push_back(s.count(stage, "dwconv.weight"));
    c.dims.push_back(s.shape(stage + ".0.dwconv.weight").at(0));
  }
  for (const char* layer : {"0", "3", "6"}) c.projector.push_back(s.shape(fmt::format("maps_projector.{}.weight", layer)).at(0));
  return c;
}

ConvNext::Block::Block(const nn::Scope& s, std::int64_t dim)
    : dwconv(s.sub("dwconv"), dim, dim, 7, 1, 3, true, dim),
      norm(s.sub("norm"), dim, 1e-6),
      pwconv1(s.sub("pwconv1"), dim, 4 * dim),
      pwconv2(s.sub("pwconv2"), 4 * dim, dim) {}

at::Tensor ConvNext::Block::operator()(const at::Tensor& x) const {
  const auto h = pwconv2(at::gelu(pwconv1(norm(dwconv(x).permute({0, 2, 3, 1})))));
  return x + h.permute({0, 3, 1, 2});
}

ConvNext::ConvNext(const nn::Scope& s, const ConvNextConfig& c)
    : config(c),
      norm(s.sub("backbone").sub("norm"), c.dims.at(3), 1e-6),
      projector0(s.sub("maps_projector").sub(0), c.dims.at(3), c.projector.at(0)),
      projector1(s.sub("maps_projector").sub(1), c.projector.at(0)),
      projector3(s.sub("maps_projector").sub(3), c.projector.at(0), c.projector.at(1)),
      projector4(s.sub("maps_projector").sub(4), c.projector.at(1)),
      projector6(s.sub("maps_projector").sub(6), c.projector.at(1), c.projector.at(2), false) {
  const auto layers = s.sub("backbone").sub("downsample_layers");
  for (int i = 0; i < 4; ++i) {
    if (i == 0) {
      downsample.emplace_back(layers.sub(0).sub(0), 3, c.dims[0], 4, 4);
      downsample_norm.emplace_back(layers.sub(0).sub(1), c.dims[0], 1e-6);
    } else {
      downsample_norm.emplace_back(layers.sub(i).sub(0), c.dims[i - 1], 1e-6);
      downsample.emplace_back(layers.sub(i).sub(1), c.dims[i - 1], c.dims[i], 2, 2);
    }
    auto& blocks = stages.emplace_back();
    for (std::int64_t k = 0; k < c.depths[i]; ++k) blocks.emplace_back(s.sub("backbone").sub("stages").sub(i).sub(k), c.dims[i]);
  }
}

at::Tensor ConvNext::normalise(const at::Tensor& images) {
  const auto mean = at::tensor({0.485, 0.456, 0.406}, at::kDouble).to(images).view({3, 1, 1});
  // Fidelity: .228, not ImageNet's .229; the published tower was trained with it.
  const auto sd = at::tensor({0.228, 0.224, 0.225}, at::kDouble).to(images).view({3, 1, 1});
  return (images - mean) / sd;
}

at::Tensor ConvNext::stem(const at::Tensor& x) const { return channels_norm(downsample_norm[0], downsample[0](x)); }

at::Tensor ConvNext::stage(std::size_t i, const at::Tensor& x) const {
  auto h = x;
  for (const auto& block : stages[i]) h = block(h);
  return h;
}

ConvNext::Output ConvNext::operator()(const at::Tensor& images) const {
  auto h = stage(0, stem(normalise(images)));
  for (std::size_t i = 1; i < 4; ++i) h = stage(i, downsample[i](channels_norm(downsample_norm[i], h)));
  const auto tokens = norm(h.flatten(2).transpose(1, 2));
  const auto p = projector3(at::relu(projector1(projector0(tokens))));
  return {tokens, projector6(at::relu(projector4(p)))};
}

}  // namespace me2::models
