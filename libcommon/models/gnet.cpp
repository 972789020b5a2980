#include "models/gnet.h"

#include <ATen/ATen.h>

namespace me2::models {
namespace {

nn::Conv2d conv_of(const nn::Scope& s, std::int64_t stride, std::int64_t padding) {  // sizes from the file
  const auto w = s.shape("weight");
  return {s, w.at(1), w.at(0), w.at(2), stride, padding};
}

at::Tensor compress(const at::Tensor& x) { return at::log1p(x.abs()) * at::tanh(x); }

}  // namespace

GNetStage::GNetStage(const nn::Scope& norm, const nn::Scope& conv_scope, std::int64_t padding) : conv(conv_of(conv_scope, 1, padding)) {
  const nn::Shape n{conv.weight.size(1)};
  gamma = norm.param("weight", n), beta = norm.param("bias", n), mean = norm.buffer("running_mean", n), variance = norm.buffer("running_var", n);
  if (norm.has("num_batches_tracked")) norm.buffer("num_batches_tracked", {});
}

at::Tensor GNetStage::operator()(const at::Tensor& x) const { return conv(at::batch_norm(x, gamma, beta, mean, variance, false, 0, 1e-5, false)).relu(); }

GNetEncoder::GNetEncoder(const nn::Scope& s)
    : mu(s.param("mu", s.shape("mu"))), conv1(conv_of(s.sub("pre.conv1.0"), 4, 2)), conv2(conv_of(s.sub("pre.conv2.0"), 1, 2)),
      c3(s.sub("enc.bn1"), s.sub("enc.conv3"), 0), c4a(s.sub("enc.conv4a.bn1"), s.sub("enc.conv4a.conv1"), 1),
      c5a(s.sub("enc.conv5a.bn1"), s.sub("enc.conv5a.conv1"), 1), c6a(s.sub("enc.conv6a.bn1"), s.sub("enc.conv6a.conv1"), 1),
      c4b(s.sub("enc.conv4b.bn1"), s.sub("enc.conv4b.conv1"), 1), c5b(s.sub("enc.conv5b.bn1"), s.sub("enc.conv5b.conv1"), 1),
      c6b(s.sub("enc.conv6b.bn1"), s.sub("enc.conv6b.conv1"), 1) {}

GNetEncoder::Output GNetEncoder::operator()(const at::Tensor& x) const {
  Output out;
  out.prefilter = conv2(at::max_pool2d(conv1(x - mu).relu(), {3, 3}, {2, 2})).relu();
  const at::Tensor a3 = c3(out.prefilter), a4 = c4a(a3), b4 = c4b(a4);
  const at::Tensor a5 = c5a(at::max_pool2d(b4, {3, 3}, {2, 2}, {1, 1})), b5 = c5b(a5), a6 = c6a(b5), b6 = c6b(a6);
  const auto width = b6.size(1);  // trunk width: what each layer passes on to the readout
  const auto head = [width](const at::Tensor& y) { return y.narrow(1, 0, width); };
  out.fmap0 = at::cat({a3, head(a4), head(b4)}, 1);
  out.fmap1 = at::cat({head(a5), head(b5), head(a6), b6}, 1);
  return out;
}

GNetReadout::GNetReadout(const nn::Scope& s)
    : rf0(s.param("rf0", s.shape("rf0"))), rf1(s.param("rf1", s.shape("rf1"))), w(s.param("w", s.shape("w"))), b(s.param("b", s.shape("b"))) {}

at::Tensor GNetReadout::operator()(const GNetEncoder::Output& maps, const at::Tensor& voxels) const {
  const auto chosen = [&](const at::Tensor& p) { return voxels.defined() ? p.index_select(0, at::nonzero(voxels.to(at::kBool)).flatten()) : p; };
  const auto pool = [&](const at::Tensor& map, const at::Tensor& rf) {  // [B, C, H, W], [V, H, W] -> [B, V, C]
    const at::Tensor weight = at::softmax(chosen(rf).flatten(1), 1);
    return at::matmul(weight, compress(map).flatten(2).transpose(1, 2));
  };
  const at::Tensor phi = compress(at::cat({pool(maps.fmap0, rf0), pool(maps.fmap1, rf1)}, 2));  // [B, V, 512]
  return (phi * chosen(w).flatten(1)).sum(2) + chosen(b).flatten();
}

}  // namespace me2::models
