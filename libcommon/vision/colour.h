// Colour operations and the colour augmentations of low-level training. Images are float [B, 3, H, W] in [0, 1]; factors are
// inputs, one per sample (float [B]), so that a run is decided by whoever draws them.
// Refs: scikit-image 0.22 rgb2gray; kornia 0.7.1 enhance.adjust, color.hsv, augmentation (ColorJitter, RandomSolarize,
// RandomGrayscale, RandomResizedCrop). Newer kornia clamps around ColorJitter; this does not.
#pragma once
#include <array>
#include <cstdint>

#include <ATen/core/Tensor.h>

namespace me2::vision {

at::Tensor gray_bt709(const at::Tensor& x);  // [..., 3, H, W] -> [..., H, W]: .2125 .7154 .0721 (SSIM)
at::Tensor gray_bt601(const at::Tensor& x);  // [..., 3, H, W] -> [..., 1, H, W]: .299 .587 .114 (augmentations)

at::Tensor adjust_brightness(const at::Tensor& x, const at::Tensor& factor);  // clip(x f)
at::Tensor adjust_contrast(const at::Tensor& x, const at::Tensor& factor);    // clip(x f + (1-f) mean gray)
at::Tensor adjust_saturation(const at::Tensor& x, const at::Tensor& factor);  // clip((1-f) gray + f x)
at::Tensor adjust_hue(const at::Tensor& x, const at::Tensor& turns);          // turns of the colour circle, -.5 to .5

struct Jitter {
  std::array<int, 4> order{0, 1, 2, 3};  // 0 brightness, 1 contrast, 2 saturation, 3 hue: one order for the whole batch
  at::Tensor brightness, contrast, saturation, hue;  // [B]; ranges for .4/.4/.2/.1: [.6,1.4] [.6,1.4] [.8,1.2] [-.1,.1]
  at::Tensor apply;  // bool [B]: samples that are changed; undefined: all
};
at::Tensor colour_jitter(const at::Tensor& x, const Jitter& jitter);

// t = clip(x + addition); where t >= threshold, 1 - t. threshold, addition: float [B].
at::Tensor solarize(const at::Tensor& x, const at::Tensor& threshold, const at::Tensor& addition);
at::Tensor to_grayscale(const at::Tensor& x);  // gray_bt601 on all three channels

struct Crop {  // rows and columns, both ends included
  std::int64_t top, left, bottom, right;
};
// Cut and bilinear resize with align_corners=True: x float [B, C, H, W] -> [B, C, size, size].
at::Tensor resized_crop(const at::Tensor& x, const Crop& crop, std::int64_t size);

}  // namespace me2::vision
