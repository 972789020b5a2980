// Refinement of pictures by SDXL as image-to-image with the predicted caption as prompt. Ref: MindEye2's enhanced reconstruction
// notebook; goldens/image.md section 9.
#pragma once
#include <memory>

#include <ATen/core/Tensor.h>

#include "diffusion/denoiser.h"
#include "diffusion/edm_samplers.h"
#include "diffusion/unclip.h"
#include "models/clip_text.h"
#include "models/open_clip.h"
#include "weights/state_dict.h"

namespace me2::diffusion {

inline constexpr const char* kNegativePrompt =
    "painting, extra fingers, mutated hands, poorly drawn hands, poorly drawn face, deformed, ugly, blurry, bad anatomy, bad proportions, "
    "extra limbs, cloned face, skinny, glitchy, double torso, extra arms, extra hands, mangled fingers, missing lips, ugly face, distorted "
    "face, extra legs, anime";

struct PromptIds {
  at::Tensor clip_l, open_clip;  // [n, 77] int64 of the two tokenizers
};

struct TextCondition {
  at::Tensor crossattn;  // [n, 77, width of encoder 1 + width of encoder 2]
  at::Tensor pooled;     // [n, embed_dim of encoder 2]
};

// Pooled text, then the embedded size numbers (original and target size, crop 0): [n, adm_in_channels].
at::Tensor sdxl_vector(const at::Tensor& pooled, std::int64_t adm_in_channels, double size_condition, double target_condition);

class SdxlTextEncoders {
 public:
  // `part` has both encoders under first and second, e.g. conditioner.embedders.0. and conditioner.embedders.1.
  SdxlTextEncoders(const weights::StateDict& dict, const std::string& first, const std::string& second, const Json& config,
                   at::ScalarType dtype, at::Device device);
  TextCondition operator()(const PromptIds& ids) const;  // ids [n, context()]
  std::int64_t context() const { return second_->config.context_length; }
  std::int64_t width() const { return first_->config.width + second_->config.width; }

 private:
  std::shared_ptr<models::ClipText> first_;
  std::shared_ptr<models::OpenClipText> second_;
  std::int64_t layer_;
  at::Device device_;
};

class SdxlRefiner {
 public:
  // A single-file SDXL checkpoint (f16 or f32) or model directory. The prompt's encoders: base_text_embedder1/2.* where the file has
  // them, else those of `text` (another SDXL file), else the checkpoint's own.
  // Fidelity: the reference encodes the prompt with the original encoders and the negative prompt with the checkpoint's.
  // `vae`: an autoencoder in place of the checkpoint's own.
  static SdxlRefiner open(const weights::StateDict& model, const UnclipDecoder::Options& options, const weights::StateDict* text = nullptr,
                          const weights::StateDict* vae = nullptr);

  TextCondition prompt(const PromptIds& ids) const { return (*prompt_)(ids); }
  TextCondition negative(const PromptIds& ids) const { return (*negative_)(ids); }
  std::int64_t context() const { return prompt_->context(); }  // ids a prompt is cut or filled to
  at::Tensor vector(const TextCondition& text) const { return sdxl_vector(text.pooled, unet_->config().adm_in_channels, size_condition_, target_); }

  struct Settings {
    std::int64_t steps = 25, timepoint = 13;  // the last `timepoint` of the schedule's steps + 1 levels: timepoint - 1 steps
    double guidance = 5;
    SamplerKind sampler = SamplerKind::euler;
  };
  // image [1, 3, H, W] in [0, 1]; posterior_noise, noise [1, 4, h, w] -> latent.
  at::Tensor latent(const at::Tensor& image, const TextCondition& prompt, const TextCondition& negative, const at::Tensor& posterior_noise,
                    const at::Tensor& noise, const Settings& settings, const SamplerHooks& hooks = {}) const;
  at::Tensor picture(const at::Tensor& latent, std::int64_t rows = 0) const;  // -> [1, 3, H, W] in [0, 1]

  // Of one picture; the device is meta.
  Work work(const std::array<std::int64_t, 3>& latent, const Settings& settings, std::int64_t vae_rows) const;

  const models::Vae& vae() const { return *vae_; }
  const models::UnclipUnet& unet() const { return *unet_; }
  at::Device device() const { return device_; }

 private:
  std::shared_ptr<models::UnclipUnet> unet_;
  std::shared_ptr<models::Vae> vae_;
  std::shared_ptr<SdxlTextEncoders> prompt_, negative_;
  std::shared_ptr<Denoiser> denoiser_;
  at::Device device_ = at::kCPU;
  at::ScalarType dtype_ = at::kFloat, vae_dtype_ = at::kFloat;
  double size_condition_ = 768, target_ = 1024;
};

}  // namespace me2::diffusion
