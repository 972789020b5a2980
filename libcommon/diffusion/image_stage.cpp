#include "diffusion/image_stage.h"

#include <map>

#include <ATen/ATen.h>

#include "base/error.h"
#include "diffusion/unclip.h"

namespace me2::diffusion {

store::StageSpec ImageStage::spec() const {
  store::StageSpec spec;
  spec.kind = "image";
  spec.stimulus = stimulus;
  spec.arrays.push_back({"image", {3, height, width}, store::DType::u1, {"channel", "y", "x"}, "1", "decoded picture, RGB"});
  if (with_float) spec.arrays.push_back({"image_f4", {3, height, width}, store::DType::f4, {"channel", "y", "x"}, "1", "decoded picture in [0, 1]"});
  if (!draw.empty()) spec.arrays.push_back({"draw", {}, store::DType::i4, {}, "1", "which of the sample's draws the picture is"});
  return spec;
}

std::int64_t image_unit_rows(std::int64_t rows) { return std::max<std::int64_t>(8, (rows + 149) / 150); }

void write_pictures(store::StageWriter& out, const ImageStage& stage, const store::RowRange& rows, const at::Tensor& pictures) {
  const at::Tensor values = pictures.to(at::kCPU, at::kFloat).contiguous();
  for (std::int64_t i = 0; i < rows.count; ++i)
    if (!at::isfinite(values[i]).all().item<bool>())
      throw data_error("sample {} (stimulus {}): the decoded picture has values that are not finite", rows.first + i, stage.stimulus[rows.first + i]);
  out.write("image", rows, to_bytes(values).const_data_ptr<std::uint8_t>());
  if (stage.with_float) out.write("image_f4", rows, values.const_data_ptr<float>());
  if (!stage.draw.empty()) out.write("draw", rows, stage.draw.data() + rows.first);
}

at::Tensor read_finite(const store::StageReader& in, const std::string& name, std::int64_t first, std::int64_t count) {
  const auto array = in.array(name);
  auto shape = array.shape();
  shape[0] = count;
  at::Tensor out = at::empty(shape);
  array.read_rows(first, count, out.mutable_data_ptr<float>());
  for (std::int64_t i = 0; i < count; ++i)
    if (!at::isfinite(out[i]).all().item<bool>())
      throw data_error("{}: sample {} (stimulus {}) has values that are not finite", array.path(), first + i, in.stimulus()[first + i]);
  return out;
}

at::Tensor read_pictures(const store::StageReader& in, std::int64_t first, std::int64_t count) {
  const bool exact = in.has("image_f4");
  const auto array = in.array(exact ? "image_f4" : "image");
  auto shape = array.shape();
  if (shape.size() != 4 || shape[1] != 3) throw data_error("{}: shape [{}] found, [sample, 3, height, width] expected", array.path(), fmt::join(shape, ", "));
  shape[0] = count;
  at::Tensor out = at::empty(shape);
  array.read_rows(first, count, out.mutable_data_ptr<float>());
  return exact || array.dtype() != store::DType::u1 ? out : out.div_(255);
}

std::vector<std::int64_t> rows_by_stimulus(const store::StageReader& in, const std::vector<std::int32_t>& stimulus) {
  std::map<std::int32_t, std::int64_t> where;
  for (std::size_t row = in.stimulus().size(); row-- > 0;) where[in.stimulus()[row]] = static_cast<std::int64_t>(row);
  std::vector<std::int64_t> out;
  for (const auto s : stimulus) {
    const auto found = where.find(s);
    if (found == where.end()) throw data_error("{}: stimulus {} is missing", in.path(), s);
    out.push_back(found->second);
  }
  return out;
}

}  // namespace me2::diffusion
