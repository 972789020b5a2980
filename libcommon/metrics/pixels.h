// Pixel scores of pairs of images. Ref: MindEye2 final_evaluations (PixCorr, SSIM); scikit-image 0.22 structural_similarity.
#pragma once
#include <vector>

#include <ATen/core/Tensor.h>

namespace me2::metrics {

// What the reference does to every image set before it is scored: u8/255 or float [n,3,H,W] -> float [n,3,256,256], bilinear,
// not antialiased unless asked (torchvision 0.16 on tensors). A set that is `size` wide is left as it is.
at::Tensor to_scoring_size(const at::Tensor& images, bool antialias = false, std::int64_t size = 256);

struct PixelScores {
  std::vector<double> pixcorr;  // Pearson r over all values of an image; NaN when either image is constant
  std::vector<double> ssim;     // Gaussian window sigma 1.5 (11 taps), population covariance, data range 1, gray .2125 .7154 .0721
};
struct PixelOptions {
  bool pixcorr = true, ssim = true;
  bool antialias = false;
  std::int64_t size = 425;  // shorter edge at which both are computed
};
// truth, recon: float [n,3,H,W] of one size, in [0,1]. Threads: LibTorch's number.
PixelScores pixel_scores(const at::Tensor& truth, const at::Tensor& recon, const PixelOptions& options = {});

// The score printed during the reference's training: float32 throughout, undefined pairs left out. truth, recon [n, ...].
double training_pixcorr(const at::Tensor& truth, const at::Tensor& recon);

}  // namespace me2::metrics
