#include "models/prior_small.h"

#include <limits>
#include <utility>

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include "base/error.h"
#include "models/prior_rows.h"

namespace me2::models {
namespace {

constexpr int kWide = 6;  // lanes of outputs in flight; with kTall rows 24 accumulators, which fit 32 vector registers
constexpr int kTall = 4, kTallOfFew = 8;

std::int64_t whole_lanes(std::int64_t count) { return (count + kLanes - 1) / kLanes * kLanes; }

struct Product {  // c [rows, columns] = a [rows, inner] b [inner, columns in whole lanes]; strides in floats
  const float* a;
  std::int64_t a_stride, rows, inner;
  const float* b;
  std::int64_t b_stride;
  float* c;
  std::int64_t c_stride, columns;
};

// R rows and V lanes of columns from `row` and `column` on. Each element is summed in the order of `inner`.
template <int R, int V>
ME2_INLINE void tile(const Product& p, std::int64_t row, std::int64_t column) {
  Lanes sum[R][V] = {};
  const float *a = p.a + row * p.a_stride, *b = p.b + column;
  for (std::int64_t k = 0; k < p.inner; ++k, b += p.b_stride) {
    Lanes right[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) nn::load(right[v], b + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) sum[r][v] += right[v] * a[r * p.a_stride + k];
  }
  const std::int64_t last = std::min<std::int64_t>(kLanes, p.columns - column - (V - 1) * kLanes);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    float* c = p.c + (row + r) * p.c_stride + column;
#pragma GCC unroll 8
    for (int v = 0; v + 1 < V; ++v) nn::store(c + v * kLanes, sum[r][v]);
    if (last == kLanes) nn::store(c + (V - 1) * kLanes, sum[r][V - 1]);
    else std::memcpy(c + (V - 1) * kLanes, &sum[r][V - 1], static_cast<std::size_t>(last) * sizeof(float));
  }
}

template <int V>
ME2_INLINE void tile_columns(const Product& p, std::int64_t column) {
  constexpr int kMost = V <= 3 ? kTallOfFew : kTall;
  std::int64_t r = 0;
  for (; r + kMost <= p.rows; r += kMost) tile<kMost, V>(p, r, column);
  for (; r + 2 <= p.rows; r += 2) tile<2, V>(p, r, column);
  for (; r < p.rows; ++r) tile<1, V>(p, r, column);
}

ME2_INLINE void product_body(const Product& p) {
  std::int64_t column = 0;
  for (; column + kWide * kLanes <= p.columns; column += kWide * kLanes) tile_columns<kWide>(p, column);
  switch ((p.columns - column + kLanes - 1) / kLanes) {
    case 6: return tile_columns<6>(p, column);
    case 5: return tile_columns<5>(p, column);
    case 4: return tile_columns<4>(p, column);
    case 3: return tile_columns<3>(p, column);
    case 2: return tile_columns<2>(p, column);
    case 1: return tile_columns<1>(p, column);
  }
}

// Rows of [rows, keys] to e^(scale x + bias), divided by their sum.
ME2_INLINE void softmax_body(float* x, const float* bias, std::int64_t rows, std::int64_t keys) {
  for (std::int64_t r = 0; r < rows; ++r, x += keys, bias += keys) {
    Lanes largest = Lanes{} - std::numeric_limits<float>::infinity();
    for (std::int64_t i = 0; i < keys; i += kLanes) {
      Lanes v, b;
      nn::load(v, x + i);
      nn::load(b, bias + i);
      v = v * static_cast<float>(kCosineScale) + b;
      nn::store(x + i, v);
      largest = v > largest ? v : largest;
    }
    float lanes[kLanes], top = -std::numeric_limits<float>::infinity();
    nn::store(lanes, largest);
    for (const float lane : lanes) top = std::max(top, lane);
    Lanes sum = {};
    for (std::int64_t i = 0; i < keys; i += kLanes) {
      Lanes v;
      nn::load(v, x + i);
      v -= top;
      nn::exp_in_place(v);
      sum += v;
      nn::store(x + i, v);
    }
    const float scale = 1.f / nn::add_up(sum);
    for (std::int64_t i = 0; i < keys; i += kLanes) {
      Lanes v;
      nn::load(v, x + i);
      nn::store(x + i, v * scale);
    }
  }
}

#define ME2_KERNEL(name, body, parameters, arguments)             \
  ME2_TARGET_AVX512 void name##_avx512 parameters { body arguments; } \
  ME2_TARGET_AVX2 void name##_avx2 parameters { body arguments; }     \
  void name parameters {                                          \
    if (nn::lanes_level() == 2) return name##_avx512 arguments;   \
    if (nn::lanes_level() == 1) return name##_avx2 arguments;     \
    body arguments;                                               \
  }
ME2_KERNEL(product, product_body, (const Product& p), (p))
ME2_KERNEL(softmax, softmax_body, (float* x, const float* bias, std::int64_t rows, std::int64_t keys), (x, bias, rows, keys))
ME2_KERNEL(residual_norm, residual_norm_rows,
           (float* x, const float* y, const float* out_g, float out_eps, const float* g, float eps, float* h, std::int64_t width, std::int64_t rows),
           (x, y, out_g, out_eps, g, eps, h, width, rows))
ME2_KERNEL(final_norm, final_norm_rows, (float* x, const float* y, const float* g, float eps, float* h, std::int64_t width, std::int64_t rows),
           (x, y, g, eps, h, width, rows))
ME2_KERNEL(gate, gate_rows, (const float* u, float* out, std::int64_t inner, std::int64_t rows), (u, out, inner, rows))
ME2_KERNEL(rotate, rotate_rows,
           (const float* in, std::int64_t row_width, float* out, std::int64_t heads, std::int64_t stride, std::int64_t d, const float* cos, const float* sin,
            std::int64_t pairs, std::int64_t rows),
           (in, row_width, out, heads, stride, d, cos, sin, pairs, rows))

const float* data(const at::Tensor& t) { return t.const_data_ptr<float>(); }
at::Tensor widened(const at::Tensor& t) { return t.detach().to(at::kFloat).contiguous(); }

// Where the parts of a call's array begin; each in whole lanes.
struct Layout {
  std::int64_t x, h, qkv, q, k, keys, values, scores, attended, up, gated, y, end;
  Layout(const PriorNetworkConfig& c, std::int64_t wide_keys) {
    const std::int64_t n = c.sequence(), d = c.dim_head, inner = c.heads * d;
    std::int64_t at = 0;
    const auto part = [&](std::int64_t count) { return std::exchange(at, at + whole_lanes(count)); };
    x = part(n * c.width);
    h = part(n * c.width);
    qkv = part(n * (inner + 2 * d));
    q = part(inner * n);
    k = part(n * d);
    keys = part(d * wide_keys);
    values = part((n + 1) * whole_lanes(d));
    scores = part(c.heads * n * wide_keys);
    attended = part(n * inner);
    up = part(n * 2 * c.inner);
    gated = part(n * c.inner);
    y = part(n * c.width);
    end = at;
  }
};

}  // namespace

SmallPrior::Matrix::Matrix(const at::Tensor& weight) : in(weight.size(1)), out(weight.size(0)), wide(whole_lanes(out)) {
  values = at::zeros({in, wide}, at::kFloat);
  values.narrow(1, 0, out).copy_(weight.detach().t());
}

SmallPrior::SmallPrior(const PriorNetwork& net)
    : config_(net.config), keys_(whole_lanes(config_.sequence() + 1)), query_(widened(net.learned_query)), final_g_(widened(net.norm.g)),
      project_out_(net.project_out.weight) {
  const c10::InferenceMode guard;
  bias_ = at::full({config_.heads, config_.sequence(), keys_}, -std::numeric_limits<float>::infinity(), at::kFloat);
  bias_.narrow(2, 0, config_.sequence() + 1).copy_(net.relative_bias());
  for (const auto& layer : net.layers) {
    const auto& a = layer.attention;
    const at::Tensor null_key = widened(a.null_kv[0]);
    layers_.push_back({widened(a.norm.g), widened(a.out_norm.g), widened(layer.feed_forward.norm.g), Matrix(at::cat({a.to_q.weight, a.to_kv.weight})),
                       Matrix(a.to_out.weight), Matrix(layer.feed_forward.up.weight), Matrix(layer.feed_forward.down.weight),
                       null_key / null_key.norm().clamp_min(1e-12), widened(a.null_kv[1]), a.rotary(config_.sequence())});
  }
}

void SmallPrior::operator()(const float* brain, const float* time, const float* image, float* out) const {
  const std::int64_t tokens = config_.tokens, width = config_.width, n = config_.sequence(), heads = config_.heads, d = config_.dim_head;
  const std::int64_t inner = heads * d, row = inner + 2 * d, wide_d = whole_lanes(d);
  const Layout at(config_, keys_);
  static thread_local std::vector<float> kept;
  kept.resize(std::max(kept.size(), static_cast<std::size_t>(at.end)));
  float* const scratch = kept.data();
  float *x = scratch + at.x, *h = scratch + at.h, *qkv = scratch + at.qkv, *q = scratch + at.q, *k = scratch + at.k, *keys = scratch + at.keys,
        *values = scratch + at.values, *scores = scratch + at.scores, *attended = scratch + at.attended, *up = scratch + at.up,
        *gated = scratch + at.gated, *y = scratch + at.y;
  std::copy_n(brain, tokens * width, x);
  std::copy_n(time, width, x + tokens * width);
  const float* query = data(query_);
  for (std::int64_t i = 0; i < tokens * width; ++i) x[(tokens + 1) * width + i] = image[i] + query[i];

  const auto times = [](const float* a, std::int64_t rows, const Matrix& m, float* c) {
    product({a, m.in, rows, m.in, data(m.values), m.wide, c, m.out, m.out});
  };
  const auto eps = static_cast<float>(config_.out_norm_eps);
  std::int64_t first = 0;  // rows before it are no longer needed
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    const Layer& layer = layers_[l];
    residual_norm(x, l ? y : nullptr, nullptr, 0, data(layer.norm_g), 1e-5f, h, width, n);
    times(h, n, layer.qkv, qkv);
    if (l + 1 == layers_.size()) first = tokens + 1;
    const std::int64_t rows = n - first, pairs = layer.rotary.cos.size(1);
    const float *cos = data(layer.rotary.cos), *sin = data(layer.rotary.sin);

    // Keys [d, keys_] and values [N + 1, d in whole lanes], one head of each for all query heads; first the learned ones.
    rotate(qkv + inner, row, k, 1, 0, d, cos, sin, pairs, n);
    std::fill_n(keys, d * keys_, 0.f);
    std::fill_n(values, (n + 1) * wide_d, 0.f);
    std::copy_n(data(layer.null_value), d, values);
    for (std::int64_t i = 0; i < d; ++i) keys[i * keys_] = data(layer.null_key)[i];
    for (std::int64_t r = 0; r < n; ++r) {
      std::copy_n(qkv + r * row + inner + d, d, values + (r + 1) * wide_d);
      for (std::int64_t i = 0; i < d; ++i) keys[i * keys_ + r + 1] = k[r * d + i];
    }
    rotate(qkv + first * row, row, q, heads, rows * d, d, cos + first * pairs, sin + first * pairs, pairs, rows);
    product({q, d, heads * rows, d, keys, keys_, scores, keys_, keys_});
    for (std::int64_t head = 0; head < heads; ++head) {
      float* part = scores + head * rows * keys_;
      softmax(part, data(bias_) + (head * n + first) * keys_, rows, keys_);
      product({part, keys_, rows, n + 1, values, wide_d, attended + head * d, inner, d});
    }

    times(attended, rows, layer.out, y);
    residual_norm(x + first * width, y, data(layer.out_g), eps, data(layer.feed_g), 1e-5f, h + first * width, width, rows);
    times(h + first * width, rows, layer.up, up);
    gate(up, gated, config_.inner, rows);
    times(gated, rows, layer.down, y);
  }
  final_norm(x + first * width, y, data(final_g_), 1e-5f, h + first * width, width, tokens);
  times(h + first * width, tokens, project_out_, out);
}

}  // namespace me2::models
