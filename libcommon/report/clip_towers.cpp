#include "report/clip_towers.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/json.h"
#include "models/open_clip.h"
#include "text/clip_bpe.h"
#include "weights/state_dict.h"

namespace me2::report {
namespace {

namespace fs = std::filesystem;

at::Tensor unit_rows(const at::Tensor& x) { return x / x.norm(2, {1}, true).clamp_min(1e-12); }

}  // namespace

ClipText::ClipText(const std::string& model, const std::string& vocabulary) {
  const auto dict = weights::StateDict::open(model);
  if (!dict.has("token_embedding.weight")) throw data_error("{}: no token_embedding.weight: a CLIP model with its text tower expected", model);
  Json config = dict.config();
  if (!config.contains("open_clip")) config["open_clip"]["quick_gelu"] = true;  // OpenAI's own files say nothing and use it
  nn::Loader loader(dict);
  for (const char* unused : {"visual.", "logit_scale", "input_resolution", "context_length", "vocab_size", "attn_mask"}) loader.ignore(unused);
  const nn::Scope scope(loader);
  net_ = std::make_unique<models::OpenClipText>(scope, models::OpenClipTextConfig::detect(scope, config));
  loader.finish();
  words_ = std::make_unique<text::ClipBpe>(text::ClipBpe::open(!vocabulary.empty() ? vocabulary : fs::is_directory(model) ? model : fs::path(model).parent_path().string()));
  if (words_->size() != net_->config.vocab_size) throw data_error("{}: {} words, the vocabulary has {}", model, net_->config.vocab_size, words_->size());
}

ClipText::~ClipText() = default;

at::Tensor ClipText::operator()(const std::vector<std::string>& texts) const {
  constexpr std::size_t kBatch = 64;
  const auto context = net_->config.context_length;
  std::vector<at::Tensor> parts;
  for (std::size_t i = 0; i < texts.size(); i += kBatch) {
    std::vector<std::int64_t> ids;
    const auto count = std::min(kBatch, texts.size() - i);
    for (std::size_t k = 0; k < count; ++k) {
      const auto row = words_->encode(texts[i + k], text::ClipFlavour::open_clip, static_cast<std::size_t>(context)).ids;
      ids.insert(ids.end(), row.begin(), row.end());
    }
    parts.push_back(unit_rows((*net_)(at::tensor(ids, at::kLong).view({static_cast<std::int64_t>(count), context})).pooled.to(at::kFloat)));
  }
  return parts.empty() ? at::empty({0, net_->config.embed_dim}) : at::cat(parts);
}

ClipImages::ClipImages(const std::string& model) {
  auto dict = weights::StateDict::open(model);
  const Json config = dict.config();
  squeeze_ = config.value("clip_squeeze", config.contains("open_clip"));
  if (dict.has_prefix("visual.")) dict = dict.sub("visual.");
  if (!dict.has("conv1.weight")) throw data_error("{}: no visual.conv1.weight: a CLIP model with its image tower expected", model);
  nn::Loader loader(dict);
  const nn::Scope scope(loader);
  Json sizes = config;
  if (!sizes.contains("open_clip")) sizes["open_clip"]["quick_gelu"] = true;
  net_ = std::make_unique<models::OpenClipVision>(scope, models::OpenClipVisionConfig::detect(scope, sizes));
  loader.finish();
}

ClipImages::~ClipImages() = default;

at::Tensor ClipImages::operator()(const at::Tensor& images) const {
  return unit_rows((*net_)(models::clip_pixels(images, net_->config.image_size, squeeze_)).pooled.to(at::kFloat));
}

}  // namespace me2::report
