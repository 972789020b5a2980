#include "diffusion/denoiser.h"

#include <ATen/ATen.h>

#include "base/error.h"
#include "nn/step_runner.h"

namespace me2::diffusion {
namespace {

at::Tensor over_pixels(const at::Tensor& per_sample) { return per_sample.view({-1, 1, 1, 1}); }

}  // namespace

Scaling parse_scaling(const std::string& target) {
  if (target == "eps" || target.ends_with("EpsScaling")) return Scaling::eps;
  if (target == "v" || target.ends_with("VScaling")) return Scaling::v;
  throw data_error("config.json: denoiser scaling EpsScaling or VScaling expected, \"{}\" found", target);
}

Preconditioning precondition(Scaling scaling, const at::Tensor& sigma) {
  const at::Tensor square = sigma.square() + 1;
  const at::Tensor c_in = 1 / square.sqrt();
  if (scaling == Scaling::eps) return {at::ones_like(sigma), -sigma, c_in};
  return {1 / square, -sigma * c_in, c_in};
}

at::Tensor Denoiser::level(const at::Tensor& index) const {
  const auto& table = schedule_.table();
  const at::Tensor values = at::from_blob(const_cast<float*>(table.data()), {static_cast<std::int64_t>(table.size())}, at::kFloat);
  return values.index_select(0, index.to(at::kCPU)).to(index.device());
}

at::Tensor Denoiser::raw(const at::Tensor& x, const at::Tensor& index, const Condition& condition) const {
  return network_(x * over_pixels(precondition(scaling_, level(index)).c_in), index, condition.context, condition.vector);
}

at::Tensor Denoiser::operator()(const at::Tensor& x, const at::Tensor& sigma, const Condition& condition) const {
  const at::Tensor index = schedule_.nearest(sigma);
  const auto c = precondition(scaling_, level(index));
  const at::Tensor out = raw(x, index, condition) * over_pixels(c.c_out);
  return scaling_ == Scaling::eps ? out + x : out + x * over_pixels(c.c_skip);
}

at::Tensor Denoiser::operator()(const at::Tensor& x, float sigma, const Condition& condition) const {
  const at::Tensor index = schedule_.nearest(at::full({1}, sigma, at::kFloat));
  const auto c = precondition(scaling_, level(index));
  const at::Tensor timesteps = at::full({x.size(0)}, index.item<std::int64_t>(), x.options().dtype(at::kLong));
  const at::Tensor out = network_(x * c.c_in.item<float>(), timesteps, condition.context, condition.vector) * c.c_out.item<float>();
  return scaling_ == Scaling::eps ? out + x : out + x * c.c_skip.item<float>();
}

Network replayed(Network network) {
  auto runner = std::make_shared<nn::StepRunner>([network](const std::vector<at::Tensor>& in) {  // x, timesteps, vector, keys and values
    models::UnetContext context;
    for (std::size_t i = 3; i + 1 < in.size(); i += 2) context.keys_values.emplace_back(in[i], in[i + 1]);
    return network(in[0], in[1], context, in[2]);
  });
  return [runner](const at::Tensor& x, const at::Tensor& timesteps, const models::UnetContext& context, const at::Tensor& vector) {
    std::vector<at::Tensor> in{x, timesteps, vector};
    for (const auto& [key, value] : context.keys_values) in.insert(in.end(), {key, value});
    return (*runner)(in);
  };
}

at::Tensor Denoiser::target(const at::Tensor& z, const at::Tensor& noise, const at::Tensor& sigma) const {
  if (scaling_ == Scaling::eps) return noise;
  const at::Tensor s = over_pixels(sigma);
  return (noise - s * z) / (s.square() + 1).sqrt();
}

Denoise guided(const Denoiser& denoiser, Condition both, double scale) {
  return [&denoiser, both = std::move(both), scale](const at::Tensor& x, float sigma) {
    const at::Tensor out = denoiser(at::cat({x, x}), sigma, both);
    const auto halves = out.chunk(2);
    return halves[0] + scale * (halves[1] - halves[0]);
  };
}

Denoise unguided(const Denoiser& denoiser, Condition condition) {
  return [&denoiser, condition = std::move(condition)](const at::Tensor& x, float sigma) {
    return denoiser(x, sigma, condition);
  };
}

}  // namespace me2::diffusion
