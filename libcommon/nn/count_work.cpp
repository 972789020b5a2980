#include "nn/count_work.h"

#include <limits>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/ExpandUtils.h>
#include <ATen/record_function.h>
#include <torch/library.h>

namespace me2::nn {
namespace {

struct Counter {
  Work work;
  std::unordered_map<const void*, std::pair<c10::weak_intrusive_ptr<c10::StorageImpl>, std::uint64_t>> alive;
  std::unordered_map<const void*, std::uint64_t> given;
  int inside_attention = 0;

  void read(const at::Tensor& tensor) {
    if (inside_attention) return;  // its matrices of scores, which fused kernels do not make
    if (!tensor.defined() || !tensor.is_meta() || !tensor.has_storage()) return;
    const void* key = tensor.storage().unsafeGetStorageImpl();
    const auto known = alive.find(key);
    if (known != alive.end() && !known->second.first.expired()) return;
    if (given.emplace(key, tensor.storage().nbytes()).second) work.weights += tensor.storage().nbytes();
  }
  void made(const at::Tensor& tensor) {
    if (!tensor.defined() || !tensor.is_meta() || !tensor.has_storage()) return;
    const auto& storage = tensor.storage();
    const void* key = storage.unsafeGetStorageImpl();
    const auto known = alive.find(key);
    if (known != alive.end() && !known->second.first.expired()) return;  // a view, or in place
    if (known != alive.end()) alive.erase(known);
    if (given.contains(key)) return;  // a weight looked at, or changed in place
    work.bytes += static_cast<double>(storage.nbytes());
    if (inside_attention) return;
    alive.emplace(key, std::pair(storage.getWeakStorageImpl(), storage.nbytes()));
    std::uint64_t sum = 0;
    std::erase_if(alive, [&](const auto& entry) {
      if (entry.second.first.expired()) return true;
      sum += entry.second.second;
      return false;
    });
    work.held = std::max(work.held, sum);
  }
};

thread_local Counter* counting = nullptr;

struct Entered : at::ObserverContext {
  bool attention = false;
  double each = 0;    // flops for each number of the result
  double fixed = 0;   // and beside it
};

// Of those operators that others are made of: at::linear calls addmm, and so on. What goes in is known at the start only.
std::unique_ptr<at::ObserverContext> entering(const at::RecordFunction& f) {
  if (!counting) return nullptr;
  auto context = std::make_unique<Entered>();
  const std::string_view name = f.name();
  const auto in = f.inputs();
  for (const auto& value : in) {
    if (value.isTensor()) counting->read(value.toTensor());
    else if (value.isTensorList()) for (const at::Tensor& t : value.toTensorVector()) counting->read(t);
  }
  const auto depth = [&](std::size_t i) { return 2 * static_cast<double>(in[i].toTensor().size(-1)); };
  if (name == "aten::mm" || name == "aten::bmm") context->each = depth(0);
  else if (name == "aten::addmm" || name == "aten::baddbmm") context->each = depth(1);
  else if (name == "aten::convolution") {
    const at::Tensor &x = in[0].toTensor(), &weight = in[1].toTensor();  // [out, in / groups, k, k]; transposed: [in, out / groups, k, k]
    const double taps = 2 * static_cast<double>(weight.numel()) / static_cast<double>(weight.size(0));
    if (in[6].toBool()) context->fixed = taps * static_cast<double>(x.numel());
    else context->each = taps;
  }
  context->attention = name == "aten::_scaled_dot_product_attention_math";
  if (context->attention) ++counting->inside_attention;
  return context;
}

void leaving(const at::RecordFunction& f, at::ObserverContext* context) {
  if (!counting || !context) return;
  const auto& entered = static_cast<const Entered&>(*context);
  if (entered.attention) --counting->inside_attention;
  counting->work.calls += 1;
  const auto& out = f.outputs();
  if (entered.each > 0 && !out.empty() && out[0].isTensor()) counting->work.flops += entered.each * static_cast<double>(out[0].toTensor().numel());
  counting->work.flops += entered.fixed;
  if (entered.attention) return counting->made(out[0].toTensor());  // the other one is its scores
  for (const auto& value : out) {
    if (value.isTensor()) counting->made(value.toTensor());
    else if (value.isTensorList()) for (const at::Tensor& t : value.toTensorVector()) counting->made(t);
  }
}

at::Tensor convolution_shape(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>&, at::IntArrayRef stride, at::IntArrayRef padding,
                             at::IntArrayRef dilation, bool transposed, at::IntArrayRef output_padding, std::int64_t groups) {
  std::vector<std::int64_t> shape{x.size(0), transposed ? weight.size(1) * groups : weight.size(0)};
  for (std::int64_t i = 2; i < x.dim(); ++i) {
    const auto at = static_cast<std::size_t>(i - 2);
    const auto reach = dilation[at] * (weight.size(i) - 1);
    shape.push_back(transposed ? (x.size(i) - 1) * stride[at] - 2 * padding[at] + reach + output_padding[at] + 1 : (x.size(i) + 2 * padding[at] - reach - 1) / stride[at] + 1);
  }
  return at::empty(shape, x.options());
}

}  // namespace

using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;
using Maybe = std::optional<at::Tensor>;
Three layer_norm_shape(const at::Tensor& x, at::IntArrayRef over, const Maybe&, const Maybe&, double) {
  auto rows = x.sizes().vec();
  std::fill(rows.end() - static_cast<std::ptrdiff_t>(over.size()), rows.end(), 1);
  return {at::empty(x.sizes(), x.options()), at::empty(rows, x.options()), at::empty(rows, x.options())};
}
Three group_norm_shape(const at::Tensor& x, const Maybe&, const Maybe&, std::int64_t n, std::int64_t, std::int64_t, std::int64_t groups, double) {
  return {at::empty(x.sizes(), x.options()), at::empty({n, groups}, x.options()), at::empty({n, groups}, x.options())};
}
Three batch_norm_shape(const at::Tensor& x, const Maybe&, const Maybe&, const Maybe&, const Maybe&, bool, double, double) {
  return {at::empty(x.sizes(), x.options()), at::empty({x.size(1)}, x.options()), at::empty({x.size(1)}, x.options())};
}
at::Tensor index_select_shape(const at::Tensor& x, std::int64_t axis, const at::Tensor& index) {
  auto shape = x.sizes().vec();
  if (!shape.empty()) shape[static_cast<std::size_t>(axis < 0 ? axis + x.dim() : axis)] = index.numel();
  return at::empty(shape, x.options());
}
at::Tensor where_shape(const at::Tensor& condition, const at::Tensor& a, const at::Tensor& b) {
  return at::empty(at::infer_size(condition.sizes(), at::infer_size(a.sizes(), b.sizes())), a.options().dtype(at::result_type(a, b)));
}
at::Tensor& where_out(const at::Tensor&, const at::Tensor&, const at::Tensor&, at::Tensor& out) { return out; }
at::Tensor pooled_shape(const at::Tensor& x, at::IntArrayRef size) {
  auto shape = x.sizes().vec();
  std::copy(size.begin(), size.end(), shape.end() - 2);
  return at::empty(shape, x.options());
}
at::Tensor alike(const at::Tensor& x) { return at::empty(x.sizes(), x.options()); }
at::Tensor& itself(at::Tensor& x) { return x; }
at::Tensor& same(at::Tensor& x, const at::Tensor&, const at::Scalar&) { return x; }

// Operators whose shapes LibTorch knows in Python only.
TORCH_LIBRARY_IMPL(aten, Meta, m) {
  m.impl("convolution_overrideable", convolution_shape);
  m.impl("native_layer_norm", layer_norm_shape);
  m.impl("native_group_norm", group_norm_shape);
  m.impl("native_batch_norm", batch_norm_shape);
  m.impl("index_select", index_select_shape);
  m.impl("where.self", where_shape);
  m.impl("where.self_out", where_out);
  m.impl("_adaptive_avg_pool2d", pooled_shape);
  m.impl("masked_fill_.Scalar", same);
  m.impl("relu", alike);
  m.impl("relu_", itself);
}

at::Tensor meta(const Shape& shape, at::ScalarType dtype) { return at::empty(shape, at::TensorOptions().dtype(dtype).device(at::kMeta)); }

Work count_work(const std::function<void()>& forward) {
  Counter counter;
  const auto handle = at::addThreadLocalCallback(at::RecordFunctionCallback(entering, leaving).needsInputs(true).needsOutputs(true).scopes({at::RecordScope::FUNCTION}));
  Counter* before = counting;
  counting = &counter;
  const auto end = [&] { counting = before, at::removeCallback(handle); };
  try {
    forward();
  } catch (const c10::NotImplementedError&) {  // of an operator whose shapes are not known here: nothing is foretold
    counter.work.flops = std::numeric_limits<double>::quiet_NaN();
  } catch (...) {
    end();
    throw;
  }
  end();
  return counter.work;
}

Work training_step(const Work& forward, bool averaged) {
  const std::uint64_t beside = (averaged ? 4 : 3) * forward.weights;
  return {3 * forward.flops, 3 * forward.bytes + 2.0 * static_cast<double>(beside), 3 * forward.calls, forward.held + beside, forward.weights};
}

}  // namespace me2::nn
