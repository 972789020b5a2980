// The feature networks of the evaluation, from the files their authors publish: torchvision AlexNet, Inception v3,
// EfficientNet-B1; ResNet-50 of SwAV (or torchvision's); OpenAI CLIP image towers. Sizes come from the files.
// Sources: torchvision models/{alexnet,inception,efficientnet,resnet}.py; MindEye2 final_evaluations (which layer, which resize).
#pragma once
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "nn/scope.h"

namespace me2::models {

enum class EvalNetKind { alexnet, inception, clip, effnet, swav };
const char* eval_net_name(EvalNetKind kind);

// What the network is fed: the shorter edge resized (256, 342, 224, 255, 224), no crop, normalised.
// images float [B, 3, H, W] in [0, 1].
at::Tensor eval_net_input(EvalNetKind kind, const at::Tensor& images, bool antialias = false);

class EvalNet {
 public:
  virtual ~EvalNet() = default;
  // x as eval_net_input makes it -> features [B, F] per layer: AlexNet features.4 and features.11 (after ReLU, flattened), Inception,
  // EfficientNet and ResNet avgpool, CLIP the image embedding (not normalised).
  virtual std::vector<at::Tensor> operator()(const at::Tensor& x) const = 0;
};

// `dict`: official names; a "module." prefix and parts that are not used (classifiers, projection heads, text towers, AuxLogits)
// are accepted. Exit::data naming the first tensor that is missing, or that belongs to no such network.
std::unique_ptr<EvalNet> load_eval_net(EvalNetKind kind, const weights::StateDict& dict, at::ScalarType dtype = at::kFloat, at::Device device = at::kCPU);

}  // namespace me2::models
