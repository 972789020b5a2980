#include "models/prior_inference.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include "base/error.h"
#include "models/prior_rows.h"
#include "weights/parallel.h"

namespace me2::models {
namespace {

#define ME2_KERNEL(name, parameters, arguments)                                             \
  template <class T>                                                                        \
  ME2_TARGET_AVX512 void name##_avx512 parameters { name##_rows arguments; }                \
  template <class T>                                                                        \
  ME2_TARGET_AVX2 void name##_avx2 parameters { name##_rows arguments; }                    \
  template <class T>                                                                        \
  void name parameters {                                                                    \
    if (nn::lanes_level() == 2) return name##_avx512<T> arguments;                          \
    if (nn::lanes_level() == 1) return name##_avx2<T> arguments;                            \
    name##_rows arguments;                                                                  \
  }
ME2_KERNEL(residual_norm, (float* x, const T* y, const float* out_g, float out_eps, const float* g, float eps, T* h, std::int64_t width, std::int64_t rows),
           (x, y, out_g, out_eps, g, eps, h, width, rows))
ME2_KERNEL(final_norm, (float* x, const T* y, const float* g, float eps, T* h, std::int64_t width, std::int64_t rows), (x, y, g, eps, h, width, rows))
ME2_KERNEL(gate, (const T* u, T* out, std::int64_t inner, std::int64_t rows), (u, out, inner, rows))

ME2_KERNEL(rotate, (const T* qkv, std::int64_t row_width, T* out, std::int64_t heads, std::int64_t stride, std::int64_t d, const float* cos, const float* sin, std::int64_t pairs, std::int64_t rows),
           (qkv, row_width, out, heads, stride, d, cos, sin, pairs, rows))

template <class T>
T* data(const at::Tensor& t) { return static_cast<T*>(t.mutable_data_ptr()); }

// Calls f with a null pointer of the products' type.
template <class F>
void with_type(at::ScalarType dtype, const F& f) {
  if (dtype == at::kBFloat16) f(static_cast<c10::BFloat16*>(nullptr));
  else f(static_cast<float*>(nullptr));
}

void over_rows(std::int64_t rows, const std::function<void(std::int64_t, std::int64_t)>& f) {
  weights::parallel_for(0, rows, 64, f);
}

}  // namespace

PriorInference::PriorInference(const PriorNetwork& net)
    : config_(net.config), net_(&net), dtype_(net.project_out.weight.scalar_type()),
      small_(config_.width * config_.sequence() < (1 << 16)), bias_(net.relative_bias().detach().to(at::kFloat).contiguous().unsqueeze(0)),
      query_(net.learned_query.detach().to(at::kFloat).contiguous()), final_g_(net.norm.g.detach().to(at::kFloat).contiguous()),
      project_out_(net.project_out.weight.detach()) {
  if (config_.dim_head > kWidestHead) throw data_error("the prior's heads are {} wide; at most {} expected", config_.dim_head, kWidestHead);
  const c10::InferenceMode guard;
  if (small_ && dtype_ == at::kFloat) {
    alone_.emplace(net);
    return;
  }
  for (const auto& layer : net.layers) {
    const auto& a = layer.attention;
    const at::Tensor null_key = a.null_kv[0].to(at::kFloat);
    layers_.push_back({a.norm.g.to(at::kFloat), a.out_norm.g.to(at::kFloat), layer.feed_forward.norm.g.to(at::kFloat),
                       nn::FastLinear(at::cat({a.to_q.weight, a.to_kv.weight})), nn::FastLinear(a.to_out.weight.detach()),
                       nn::FastLinear(layer.feed_forward.up.weight.detach()), nn::FastLinear(layer.feed_forward.down.weight.detach()),
                       (null_key / null_key.norm().clamp_min(1e-12)).to(dtype_), a.null_kv[1].to(dtype_).contiguous(),
                       a.rotary(config_.sequence())});
  }
}

const at::Tensor& PriorInference::time_embedding(std::int64_t time) {
  auto& known = times_[time];
  if (!known.defined()) known = net_->time_embedding(at::full({1}, time, at::kLong)).to(at::kFloat).contiguous().view({-1});
  return known;
}

const at::Tensor& PriorInference::null_prediction(std::int64_t time) {
  auto& known = nulls_[time];
  if (!known.defined()) {
    const at::Tensor brain = net_->null_brain_embeds.to(at::kFloat).contiguous(), image = net_->null_image_embed.to(at::kFloat).contiguous();
    const at::Tensor embedding = time_embedding(time);
    known = at::empty({config_.tokens, config_.width}, at::kFloat);
    one(brain.const_data_ptr<float>(), embedding, image.const_data_ptr<float>(), known);
  }
  return known;
}

at::Tensor PriorInference::attention(const Layer& layer, const at::Tensor& qkv, std::int64_t first_query) const {
  const std::int64_t n = config_.sequence(), heads = config_.heads, d = config_.dim_head, queries = n - first_query, width = heads * d;
  const std::int64_t row = width + 2 * d, pairs = layer.rotary.cos.size(1);
  const at::Tensor q = at::empty({1, heads, queries, d}, qkv.options()), k = at::empty({n + 1, d}, qkv.options()), v = at::empty({n + 1, d}, qkv.options());
  const float *cos = layer.rotary.cos.const_data_ptr<float>(), *sin = layer.rotary.sin.const_data_ptr<float>();
  with_type(dtype_, [&]<class T>(T*) {
    const T* in = data<T>(qkv);
    std::copy_n(data<T>(layer.null_key), d, data<T>(k));
    std::copy_n(data<T>(layer.null_value), d, data<T>(v));
    for (std::int64_t r = 0; r < n; ++r) std::copy_n(in + r * row + width + d, d, data<T>(v) + (r + 1) * d);
    rotate<T>(in + width, row, data<T>(k) + d, 1, 0, d, cos, sin, pairs, n);
    over_rows(queries, [&](std::int64_t first, std::int64_t last) {
      const std::int64_t r = first_query + first;
      rotate<T>(in + r * row, row, data<T>(q) + first * d, heads, queries * d, d, cos + r * pairs, sin + r * pairs, pairs, last - first);
    });
  });
  const auto shared = [&](const at::Tensor& t) { return t.view({1, 1, n + 1, d}).expand({1, heads, n + 1, d}); };
  const at::Tensor bias = bias_.narrow(2, first_query, queries);
  const at::Tensor out = at::scaled_dot_product_attention(q, shared(k), shared(v), bias, 0, false, kCosineScale);
  return out.transpose(1, 2).reshape({queries, width});
}

void PriorInference::one(const float* brain, const at::Tensor& time, const float* image, const at::Tensor& out) const {
  if (alone_) return (*alone_)(brain, time.const_data_ptr<float>(), image, data<float>(out));
  const std::int64_t tokens = config_.tokens, width = config_.width, n = config_.sequence();
  const auto product_type = at::TensorOptions().dtype(dtype_);
  at::Tensor x = at::empty({n, width}, at::kFloat), h = at::empty({n, width}, product_type);
  float* values = data<float>(x);
  std::copy_n(brain, tokens * width, values);
  std::copy_n(time.const_data_ptr<float>(), width, values + tokens * width);
  float* tail = values + (tokens + 1) * width;
  const float* query = query_.const_data_ptr<float>();
  for (std::int64_t i = 0; i < tokens * width; ++i) tail[i] = image[i] + query[i];

  at::Tensor pending;  // the last feed-forward's output, not yet added
  std::int64_t first = 0;  // rows before it are no longer needed
  // x[from..] += [norm of] y, h = norm(x)
  const auto residual = [&](std::int64_t from, const at::Tensor& y, const at::Tensor& out_g, const at::Tensor& g) {
    with_type(dtype_, [&]<class T>(T*) {
      over_rows(n - from, [&](std::int64_t begin, std::int64_t end) {
        residual_norm<T>(values + (from + begin) * width, y.defined() ? data<T>(y) + begin * width : nullptr,
                         out_g.defined() ? out_g.const_data_ptr<float>() : nullptr, static_cast<float>(config_.out_norm_eps), g.const_data_ptr<float>(),
                         1e-5f, data<T>(h) + (from + begin) * width, width, end - begin);
      });
    });
  };
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    const Layer& layer = layers_[l];
    residual(0, pending, {}, layer.norm_g);
    const at::Tensor qkv = layer.qkv(h);
    if (l + 1 == layers_.size()) first = tokens + 1;
    const at::Tensor attended = layer.out(attention(layer, qkv, first));
    residual(first, attended, layer.out_g, layer.feed_g);
    const at::Tensor up = layer.up(h.narrow(0, first, n - first));
    const at::Tensor gated = at::empty({n - first, config_.inner}, product_type);
    with_type(dtype_, [&]<class T>(T*) {
      over_rows(n - first, [&](std::int64_t begin, std::int64_t end) {
        gate<T>(data<T>(up) + begin * 2 * config_.inner, data<T>(gated) + begin * config_.inner, config_.inner, end - begin);
      });
    });
    pending = layer.down(gated);
  }
  with_type(dtype_, [&]<class T>(T*) {
    over_rows(tokens, [&](std::int64_t begin, std::int64_t end) {
      final_norm<T>(values + (first + begin) * width, data<T>(pending) + begin * width, final_g_.const_data_ptr<float>(), 1e-5f,
                    data<T>(h) + (first + begin) * width, width, end - begin);
    });
  });
  out.copy_(project_out_(h.narrow(0, first, tokens)));
}

at::Tensor PriorInference::operator()(const at::Tensor& images, std::int64_t time, const at::Tensor& brains, double guidance) {
  const c10::InferenceMode guard;
  const at::Tensor embedding = time_embedding(time);
  const at::Tensor null = guidance == 1 ? at::Tensor() : null_prediction(time);
  const at::Tensor image = images.to(at::kFloat).contiguous(), brain = brains.to(at::kFloat).contiguous();
  const at::Tensor out = at::empty(image.sizes(), image.options());
  const std::int64_t batch = image.size(0), size = config_.tokens * config_.width;
  const auto sample = [&](std::int64_t i) {
    const at::Tensor plain = out[i];
    one(brain.const_data_ptr<float>() + i * size, embedding, image.const_data_ptr<float>() + i * size, plain);
    if (null.defined()) plain.copy_(null + (plain - null) * guidance);
  };
  if (!small_) {
    for (std::int64_t i = 0; i < batch; ++i) sample(i);
  } else {
    // A small network leaves the threads to the samples. There are at least two parts, so that a sample is computed inside a
    // parallel region, on one thread, whatever the batch: the same kernels, the same bytes.
    weights::parallel_for(0, std::max<std::int64_t>(batch, 2), 1, [&](std::int64_t first, std::int64_t last) {
      const c10::InferenceMode worker;
      for (std::int64_t i = first; i < std::min(last, batch); ++i) sample(i);
    });
  }
  return out;
}

}  // namespace me2::models
