#include "models/image_targets.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <map>
#include <numeric>

#include "base/error.h"
#include "base/json.h"
#include "base/random.h"
#include "base/signals.h"
#include "models/convnext.h"
#include "models/open_clip.h"
#include "models/vae.h"
#include "nn/count_work.h"
#include "store/gather.h"
#include "vision/colour.h"
#include "vision/resize.h"

namespace me2::models {
namespace {

// The reference's augmentation of the low-level branch (kornia ColorJitter .4 .4 .2 .1 with p .8, RandomGrayscale .1, RandomSolarize .1;
// its crop is left out, since the features are compared patch by patch with the uncropped image's). One draw per stimulus and `of`.
at::Tensor augment(const at::Tensor& images, const std::vector<std::int32_t>& stimulus, const std::string& of, std::uint64_t seed) {
  const auto B = images.size(0);
  std::vector<at::Tensor> rows;
  for (std::int64_t i = 0; i < B; ++i) {
    Random draws(seed, fmt::format("augment/{}{}", stimulus[static_cast<std::size_t>(i)], of));
    const auto one = [&](double low, double high) { return at::full({1}, draws.uniform(low, high), at::kFloat); };
    auto x = images.slice(0, i, i + 1);
    vision::Jitter jitter;
    draws.shuffle(std::span<int>(jitter.order));
    jitter.brightness = one(.6, 1.4), jitter.contrast = one(.6, 1.4), jitter.saturation = one(.8, 1.2), jitter.hue = one(-.1, .1);
    const bool jittered = draws.uniform() < .8, gray = draws.uniform() < .1, solar = draws.uniform() < .1;
    if (jittered) x = vision::colour_jitter(x, jitter);
    if (gray) x = vision::to_grayscale(x);
    if (solar) x = vision::solarize(x, one(.4, .6), one(-.1, .1));
    rows.push_back(x);
  }
  return at::cat(rows);
}

// The reference's --use_image_aug: kornia ColorJitter .4 .4 .4 .1. (Its p of .3 is the training's, which takes the clean picture else.)
at::Tensor jittered(const at::Tensor& images, const std::vector<std::int32_t>& stimulus, std::int64_t variant, std::uint64_t seed) {
  std::vector<at::Tensor> rows;
  for (std::int64_t i = 0; i < images.size(0); ++i) {
    Random draws(seed, fmt::format("jitter/{}/{}", stimulus[static_cast<std::size_t>(i)], variant));
    const auto one = [&](double low, double high) { return at::full({1}, draws.uniform(low, high), at::kFloat); };
    vision::Jitter jitter;
    draws.shuffle(std::span<int>(jitter.order));
    jitter.brightness = one(.6, 1.4), jitter.contrast = one(.6, 1.4), jitter.saturation = one(.6, 1.4), jitter.hue = one(-.1, .1);
    rows.push_back(vision::colour_jitter(images.slice(0, i, i + 1), jitter));
  }
  return at::cat(rows);
}

std::map<std::string, at::Tensor> embed(const TargetNetworks& n, const at::Tensor& images, const std::vector<std::int32_t>& stimulus) {
  const c10::InferenceMode guard;
  std::map<std::string, at::Tensor> out;
  const auto to_network = [&](const at::Tensor& x) { return x.to(n.device, n.dtype); };
  const auto clip = [&](const at::Tensor& x) { return (*n.open_clip)(to_network(clip_pixels(x, n.open_clip->config.image_size, n.clip_squeeze))); };
  const auto sized = [&](const at::Tensor& x) {
    return x.size(2) == n.lowlevel_size && x.size(3) == n.lowlevel_size ? x : vision::resize(x, n.lowlevel_size, n.lowlevel_size, vision::Interp::bilinear);
  };
  const auto latent = [&](const at::Tensor& small) { return n.vae->encode(to_network(2 * small - 1)).mode() * n.vae->config().scale_factor; };
  if (n.open_clip) {
    const auto seen = clip(images);
    out["clip_tokens"] = seen.tokens;
    out["clip_pooled"] = seen.pooled;
  }
  const auto lowlevel = [&](const at::Tensor& seen, const std::string& of) {
    std::map<std::string, at::Tensor> made;
    if (!n.vae && !n.convnext) return made;
    const at::Tensor small = sized(seen);
    if (n.vae) made["vae_latent"] = latent(small);
    if (n.convnext) {
      made["cnx_feature"] = (*n.convnext)(to_network(small)).embeds;
      made["cnx_feature_aug"] = (*n.convnext)(to_network(augment(small, stimulus, of, n.seed))).embeds;
    }
    return made;
  };
  std::map<std::string, std::vector<at::Tensor>> variants;
  for (std::int64_t k = 0; k < n.augmented; ++k) {
    const at::Tensor variant = jittered(images, stimulus, k, n.seed);
    if (n.open_clip) variants["clip_tokens"].push_back(clip(variant).tokens);
    for (auto& [name, tensor] : lowlevel(variant, fmt::format("/{}", k))) variants[name].push_back(tensor);
  }
  for (const auto& [name, tensors] : variants) out[name + "_augmented"] = at::stack(tensors, 1);
  out.merge(lowlevel(images, ""));
  for (auto& [name, tensor] : out) tensor = tensor.to(at::kCPU, at::kFloat).contiguous();
  return out;
}

}  // namespace

TargetNetworks load_target_networks(const std::string& open_clip, const std::string& vae, const std::string& convnext, at::ScalarType dtype,
                                    at::Device device) {
  TargetNetworks n;
  n.dtype = dtype;
  n.device = device;
  if (!open_clip.empty()) {
    auto dict = weights::StateDict::open(open_clip);
    n.clip_squeeze = dict.config().value("clip_squeeze", true);
    for (const char* prefix : {"conditioner.embedders.0.model.visual.", "visual."})  // inside unclip6, or open_clip's own
      if (dict.has_prefix(prefix)) dict = dict.sub(prefix);
    if (!dict.has("conv1.weight")) throw data_error("{}: no OpenCLIP image tower (visual.conv1.weight is missing)", open_clip);
    nn::Loader loader(dict, dtype, device);
    const nn::Scope scope(loader);
    n.open_clip = std::make_shared<OpenClipVision>(scope, OpenClipVisionConfig::detect(scope, dict.config()));
    loader.finish();
  }
  if (!vae.empty()) {
    auto dict = weights::StateDict::open(vae);
    if (dict.has_prefix("first_stage_model.")) dict = dict.sub("first_stage_model.");
    nn::Loader loader(dict, dtype, device);
    const nn::Scope scope(loader);
    n.vae = std::make_shared<Vae>(scope, VaeConfig::detect(scope, dict.config()));
    loader.finish();
    n.lowlevel_size = dict.config().value("lowlevel_size", std::int64_t{224});
  }
  if (!convnext.empty()) {
    auto dict = weights::StateDict::open(convnext).without_prefix("module.");
    nn::Loader loader(dict, dtype, device);
    const nn::Scope scope(loader);
    n.convnext = std::make_shared<ConvNext>(scope, ConvNextConfig::detect(scope));
    loader.finish();
  }
  return n;
}

std::vector<store::StageArray> target_arrays(const TargetNetworks& n, store::DType dtype) {
  std::vector<store::StageArray> arrays;
  const auto with_variants = [&] {  // of the last one
    if (n.augmented == 0) return;
    store::StageArray of = arrays.back();
    of.name += "_augmented";
    of.row_shape.insert(of.row_shape.begin(), n.augmented);
    of.dimension_names.insert(of.dimension_names.begin(), "variant");
    of.long_name = "the same of colour-jittered variants";
    arrays.push_back(std::move(of));
  };
  if (n.open_clip) {
    const auto& c = n.open_clip->config;
    const auto grid = c.image_size / c.patch_size;
    arrays.push_back({"clip_tokens", {grid * grid, c.width}, dtype, {"token", "feature"}, "1", "OpenCLIP image tokens after ln_post"});
    with_variants();
    arrays.push_back({"clip_pooled", {c.embed_dim}, dtype, {"embedding"}, "1", "OpenCLIP pooled image embedding, not normalised"});
  }
  if (n.vae) {
    const auto& c = n.vae->config();
    const auto side = n.lowlevel_size / c.factor();
    arrays.push_back({"vae_latent", {c.embed_dim, side, side}, dtype, {"channel", "row", "column"}, "1", "mode of the VAE posterior, scaled"});
    with_variants();
  }
  if (n.convnext) {
    const auto side = n.lowlevel_size / 32;
    const auto width = n.convnext->config.projector.back();
    arrays.push_back({"cnx_feature", {side * side, width}, dtype, {"patch", "feature"}, "1", "ConvNeXt features of the image"});
    with_variants();
    arrays.push_back({"cnx_feature_aug", {side * side, width}, dtype, {"patch", "feature"}, "1", "ConvNeXt features of the augmented image"});
    with_variants();
  }
  return arrays;
}

Work target_work(const TargetNetworks& n, const store::Shape& images, std::int64_t batch) {
  const c10::InferenceMode guard;
  const auto pixels = [&](std::int64_t size) { return nn::meta({batch, 3, size, size}, n.dtype); };
  Work work;
  if (n.open_clip) work += nn::count_work([&] { (*n.open_clip)(pixels(n.open_clip->config.image_size)); });
  if (n.vae) work += nn::count_work([&] { n.vae->encode(pixels(n.lowlevel_size)); });
  if (n.convnext) work += nn::count_work([&] { (*n.convnext)(pixels(n.lowlevel_size)), (*n.convnext)(pixels(n.lowlevel_size)); });
  work = work.times(1.0 + static_cast<double>(n.augmented));
  const auto seen = batch * 3 * (images.at(2) * images.at(3) + 2 * (n.open_clip ? n.open_clip->config.image_size * n.open_clip->config.image_size : n.lowlevel_size * n.lowlevel_size));
  work.bytes += static_cast<double>(8 * seen);  // resized and normalised
  work.held += static_cast<std::uint64_t>(8 * seen);
  return work.times(1.0 / static_cast<double>(batch));
}

void write_image_targets(const store::Array& images, const std::vector<std::int64_t>& rows, const std::vector<std::int32_t>& stimulus, const TargetNetworks& networks,
                         store::StageWriter& out, std::int64_t batch, const std::function<void(std::int64_t)>& advance) {
  const auto C = images.shape().at(1), H = images.shape().at(2), W = images.shape().at(3);
  for (const auto& unit : out.pending()) {
    std::map<std::string, std::vector<at::Tensor>> parts;
    for (std::int64_t first = unit.first; first < unit.first + unit.count; first += batch) {
      check_stop();
      const auto count = std::min(batch, unit.first + unit.count - first);
      std::vector<std::uint8_t> bytes(static_cast<std::size_t>(count * C * H * W));
      store::gather_rows(images, std::span(rows).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)), bytes.data());
      const auto pixels = at::from_blob(bytes.data(), {count, C, H, W}, at::kByte).to(at::kFloat) / 255;
      const std::vector<std::int32_t> ids(stimulus.begin() + first, stimulus.begin() + first + count);
      for (auto& [name, tensor] : embed(networks, pixels, ids)) parts[name].push_back(tensor);
      advance(count);
    }
    for (const auto& [name, tensors] : parts) {
      const auto joined = at::cat(tensors);
      if (!joined.isfinite().all().item<bool>()) throw data_error("{}: {} of rows {}..{} are not finite", images.path(), name, unit.first, unit.first + unit.count - 1);
      out.write(name, unit, joined.const_data_ptr<float>());
    }
  }
}

}  // namespace me2::models
