#include "diffusion/unclip_noise.h"

#include <functional>

#include <ATen/ATen.h>

#include "base/error.h"
#include "base/random.h"

namespace me2::diffusion {
namespace {

at::Tensor rows_of(const store::Array& array, std::int64_t first, std::int64_t count) {
  at::Tensor out = at::empty([&] {
    auto shape = array.shape();
    shape[0] = count;
    return shape;
  }());
  array.read_rows(first, count, out.mutable_data_ptr<float>());
  return out;
}

void check_shape(const store::Array& array, const store::Shape& row) {
  const auto& shape = array.shape();
  if (shape.size() != row.size() + 1 || !std::equal(row.begin(), row.end(), shape.begin() + 1))
    throw data_error("{}: shape [{}] found, rows of [{}] expected", array.path(), fmt::join(shape, ", "), fmt::join(row, ", "));
}

}  // namespace

UnclipNoise UnclipNoise::generated(std::uint64_t seed, Sizes sizes) {
  UnclipNoise out;
  out.sizes_ = std::move(sizes);
  out.seed_ = seed;
  return out;
}

UnclipNoise UnclipNoise::stored(const std::string& path, Sizes sizes) {
  const auto group = store::Group::open(path);
  const auto z = group.array("z");
  if (z.shape().size() != 4 || z.shape()[1] != sizes.latent[0])
    throw data_error("{}: shape [{}] found, [rows, {}, height, width] expected", z.path(), fmt::join(z.shape(), ", "), sizes.latent[0]);
  const auto samples = static_cast<std::int64_t>(sizes.stimulus.size()), rows = z.shape()[0];
  if (sizes.draws == 0) sizes.draws = std::max<std::int64_t>(1, rows / std::max<std::int64_t>(1, samples));
  if (rows != samples * sizes.draws)
    throw data_error("{}: {} rows found, {} expected ({} samples, {} draws of each)", z.path(), rows, samples * sizes.draws, samples, sizes.draws);
  sizes.latent = {z.shape()[1], z.shape()[2], z.shape()[3]};
  const store::Shape map(sizes.latent.begin(), sizes.latent.end());
  const auto check_rows = [&](const store::Array& array) {
    if (array.shape()[0] != rows) throw data_error("{}: {} rows found, {} expected as in z", array.path(), array.shape()[0], rows);
  };
  check_shape(group.array("noise"), map);
  check_rows(group.array("noise"));
  check_shape(group.array("offset"), {});
  check_rows(group.array("offset"));
  if (group.has_array("uc_crossattn")) {
    const auto uc = group.array("uc_crossattn");
    check_shape(uc, {sizes.tokens, sizes.width});
    if (const auto n = uc.shape()[0]; n != 1 && n != samples && n != rows)
      throw data_error("{}: {} rows found, 1, {} or {} expected", uc.path(), n, samples, rows);
  }
  if (group.has_array("stimulus") && group.array("stimulus").shape()[0] == rows) {
    const auto found = group.array("stimulus").read<std::int32_t>();
    for (std::int64_t row = 0; row < rows; ++row)
      if (found[row] != sizes.stimulus[row / sizes.draws])
        throw data_error("{}: row {} is of stimulus {}, the tokens' is {}", path, row, found[row], sizes.stimulus[row / sizes.draws]);
  }
  UnclipNoise out;
  out.sizes_ = std::move(sizes);
  out.path_ = path;
  return out;
}

UnclipDraws UnclipNoise::read(std::int64_t first, std::int64_t count, bool with_uncond) const {
  UnclipDraws out;
  const auto samples = static_cast<std::int64_t>(sizes_.stimulus.size());
  if (!path_.empty()) {
    const auto group = store::Group::open(path_);
    out.z = rows_of(group.array("z"), first, count);
    out.noise = rows_of(group.array("noise"), first, count);
    out.offset = rows_of(group.array("offset"), first, count);
    if (!with_uncond) return out;
    const auto uc = group.array("uc_crossattn");
    if (uc.shape()[0] == 1) {
      out.uc_crossattn = rows_of(uc, 0, 1).expand({count, -1, -1});
    } else if (uc.shape()[0] == samples && sizes_.draws > 1) {
      std::vector<at::Tensor> pieces;
      for (std::int64_t row = first; row < first + count; ++row) pieces.push_back(rows_of(uc, row / sizes_.draws, 1));
      out.uc_crossattn = at::cat(pieces);
    } else {
      out.uc_crossattn = rows_of(uc, first, count);
    }
    return out;
  }
  const auto [channels, height, width] = sizes_.latent;
  out.z = at::empty({count, channels, height, width});
  out.noise = at::empty({count, channels, height, width});
  out.offset = at::empty({count});
  if (with_uncond) out.uc_crossattn = at::empty({count, sizes_.tokens, sizes_.width});
  const auto fill = [&](at::Tensor& into, std::int64_t i, const char* stage, std::int64_t stimulus, std::int64_t draw) {
    const auto each = static_cast<std::size_t>(into[i].numel());
    fill_normal({into.mutable_data_ptr<float>() + static_cast<std::size_t>(i) * each, each}, {seed_, stage, stimulus, static_cast<std::uint32_t>(draw)});
  };
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t stimulus = sizes_.stimulus[(first + i) / sizes_.draws], draw = (first + i) % sizes_.draws;
    fill(out.z, i, "unclip z", stimulus, draw);
    fill(out.noise, i, "unclip noise", stimulus, draw);
    fill(out.offset, i, "unclip offset", stimulus, draw);
    // Fidelity: one unconditional context serves all draws of a sample.
    if (with_uncond) fill(out.uc_crossattn, i, "unclip uc_crossattn", stimulus, 0);
  }
  return out;
}

at::Tensor UnclipNoise::step(std::int64_t first, std::int64_t count, std::int64_t step) const {
  const auto [channels, height, width] = sizes_.latent;
  at::Tensor out = at::empty({count, channels, height, width});
  if (!path_.empty()) {
    const auto group = store::Group::open(path_);
    if (!group.has_array("step_noise")) throw data_error("{}: the ancestral sampler draws at every step: array step_noise expected", path_);
    const auto array = group.array("step_noise");
    store::Box box{{first, step, 0, 0, 0}, {count, 1, channels, height, width}};
    if (array.shape().size() != 5 || array.shape()[1] <= step)
      throw data_error("{}: shape [{}] found, [rows, steps, {}, {}, {}] with more than {} steps expected", array.path(), fmt::join(array.shape(), ", "), channels, height, width, step);
    array.read_bytes(box, store::DType::f4, out.mutable_data_ptr<float>());
    return out;
  }
  const auto each = static_cast<std::size_t>(channels * height * width);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t stimulus = sizes_.stimulus[(first + i) / sizes_.draws], draw = (first + i) % sizes_.draws;
    fill_normal({out.mutable_data_ptr<float>() + static_cast<std::size_t>(i) * each, each},
                {seed_, "unclip step", stimulus, static_cast<std::uint32_t>(draw * 1000 + step)});
  }
  return out;
}

store::StageSpec UnclipNoise::spec(const Sizes& s) {
  store::StageSpec spec;
  spec.kind = "noise";
  for (std::int64_t row = 0; row < s.rows(); ++row) spec.stimulus.push_back(s.stimulus[row / s.draws]);
  const store::Shape map(s.latent.begin(), s.latent.end());
  spec.arrays = {{"z", map, store::DType::f4, {"channel", "y", "x"}, "1", "standard normal: the latent that noise is added to"},
                 {"noise", map, store::DType::f4, {"channel", "y", "x"}, "1", "standard normal: the noise"},
                 {"offset", {}, store::DType::f4, {}, "1", "standard normal: the offset noise of a picture"},
                 {"uc_crossattn", {s.tokens, s.width}, store::DType::f4, {"token", "feature"}, "1", "standard normal: the unconditional tokens"}};
  return spec;
}

void UnclipNoise::write(store::StageWriter& out, const store::RowRange& rows, const UnclipDraws& draws) {
  out.write("z", rows, draws.z.contiguous().const_data_ptr<float>());
  out.write("noise", rows, draws.noise.contiguous().const_data_ptr<float>());
  out.write("offset", rows, draws.offset.contiguous().const_data_ptr<float>());
  out.write("uc_crossattn", rows, draws.uc_crossattn.contiguous().const_data_ptr<float>());
}

}  // namespace me2::diffusion
