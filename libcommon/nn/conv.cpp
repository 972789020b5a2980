#include "nn/conv.h"

#include <mutex>

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/GradMode.h>

namespace me2::nn {

struct PackedWeight {
  explicit PackedWeight(at::Tensor weight) : plain(std::move(weight)) {}
  std::mutex mutex;
  at::Tensor plain;   // undefined once packed
  at::Tensor packed;  // undefined until the first inference call
};

namespace {

// LibTorch's oneDNN operators, the ones its compiler emits. They are looked up by name, as they have no C++ header.
using ConvOp = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, at::IntArrayRef, at::IntArrayRef,
                          at::IntArrayRef, std::int64_t, std::string_view, c10::List<std::optional<at::Scalar>>,
                          std::optional<std::string_view>);
using LinearOp = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, std::string_view,
                            c10::List<std::optional<at::Scalar>>, std::optional<std::string_view>);
using PackConvOp = at::Tensor(const at::Tensor&, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, std::int64_t,
                              at::OptionalIntArrayRef);
using PackLinearOp = at::Tensor(const at::Tensor&, std::optional<std::int64_t>);

struct Ops {
  std::optional<c10::TypedOperatorHandle<ConvOp>> conv;
  std::optional<c10::TypedOperatorHandle<LinearOp>> linear;
  std::optional<c10::TypedOperatorHandle<PackConvOp>> pack_conv;
  std::optional<c10::TypedOperatorHandle<PackLinearOp>> pack_linear;
  bool usable = false;
  Ops() {
    auto& dispatcher = c10::Dispatcher::singleton();
    const auto conv_op = dispatcher.findSchema({"mkldnn::_convolution_pointwise", ""});
    const auto linear_op = dispatcher.findSchema({"mkldnn::_linear_pointwise", ""});
    const auto pack_conv_op = dispatcher.findSchema({"mkldnn::_reorder_convolution_weight", ""});
    const auto pack_linear_op = dispatcher.findSchema({"mkldnn::_reorder_linear_weight", ""});
    if (!conv_op || !linear_op || !pack_conv_op || !pack_linear_op) return;
    conv = conv_op->typed<ConvOp>();
    linear = linear_op->typed<LinearOp>();
    pack_conv = pack_conv_op->typed<PackConvOp>();
    pack_linear = pack_linear_op->typed<PackLinearOp>();
    usable = true;
  }
};

const Ops& ops() {
  static const Ops ops;
  return ops;
}

// A weight that is trained changes under us, so it is never packed.
bool can_pack(const PackedWeight& w, const at::Tensor& x) {
  if (w.packed.defined()) return true;
  return x.device().is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) &&
         x.scalar_type() == w.plain.scalar_type() && !w.plain.requires_grad() && !(c10::GradMode::is_enabled() && x.requires_grad()) &&
         x.numel() > 0 && ops().usable;
}

std::optional<at::Tensor> some(const at::Tensor& t) { return t.defined() ? std::optional(t) : std::nullopt; }

}  // namespace

FastLinear::FastLinear(const Scope& s, std::int64_t in, std::int64_t out, bool with_bias)
    : weight_(std::make_shared<PackedWeight>(s.param("weight", {out, in}, Init::fan_in(in)))),
      bias_(with_bias ? s.param("bias", {out}, Init::fan_in(in)) : at::Tensor()) {}

FastLinear::FastLinear(at::Tensor weight, at::Tensor bias) : weight_(std::make_shared<PackedWeight>(std::move(weight))), bias_(std::move(bias)) {}

at::Tensor FastLinear::operator()(const at::Tensor& x) const {
  {
    const std::lock_guard lock(weight_->mutex);
    if (!can_pack(*weight_, x)) return at::linear(x, weight_->plain, some(bias_));
    if (!weight_->packed.defined()) {
      weight_->packed = ops().pack_linear->call(weight_->plain, x.numel() / x.size(-1));
      weight_->plain.reset();
    }
  }
  return ops().linear->call(x, weight_->packed, some(bias_), "none", c10::List<std::optional<at::Scalar>>(), "");
}

FastConv2d::FastConv2d(const Scope& s, std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride, std::int64_t padding)
    : weight_(std::make_shared<PackedWeight>(s.param("weight", {out, in, kernel, kernel}, Init::fan_in(in * kernel * kernel)))),
      bias_(s.param("bias", {out}, Init::fan_in(in * kernel * kernel))), stride_(stride), padding_(padding) {}

at::Tensor FastConv2d::run(const at::Tensor& x, std::int64_t row_padding) const {
  const std::int64_t pads[] = {row_padding, padding_}, strides[] = {stride_, stride_}, dilations[] = {1, 1};
  at::Tensor input;
  {
    const std::lock_guard lock(weight_->mutex);
    if (!can_pack(*weight_, x)) {
      if (x.is_cpu() || weight_->plain.requires_grad() || c10::GradMode::is_enabled())
        return at::conv2d(x, weight_->plain, some(bias_), strides, pads, dilations);
      weight_->plain = weight_->plain.contiguous(at::MemoryFormat::ChannelsLast);  // once
      return at::conv2d(x.contiguous(at::MemoryFormat::ChannelsLast), weight_->plain, some(bias_), strides, pads, dilations);
    }
    input = x.contiguous(at::MemoryFormat::ChannelsLast);
    if (!weight_->packed.defined()) {
      weight_->packed = ops().pack_conv->call(weight_->plain, pads, strides, dilations, 1, input.sizes());
      weight_->plain.reset();
    }
  }
  return ops().conv->call(input, weight_->packed, some(bias_), pads, strides, dilations, 1, "none", c10::List<std::optional<at::Scalar>>(), "");
}

at::Tensor silu_of(at::Tensor&& x) { return c10::GradMode::is_enabled() ? at::silu(x) : at::silu_(x); }
at::Tensor sum_of(at::Tensor&& x, const at::Tensor& y) { return c10::GradMode::is_enabled() ? x + y : x.add_(y); }

}  // namespace me2::nn
