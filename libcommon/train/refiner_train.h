// Training of a text-conditioned U-Net in SDXL's form: what me2-decode refine runs. The captions of the pictures are the condition; the
// text encoders stay as they are. Source: Podell et al. 2023 (SDXL), section 2 (pooled text and sizes as the vector condition).
#pragma once
#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "base/json_fwd.h"
#include "diffusion/sdxl_refine.h"
#include "train/unclip_train.h"

namespace me2::train {

// The text tower of a CLIP trained by me2-embed encoder as both text encoders of an SDXL checkpoint, under the names that has:
// conditioner.embedders.0.transformer.text_model.* (Hugging Face's) and conditioner.embedders.1.model.* (OpenCLIP's). The config says
// what shapes cannot. Exit::data when `encoder` has no text tower.
struct SdxlText {
  std::map<std::string, at::Tensor> tensors;
  Json config;
};
SdxlText sdxl_text(const weights::StateDict& encoder);

// Ids of every caption of every picture, [pictures * choices, context] int64; `empty` [1, context] those of no caption.
struct CaptionIds {
  diffusion::PromptIds all, empty;
  std::int64_t choices = 1;
};

// One caption of each picture, drawn by (seed, step, row); a dropped one is the empty caption. `picture` maps rows to pictures.
diffusion::Condition caption_condition(const diffusion::SdxlTextEncoders& text, const models::UnclipUnet& unet, const CaptionIds& captions,
                                       double size, double target, const std::vector<std::int64_t>& pictures, const at::Tensor& dropped,
                                       std::uint64_t seed, std::int64_t step, at::Device device);

}  // namespace me2::train
