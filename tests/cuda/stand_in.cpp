// A stand-in for a GPU, built as a library of the name LibTorch's CUDA part has: --device cuda then runs on a machine without one.
// Its memory is the CPU's under addresses that no program may touch, so code that reads a device tensor by a pointer of its own dies;
// operators run LibTorch's CPU kernels on it, and refuse what CUDA refuses: tensors of two devices in one operator, and waiting for the
// device while a graph is recorded. The kernels of libcommon/cuda run here as they are, thread after thread. What it cannot show: speed,
// cuDNN's and cuBLAS's numbers, and whether the driver records what we ask it to.
#include <cstring>
#include <mutex>

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/FakeGuardImpl.h>
#include <torch/library.h>

#include "host_block.h"
#include "nn/cuda_part.h"

namespace {

constexpr std::uintptr_t kTag = std::uintptr_t{1} << 62;  // no canonical address has it: reading there is a fault
bool recording = false;

void* hidden(void* p) { return p ? reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(p) | kTag) : nullptr; }
void* shown(const void* p) { return reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(p) & ~kTag); }

struct HiddenMemory final : c10::Allocator {
  c10::DataPtr allocate(std::size_t bytes) override {
    if (bytes == 0) return {nullptr, nullptr, &free_hidden, c10::Device(c10::kCUDA, 0)};
    void* p = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!p) throw std::bad_alloc();
    std::memset(p, 0xff, bytes);  // NaN: what is read before it is written shows
    return {hidden(p), hidden(p), &free_hidden, c10::Device(c10::kCUDA, 0)};
  }
  static void free_hidden(void* p) { std::free(shown(p)); }
  c10::DeleterFnPtr raw_deleter() const override { return &free_hidden; }
  void copy_data(void* to, const void* from, std::size_t count) const override { std::memcpy(shown(to), shown(from), count); }
};
HiddenMemory memory;

struct Below {  // operators inside an operator
  at::AutoDispatchBelowADInplaceOrView guard;
};

at::Tensor on_host(const at::Tensor& t) {
  if (!t.defined() || !t.is_cuda()) return t;
  if (t.numel() == 0) return at::empty(t.sizes(), t.scalar_type());
  return at::from_blob(shown(t.unsafeGetTensorImpl()->data()), t.sizes(), t.strides(), at::TensorOptions(t.scalar_type()));
}

at::Tensor on_device(const at::Tensor& t) {
  if (!t.defined() || t.is_cuda()) return t;
  at::Tensor out = at::empty_strided(t.sizes(), t.strides(), t.options().device(at::Device(at::kCUDA, 0)));
  on_host(out).copy_(t);
  return out;
}

void run_on_host(const c10::OperatorHandle& op, c10::DispatchKeySet, torch::jit::Stack* stack) {
  const Below below;
  const auto& schema = op.schema();
  const std::string name = schema.operator_name().name;
  const auto count = schema.arguments().size(), first = stack->size() - count;
  if (recording && (name == "aten::_local_scalar_dense" || name == "aten::nonzero" || name == "aten::equal"))
    TORCH_CHECK(false, name + ": operation not permitted when stream is capturing");
  const std::vector<c10::IValue> given(stack->begin() + static_cast<std::ptrdiff_t>(first), stack->end());
  const bool host_indices = name == "aten::index" || name == "aten::index_put_" || name == "aten::_index_put_impl_";
  const auto host = [&](const at::Tensor& t, bool scalar_or_index) {
    if (t.defined() && !t.is_cuda() && t.dim() > 0 && !scalar_or_index)
      TORCH_CHECK(false, name + ": Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!");
    return on_host(t);
  };
  std::vector<std::pair<at::Tensor, at::Tensor>> pairs;  // of each argument: on the device, on the host
  for (std::size_t i = 0; i < count; ++i) {
    c10::IValue& v = (*stack)[first + i];
    if (v.isTensor()) {
      pairs.emplace_back(v.toTensor(), host(v.toTensor(), false));
      v = pairs.back().second;
    } else if (v.isTensorList()) {
      std::vector<at::Tensor> list;
      for (const at::Tensor& t : v.toTensorVector()) {
        pairs.emplace_back(t, host(t, host_indices));
        list.push_back(pairs.back().second);
      }
      v = list;
    } else if (v.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> list;
      for (const std::optional<at::Tensor> t : v.toOptionalTensorList()) {
        if (t) pairs.emplace_back(*t, host(*t, host_indices));
        list.push_back(t ? std::optional(pairs.back().second) : std::nullopt);
      }
      v = list;
    } else if (v.isDevice()) {
      v = at::Device(at::kCPU);
    }
  }
  op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
  for (const auto& [device, on] : pairs)
    if (device.defined() && device.sizes() != on.sizes()) {  // an empty tensor that was given to be filled
      const at::Tensor filled = on_device(on);
      device.unsafeGetTensorImpl()->set_storage_keep_dtype(filled.storage());
      device.unsafeGetTensorImpl()->set_sizes_and_strides(filled.sizes(), filled.strides());
    }
  const auto back = [&](const at::Tensor& t) {
    for (const auto& [device, on] : pairs)
      if (t.defined() && on.defined() && t.is_same(on)) return device;
    return on_device(t);
  };
  const auto results = schema.returns().size();
  for (std::size_t i = stack->size() - results; i < stack->size(); ++i) {
    c10::IValue& v = (*stack)[i];
    if (v.isTensor()) v = back(v.toTensor());
    else if (v.isTensorList()) {
      std::vector<at::Tensor> list;
      for (const at::Tensor& t : v.toTensorVector()) list.push_back(back(t));
      v = list;
    }
  }
}

at::Tensor empty(at::IntArrayRef size, std::optional<at::ScalarType> type, std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>,
                 std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, &memory, c10::DispatchKeySet(c10::DispatchKey::CUDA), type.value_or(at::kFloat), format);
}
at::Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride, std::optional<at::ScalarType> type, std::optional<at::Layout>, std::optional<at::Device>,
                         std::optional<bool>) {
  return at::detail::empty_strided_generic(size, stride, &memory, c10::DispatchKeySet(c10::DispatchKey::CUDA), type.value_or(at::kFloat));
}
at::Tensor& copy_(at::Tensor& to, const at::Tensor& from, bool) {
  const Below below;
  if (recording && to.device() != from.device()) TORCH_CHECK(false, "copy_: operation not permitted when stream is capturing");
  on_host(to).copy_(on_host(from));
  return to;
}
std::int64_t attention_backend(const at::Tensor&, const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, double, bool, std::optional<double>, bool) {
  return 0;  // products and softmax
}

const auto boxed = [] { return torch::CppFunction::makeFromBoxedFunction<&run_on_host>(); };

TORCH_LIBRARY_IMPL(_, CUDA, m) { m.fallback(boxed()); }
TORCH_LIBRARY_IMPL(aten, CUDA, m) {
  m.impl("empty.memory_format", &empty);
  m.impl("empty_strided", &empty_strided);
  m.impl("copy_", &copy_);
  m.impl("as_strided", &at::native::as_strided_tensorimpl);
  m.impl("view", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef)>(&at::native::view));
  m.impl("_reshape_alias", &at::native::_reshape_alias);
  m.impl("unfold", &at::native::unfold);
  m.impl("_fused_sdp_choice", &attention_backend);
  // These have decompositions that would be taken before the fallback.
  for (const char* name : {"convolution", "convolution_backward", "native_group_norm", "native_layer_norm"}) m.impl(name, boxed());
}

C10_REGISTER_GUARD_IMPL(CUDA, c10::impl::FakeGuardImpl<c10::DeviceType::CUDA>)

}  // namespace

namespace at {
struct CUDAHooks final : at::CUDAHooksInterface {
  explicit CUDAHooks(at::CUDAHooksArgs) {}
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  int getNumGPUs() const override { return 1; }
  c10::DeviceIndex current_device() const override { return 0; }
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
  at::Device getDeviceFromPtr(void*) const override { return at::Device(at::kCUDA, 0); }
  void deviceSynchronize(c10::DeviceIndex) const override {}
};

REGISTER_CUDA_HOOKS(CUDAHooks)
}  // namespace at

namespace {

[[maybe_unused]] const bool started = [] {
  c10::SetAllocator(c10::kCUDA, &memory);
  return true;
}();

// The part, on the host.
using me2::cuda::Index;

template <class F>
void with_type(const at::Tensor& x, Index columns, const F& f) {
  const auto width = [&]<class T>(T) {
    if (me2::cuda::pack_width(columns) == 4) f.template operator()<T, 4>();
    else f.template operator()<T, 1>();
  };
  if (x.scalar_type() == at::kFloat) width(float{});
  else if (x.scalar_type() == at::kHalf) width(at::Half{});
  else width(at::BFloat16{});
}
template <class T>
T* data(const at::Tensor& t) { return static_cast<T*>(shown(t.unsafeGetTensorImpl()->data())); }

at::Tensor geglu(const at::Tensor& x) {
  TORCH_CHECK(x.is_cuda() && x.is_contiguous(), "geglu");
  const Index width = x.size(-1) / 2;
  auto shape = x.sizes().vec();
  shape.back() = width;
  at::Tensor out = at::empty(shape, x.options());
  with_type(x, width, [&]<class T, int N>() { me2::cuda::geglu_on_host<T, N>(data<T>(x), data<T>(out), x.numel() / (2 * width), width); });
  return out;
}

at::Tensor group_norm(const at::Tensor& x, std::int64_t groups, const at::Tensor& weight, const at::Tensor& bias, double eps, bool silu) {
  TORCH_CHECK(x.is_cuda() && x.is_contiguous(at::MemoryFormat::ChannelsLast) && weight.is_contiguous() && bias.scalar_type() == x.scalar_type(), "group_norm");
  at::Tensor out = at::empty(x.sizes(), x.options(), at::MemoryFormat::ChannelsLast);
  with_type(x, x.size(1), [&]<class T, int N>() {
    const auto shape = me2::cuda::group_norm_shape(x.size(0), x.size(2) * x.size(3), x.size(1), groups, N);
    me2::cuda::group_norm_on_host<T, N>(data<T>(x), data<T>(weight), data<T>(bias), data<T>(out), shape, static_cast<float>(eps), silu);
  });
  return out;
}

struct Again final : me2::nn::Recording {
  explicit Again(const std::function<void()>& work) : work(work) {}
  void replay() override { work(); }
  std::function<void()> work;
};
std::unique_ptr<me2::nn::Recording> record(c10::Device, const std::function<void()>& work) {
  struct Flag {
    Flag() { recording = true; }
    ~Flag() { recording = false; }
  };
  work();
  const Flag flag;
  work();
  return std::make_unique<Again>(work);
}

constexpr me2::nn::CudaPart kPart{geglu, group_norm, record};

}  // namespace

extern "C" const me2::nn::CudaPart* me2_cuda_part_1(const char*) { return &kPart; }
