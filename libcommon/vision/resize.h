// Resizing as the libraries of the reference do it. Images are float [..., H, W] (or u8 where said), values in any range.
// Refs: torchvision 0.16 transforms.Resize, torch.nn.functional.interpolate, kornia 0.7.1 geometry.resize, Pillow Resample.c.
#pragma once
#include <array>
#include <cstdint>
#include <utility>

#include <ATen/core/Tensor.h>

namespace me2::vision {

enum class Interp { nearest, bilinear, bicubic };

// x float [..., H, W] -> [..., height, width]. Without antialias: half-pixel centres, edge clamp, bicubic a = -0.75, nearest
// source floor(i*in/out) in float32. With antialias (bilinear and bicubic): triangle or cubic (a = -0.5) stretched by the scale.
at::Tensor resize(const at::Tensor& x, std::int64_t height, std::int64_t width, Interp interp = Interp::bilinear, bool antialias = false);

// torchvision's Resize(int): the shorter edge becomes `size`, the longer int(size*long/short).
std::pair<std::int64_t, std::int64_t> shorter_edge_size(std::int64_t height, std::int64_t width, std::int64_t size);
at::Tensor resize_shorter(const at::Tensor& x, std::int64_t size, Interp interp = Interp::bilinear, bool antialias = false);

// kornia gaussian_blur2d: taps and sigma per axis (y, x), border reflected without repeating the edge. x float [B, C, H, W].
at::Tensor gaussian_blur(const at::Tensor& x, std::array<std::int64_t, 2> taps, std::array<double, 2> sigma);

// kornia 0.7.1 resize(bicubic, align_corners=True, antialias): a Gaussian blur first when shrinking; same size: as it is.
// x float [B, C, H, W]. The preprocessing of the OpenCLIP image embedder.
at::Tensor kornia_resize_bicubic(const at::Tensor& x, std::int64_t height, std::int64_t width, bool antialias = true);

enum class PillowFilter { bilinear, bicubic, lanczos };
// Pillow's 8-bit resize: fixed point, rounded to u8 between passes, horizontal pass first (Pillow 13 goes vertically first when only the
// height shrinks; the reference's Pillow never does). x u8 [..., H, W] on the CPU.
at::Tensor pillow_resize(const at::Tensor& x, std::int64_t height, std::int64_t width, PillowFilter filter);

// torchvision ToPILImage of floats: x*255, truncated to u8. Fidelity: no rounding.
at::Tensor to_pil_u8(const at::Tensor& x);

inline constexpr std::array<float, 3> kImageNetMean{0.485f, 0.456f, 0.406f}, kImageNetStd{0.229f, 0.224f, 0.225f};
inline constexpr std::array<float, 3> kClipMean{0.48145466f, 0.4578275f, 0.40821073f}, kClipStd{0.26862954f, 0.26130258f, 0.27577711f};
// Fidelity: the reference's blur_augs divide red by 0.228, not 0.229.
inline constexpr std::array<float, 3> kBlurAugsStd{0.228f, 0.224f, 0.225f};

// (x - mean) / std per channel; x float [..., 3, H, W].
at::Tensor normalize(const at::Tensor& x, const std::array<float, 3>& mean, const std::array<float, 3>& std);

}  // namespace me2::vision
