#include "models/clip_converter.h"

#include <ATen/ATen.h>

namespace me2::models {

ClipConverterConfig ClipConverterConfig::detect(const nn::Scope& scope) {
  const auto over_tokens = scope.shape("linear1.weight"), over_features = scope.shape("linear2.weight");
  return {over_tokens.at(1), over_tokens.at(0), over_features.at(1), over_features.at(0)};
}

ClipConverter::ClipConverter(const nn::Scope& s, const ClipConverterConfig& c)
    : linear1(s.sub("linear1"), c.tokens_in, c.tokens_out), linear2(s.sub("linear2"), c.width_in, c.width_out) {}

at::Tensor ClipConverter::operator()(const at::Tensor& x) const { return linear2(linear1(x.transpose(1, 2)).transpose(1, 2)); }

}  // namespace me2::models
