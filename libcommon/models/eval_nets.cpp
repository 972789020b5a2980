#include "models/eval_nets.h"

#include <ATen/ATen.h>

#include "base/error.h"
#include "base/json.h"
#include "models/open_clip.h"
#include "vision/resize.h"

namespace me2::models {
namespace {

using nn::Scope;
using Pair = std::array<std::int64_t, 2>;

at::Tensor max_pool(const at::Tensor& x, std::int64_t kernel, std::int64_t stride, std::int64_t padding = 0) {
  return at::max_pool2d(x, {kernel, kernel}, {stride, stride}, {padding, padding});
}
at::Tensor average(const at::Tensor& x) { return x.mean({2, 3}); }

// A convolution with its batch norm folded in: one pass over the feature map instead of two. Kernel and groups from the weight.
// Weights and feature maps are kept channels last, as the convolution kernels want them: others are reordered at every call.
struct Conv {
  at::Tensor weight, bias;
  Pair stride{1, 1}, padding{0, 0};
  std::int64_t groups = 1;

  static Conv plain(const Scope& s, std::int64_t step, std::int64_t pad) {
    const auto shape = four(s, "weight");
    Conv c;
    c.weight = s.param("weight", shape).contiguous(at::MemoryFormat::ChannelsLast);
    c.bias = s.param("bias", {shape[0]});
    c.stride = {step, step}, c.padding = {pad, pad};
    return c;
  }
  // Padding keeps the size at stride 1 unless `valid`.
  static Conv folded(const Scope& s, const std::string& conv, const std::string& norm, double eps, std::int64_t step = 1, bool valid = false) {
    const auto shape = four(s, conv + ".weight");
    const auto n = shape[0];
    const at::Tensor raw = s.param(conv + ".weight", shape);
    const auto of_norm = [&](const char* leaf) { return s.param(norm + "." + leaf, {n}).to(at::kDouble); };
    const at::Tensor gamma = of_norm("weight"), beta = of_norm("bias"), mean = of_norm("running_mean"), variance = of_norm("running_var");
    if (s.has(norm + ".num_batches_tracked")) s.buffer(norm + ".num_batches_tracked", {});
    const at::Tensor scale = gamma / (variance + eps).sqrt();
    Conv c;
    c.weight = (raw.to(at::kDouble) * scale.reshape({-1, 1, 1, 1})).to(raw.scalar_type()).contiguous(at::MemoryFormat::ChannelsLast);
    c.bias = (beta - mean * scale).to(raw.scalar_type());
    c.stride = {step, step};
    if (!valid) c.padding = {shape[2] / 2, shape[3] / 2};
    c.groups = shape[1] == 1 && n > 1 ? n : 1;  // depthwise; no network here has another convolution of one input channel
    return c;
  }
  at::Tensor operator()(const at::Tensor& x) const { return at::conv2d(x, weight, bias, stride, padding, Pair{1, 1}, groups); }
  at::Tensor relu(const at::Tensor& x) const { return (*this)(x).relu_(); }
  at::Tensor silu(const at::Tensor& x) const {
    at::Tensor y = (*this)(x);
    return at::silu_(y);
  }

 private:
  static nn::Shape four(const Scope& s, const std::string& name) {
    auto shape = s.shape(name);
    if (shape.size() != 4) throw data_error("{}{}: a convolution weight of 4 axes expected, {} found", s.prefix(), name, shape.size());
    return shape;
  }
};

struct AlexNet : EvalNet {
  Conv c0, c3, c6, c8, c10;
  explicit AlexNet(const Scope& s)
      : c0(Conv::plain(s.sub("features.0"), 4, 2)), c3(Conv::plain(s.sub("features.3"), 1, 2)), c6(Conv::plain(s.sub("features.6"), 1, 1)),
        c8(Conv::plain(s.sub("features.8"), 1, 1)), c10(Conv::plain(s.sub("features.10"), 1, 1)) {}
  std::vector<at::Tensor> operator()(const at::Tensor& x) const override {
    const at::Tensor second = c3.relu(max_pool(c0.relu(x), 3, 2));
    return {second.flatten(1), c10.relu(c8.relu(c6.relu(max_pool(second, 3, 2)))).flatten(1)};
  }
};

// Source: torchvision inception.py. Fidelity: transform_input is on, because the official code loads weights.
struct Inception : EvalNet {
  std::vector<Conv> stem;
  struct Block {
    std::vector<std::vector<Conv>> branches;  // each a chain
    std::vector<Conv> forks;                  // InceptionE: two more convolutions at the end of branches 1 and 2, two each
    bool pool_first_average = true;           // the pooling branch: average and a convolution, or max alone
  };
  std::vector<Block> blocks;
  static Conv conv(const Scope& s, const std::string& name, std::int64_t step = 1, bool valid = false) {
    return Conv::folded(s.sub(name), "conv", "bn", 1e-3, step, valid);
  }
  explicit Inception(const Scope& s) {
    stem.push_back(conv(s, "Conv2d_1a_3x3", 2, true));
    stem.push_back(conv(s, "Conv2d_2a_3x3", 1, true));
    stem.push_back(conv(s, "Conv2d_2b_3x3"));
    stem.push_back(conv(s, "Conv2d_3b_1x1"));
    stem.push_back(conv(s, "Conv2d_4a_3x3", 1, true));
    const auto chain = [](const Scope& at, const std::string& name, int length, bool strided_end = false) {
      std::vector<Conv> out;
      for (int k = 1; k <= length; ++k) out.push_back(conv(at, name + "_" + std::to_string(k), strided_end && k == length ? 2 : 1, strided_end && k == length));
      return out;
    };
    for (const char* name : {"Mixed_5b", "Mixed_5c", "Mixed_5d"}) {
      const Scope m = s.sub(name);
      blocks.push_back({{{conv(m, "branch1x1")}, chain(m, "branch5x5", 2), chain(m, "branch3x3dbl", 3), {conv(m, "branch_pool")}}, {}, true});
    }
    const Scope m6 = s.sub("Mixed_6a");
    blocks.push_back({{{conv(m6, "branch3x3", 2, true)}, chain(m6, "branch3x3dbl", 3, true)}, {}, false});
    for (const char* name : {"Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"}) {
      const Scope m = s.sub(name);
      blocks.push_back({{{conv(m, "branch1x1")}, chain(m, "branch7x7", 3), chain(m, "branch7x7dbl", 5), {conv(m, "branch_pool")}}, {}, true});
    }
    const Scope m7 = s.sub("Mixed_7a");
    blocks.push_back({{chain(m7, "branch3x3", 2, true), chain(m7, "branch7x7x3", 4, true)}, {}, false});
    for (const char* name : {"Mixed_7b", "Mixed_7c"}) {
      const Scope m = s.sub(name);
      blocks.push_back({{{conv(m, "branch1x1")}, chain(m, "branch3x3", 1), chain(m, "branch3x3dbl", 2), {conv(m, "branch_pool")}},
                        {conv(m, "branch3x3_2a"), conv(m, "branch3x3_2b"), conv(m, "branch3x3dbl_3a"), conv(m, "branch3x3dbl_3b")}, true});
    }
  }
  static at::Tensor apply(const Block& b, const at::Tensor& x) {
    std::vector<at::Tensor> parts;
    for (std::size_t k = 0; k < b.branches.size(); ++k) {
      at::Tensor y = x;
      if (b.pool_first_average && k + 1 == b.branches.size()) y = at::avg_pool2d(x, {3, 3}, {1, 1}, {1, 1});
      for (const auto& c : b.branches[k]) y = c.relu(y);
      if (!b.forks.empty() && (k == 1 || k == 2)) {
        parts.push_back(b.forks[2 * k - 2].relu(y));
        parts.push_back(b.forks[2 * k - 1].relu(y));
      } else {
        parts.push_back(y);
      }
    }
    if (!b.pool_first_average) parts.push_back(max_pool(x, 3, 2));
    return at::cat(parts, 1);
  }
  std::vector<at::Tensor> operator()(const at::Tensor& input) const override {
    at::Tensor x = input.clone();
    for (int c = 0; c < 3; ++c) {
      at::Tensor channel = x.select(1, c);
      channel.mul_(vision::kImageNetStd[c] / 0.5f).add_((vision::kImageNetMean[c] - 0.5f) / 0.5f);
    }
    x = max_pool(stem[2].relu(stem[1].relu(stem[0].relu(x))), 3, 2);
    x = max_pool(stem[4].relu(stem[3].relu(x)), 3, 2);
    for (const auto& block : blocks) x = apply(block, x);
    return {average(x)};
  }
};

struct EfficientNet : EvalNet {
  struct Block {
    bool expands = false;
    Conv expand, depthwise, squeeze, excite, project;
    bool residual = false;
  };
  Conv stem, head;
  std::vector<Block> blocks;
  explicit EfficientNet(const Scope& s) {
    const auto norm = [](const Scope& at, std::int64_t step = 1) { return Conv::folded(at, "0", "1", 1e-5, step); };
    stem = norm(s.sub("features.0"), 2);
    constexpr std::array<std::int64_t, 7> strides{1, 2, 2, 2, 1, 2, 1};
    for (std::int64_t stage = 1; stage <= 7; ++stage) {
      const Scope at = s.sub("features").sub(stage);
      for (std::int64_t i = 0; at.has(std::to_string(i) + ".block.0.0.weight"); ++i) {
        const Scope b = at.sub(i).sub("block");
        const std::int64_t step = i == 0 ? strides[stage - 1] : 1;
        Block block;
        block.expands = b.has("3.0.weight");
        std::int64_t k = 0;
        if (block.expands) block.expand = norm(b.sub(k++));
        block.depthwise = norm(b.sub(k++), step);
        block.squeeze = Conv::plain(b.sub(k).sub("fc1"), 1, 0);
        block.excite = Conv::plain(b.sub(k++).sub("fc2"), 1, 0);
        block.project = norm(b.sub(k));
        const auto in = (block.expands ? block.expand : block.depthwise).weight.size(block.expands ? 1 : 0);
        block.residual = step == 1 && in == block.project.weight.size(0);
        blocks.push_back(std::move(block));
      }
    }
    head = norm(s.sub("features.8"));
  }
  std::vector<at::Tensor> operator()(const at::Tensor& input) const override {
    at::Tensor x = stem.silu(input);
    for (const auto& b : blocks) {
      at::Tensor y = b.expands ? b.expand.silu(x) : x;
      y = b.depthwise.silu(y);
      y = y * b.excite(b.squeeze.silu(y.mean({2, 3}, true))).sigmoid_();
      y = b.project(y);
      x = b.residual ? y.add_(x) : y;
    }
    return {average(head.silu(x))};
  }
};

struct ResNet : EvalNet {
  struct Block {
    Conv one, two, three;
    std::optional<Conv> shortcut;
  };
  Conv stem;
  std::vector<Block> blocks;
  explicit ResNet(const Scope& s) : stem(Conv::folded(s, "conv1", "bn1", 1e-5, 2)) {
    for (int layer = 1; layer <= 4; ++layer) {
      const Scope at = s.sub("layer" + std::to_string(layer));
      for (std::int64_t i = 0; at.has(std::to_string(i) + ".conv1.weight"); ++i) {
        const Scope b = at.sub(i);
        const std::int64_t step = i == 0 && layer > 1 ? 2 : 1;
        Block block{Conv::folded(b, "conv1", "bn1", 1e-5), Conv::folded(b, "conv2", "bn2", 1e-5, step), Conv::folded(b, "conv3", "bn3", 1e-5), {}};
        if (b.has("downsample.0.weight")) block.shortcut = Conv::folded(b, "downsample.0", "downsample.1", 1e-5, step);
        blocks.push_back(std::move(block));
      }
    }
  }
  std::vector<at::Tensor> operator()(const at::Tensor& input) const override {
    at::Tensor x = max_pool(stem.relu(input), 3, 2, 1);
    for (const auto& b : blocks) x = b.three(b.two.relu(b.one.relu(x))).add_(b.shortcut ? (*b.shortcut)(x) : x).relu_();
    return {average(x)};
  }
};

struct Clip : EvalNet {
  OpenClipVision tower;
  static OpenClipVisionConfig config(const Scope& s, const Json& json) {
    auto c = OpenClipVisionConfig::detect(s, json);
    c.activation = Activation::quick_gelu;  // OpenAI's weights
    return c;
  }
  Clip(const Scope& s, const Json& json) : tower(s, config(s, json)) {}
  std::vector<at::Tensor> operator()(const at::Tensor& x) const override { return {tower.pooled(x)}; }
};

}  // namespace

const char* eval_net_name(EvalNetKind kind) {
  constexpr std::array names{"AlexNet", "Inception v3", "CLIP", "EfficientNet-B1", "SwAV ResNet-50"};
  return names[static_cast<std::size_t>(kind)];
}

at::Tensor eval_net_input(EvalNetKind kind, const at::Tensor& images, bool antialias) {
  constexpr std::array<std::int64_t, 5> sizes{256, 342, 224, 255, 224};
  const at::Tensor x = vision::resize_shorter(images, sizes[static_cast<std::size_t>(kind)], vision::Interp::bilinear, antialias);
  if (kind == EvalNetKind::clip) return vision::normalize(x, vision::kClipMean, vision::kClipStd);
  return vision::normalize(x, vision::kImageNetMean, vision::kImageNetStd).contiguous(at::MemoryFormat::ChannelsLast);
}

std::unique_ptr<EvalNet> load_eval_net(EvalNetKind kind, const weights::StateDict& dict, at::ScalarType dtype, at::Device device) {
  nn::Loader loader(dict.without_prefix("module."), dtype, device);
  for (const char* unused : {"classifier.", "fc.", "AuxLogits.", "projection_head.", "prototypes.", "transformer.", "token_embedding.", "positional_embedding",
                             "ln_final.", "text_projection", "logit_scale", "input_resolution", "context_length", "vocab_size"})
    loader.ignore(unused);
  const Scope scope(loader);
  std::unique_ptr<EvalNet> net;
  switch (kind) {
    case EvalNetKind::alexnet: net = std::make_unique<AlexNet>(scope); break;
    case EvalNetKind::inception: net = std::make_unique<Inception>(scope); break;
    case EvalNetKind::clip: net = std::make_unique<Clip>(scope.sub("visual"), loader.dict().config()); break;
    case EvalNetKind::effnet: net = std::make_unique<EfficientNet>(scope); break;
    case EvalNetKind::swav: net = std::make_unique<ResNet>(scope); break;
  }
  loader.finish();
  return net;
}

}  // namespace me2::models
