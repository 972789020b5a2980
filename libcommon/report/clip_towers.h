// The towers of a CLIP model as scores use them: captions or pictures in, rows of length one out.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace me2::models {
struct OpenClipText;
struct OpenClipVision;
}  // namespace me2::models
namespace me2::text {
class ClipBpe;
}

namespace me2::report {

class ClipText {
 public:
  // `model`: open_clip or OpenAI names, a file or a folder (visual.* is left aside). `vocabulary`: bpe_simple_vocab or merges.txt; empty:
  // beside the weights. Exit::data for a file without a text tower, and for a vocabulary of another size.
  ClipText(const std::string& model, const std::string& vocabulary);
  ~ClipText();
  at::Tensor operator()(const std::vector<std::string>& texts) const;  // f32 [n, E]

 private:
  std::unique_ptr<models::OpenClipText> net_;
  std::unique_ptr<text::ClipBpe> words_;
};

class ClipImages {
 public:
  // The image tower of the same models. Pixels are squeezed into [.5, 1] only where the model's own config says it was trained so.
  explicit ClipImages(const std::string& model);
  ~ClipImages();
  at::Tensor operator()(const at::Tensor& images) const;  // float [n, 3, H, W] in [0, 1], any size -> f32 [n, E]

 private:
  std::unique_ptr<models::OpenClipVision> net_;
  bool squeeze_ = false;
};

}  // namespace me2::report
