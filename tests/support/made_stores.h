// Small made-up stores for training: images with random tokens that a few hidden numbers explain, and subjects whose voxels see those numbers
// linearly, with noise. A right training finds them; a broken one stays at chance.
#pragma once
#include <filesystem>
#include <string>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "base/json.h"
#include "store/zarr.h"

namespace me2::test {

struct MadeWorld {
  std::int64_t images = 120, tokens = 4, width = 12, hidden = 10, test = 20;
  double noise = 0.3;
  std::uint64_t seed = 7;
};

inline at::Generator made_generator(std::uint64_t seed) { return at::make_generator<at::CPUGeneratorImpl>(seed); }

template <class T>
void put(store::Group& group, const std::string& name, const at::Tensor& tensor, std::vector<std::string> axes) {
  auto array = group.create_array(name, {.shape = tensor.sizes().vec(), .dtype = store::dtype_of<T>(), .dimension_names = std::move(axes), .units = "1", .long_name = name});
  array.template write<T>(tensor.contiguous().const_data_ptr<T>());
}

inline at::Tensor made_causes(const MadeWorld& w) { return at::randn({w.images, w.hidden}, made_generator(w.seed)); }  // [image, hidden]

// clip_tokens [image, T, D]; vae_latent [image, 4, 8, 8] and cnx_feature [image, 4, 16] when `lowlevel`.
inline std::string made_targets(const std::string& path, const MadeWorld& w, bool lowlevel = false) {
  auto group = store::Group::create(path);
  const at::Tensor z = made_causes(w);
  const auto linear = [&](std::int64_t n, std::uint64_t seed) { return z.mm(at::randn({w.hidden, n}, made_generator(seed))) / std::sqrt(double(w.hidden)); };
  put<std::int32_t>(group, "stimulus", at::arange(w.images, at::kInt), {"sample"});
  put<float>(group, "clip_tokens", linear(w.tokens * w.width, w.seed + 1).view({w.images, w.tokens, w.width}), {"sample", "token", "feature"});
  if (lowlevel) {
    put<float>(group, "vae_latent", linear(4 * 64, w.seed + 2).view({w.images, 4, 8, 8}), {"sample", "channel", "y", "x"});
    put<float>(group, "cnx_feature", linear(4 * 16, w.seed + 3).view({w.images, 4, 16}), {"sample", "patch", "feature"});
  }
  return path;
}

// The first `test` images are shown three times as test trials, the others once each, in sessions of 50 training trials. With `splits` also
// both of the official ones: split_new_test is that, split_test leaves out the first half of those images only and trains on the rest.
inline std::string made_subject(const std::string& path, const MadeWorld& w, const std::string& name, std::int64_t voxels, std::uint64_t seed,
                                bool splits = false) {
  Json attributes{{"subject", name}};
  auto group = store::Group::create(path, 3, &attributes);
  const at::Tensor stimulus = at::cat({at::arange(w.test).repeat({3}), at::arange(w.test, w.images)}).to(at::kInt);
  const auto trials = stimulus.size(0);
  const at::Tensor clean = made_causes(w).mm(at::randn({w.hidden, voxels}, made_generator(seed))) / std::sqrt(double(w.hidden));
  const at::Tensor betas = clean.index_select(0, stimulus.to(at::kLong)) + w.noise * at::randn({trials, voxels}, made_generator(seed + 100));
  at::Tensor split = at::zeros({trials}, at::kChar), session = at::ones({trials}, at::kShort);
  split.narrow(0, 0, 3 * w.test).fill_(1);
  for (std::int64_t i = 3 * w.test; i < trials; ++i) session[i] = 1 + (i - 3 * w.test) / 50;
  put<float>(group, "betas", betas, {"trial", "voxel"});
  put<std::int32_t>(group, "stimulus", stimulus, {"trial"});
  put<std::int16_t>(group, "session", session, {"trial"});
  put<std::int8_t>(group, "split", split, {"trial"});
  if (splits) {
    put<std::int8_t>(group, "split_new_test", split, {"trial"});
    put<std::int8_t>(group, "split_test", stimulus.lt(w.test / 2).to(at::kChar), {"trial"});
  }
  return path;
}

}  // namespace me2::test
