// me2-embed images: what the brain models are trained to predict, once per stimulus and never again in training.
// Each network is optional; the arrays of those given are written, row by row of the stimulus store.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "base/work.h"
#include "store/stage.h"

namespace me2::models {

struct OpenClipVision;
class Vae;
struct ConvNext;

struct TargetNetworks {
  std::shared_ptr<const OpenClipVision> open_clip;  // -> clip_tokens [sample, T, W], clip_pooled [sample, E]
  bool clip_squeeze = true;                                 // Fidelity: the published tokens saw images squeezed into [.5, 1]
  std::shared_ptr<const Vae> vae;                   // -> vae_latent [sample, z, h, w]: mode of the posterior, scaled
  std::shared_ptr<const ConvNext> convnext;         // -> cnx_feature and cnx_feature_aug [sample, P, C]
  std::int64_t lowlevel_size = 224;                         // pixels of the images the VAE and ConvNeXt see
  std::int64_t augmented = 0;                               // -> each array but clip_pooled also as NAME_augmented [sample, that many, ...]
  std::uint64_t seed = 42;                                  // of all augmentations
  at::ScalarType dtype = at::kFloat;
  at::Device device = at::kCPU;
};

// Loads the networks whose path is not empty: an open_clip checkpoint (visual.* with or without its prefix), a VAE under diffusers'
// or sgm's names, the ConvNeXt teacher.
TargetNetworks load_target_networks(const std::string& open_clip, const std::string& vae, const std::string& convnext, at::ScalarType dtype,
                                    at::Device device);

// The arrays that `networks` give, for the writer and for --dry-run.
std::vector<store::StageArray> target_arrays(const TargetNetworks& networks, store::DType dtype);

// Of one picture [3, H, W], computed `batch` at a time by networks on the meta device.
Work target_work(const TargetNetworks& networks, const store::Shape& images, std::int64_t batch);

// Computes the samples whose pictures are `rows` of `images` (u1 [n, 3, H, W]) for the writer's units, `batch` at a time (batches never cross a unit, so shards
// give the bytes of the whole). `advance(n)` is told of every n rows done.
void write_image_targets(const store::Array& images, const std::vector<std::int64_t>& rows, const std::vector<std::int32_t>& stimulus, const TargetNetworks& networks,
                         store::StageWriter& out, std::int64_t batch, const std::function<void(std::int64_t)>& advance);

}  // namespace me2::models
