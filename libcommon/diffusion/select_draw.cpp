#include "diffusion/select_draw.h"

#include <ATen/ATen.h>

#include "base/error.h"
#include "base/json.h"
#include "weights/identify.h"

namespace me2::diffusion {

DrawSelector::DrawSelector(const weights::StateDict& encoder, at::ScalarType dtype, at::Device device) : device_(device), dtype_(dtype) {
  const auto part = weights::part_with(encoder, "class_embedding");
  nn::Loader loader(part, dtype, device);
  const nn::Scope scope(loader);
  tower_ = std::make_shared<models::OpenClipVision>(scope, models::OpenClipVisionConfig::detect(scope, encoder.config()));
  const Json& config = encoder.config();
  squeeze_ = !config.is_object() || config.value("clip_squeeze", true);
}

at::Tensor DrawSelector::agreement(const at::Tensor& pictures, const at::Tensor& tokens) const {
  const auto n = tokens.size(0), draws = pictures.size(0) / n;
  std::vector<at::Tensor> rows;
  for (std::int64_t i = 0; i < pictures.size(0); ++i) {
    const at::Tensor pixels = models::clip_pixels(pictures.slice(0, i, i + 1), tower_->config.image_size, squeeze_);
    const at::Tensor found = (*tower_)(pixels.to(device_, dtype_)).tokens.to(at::kCPU, at::kFloat);
    if (found.size(1) != tokens.size(1) || found.size(2) != tokens.size(2))
      throw data_error("--encoder: it makes {}x{} tokens, the samples have {}x{}", found.size(1), found.size(2), tokens.size(1), tokens.size(2));
    rows.push_back(at::cosine_similarity(found.flatten(1), tokens.slice(0, i / draws, i / draws + 1).flatten(1)));
  }
  return at::cat(rows).view({n, draws});
}

}  // namespace me2::diffusion
