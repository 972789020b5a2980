// The gnet case: MindEye2's GEncoder and Torch_LayerwiseFWRF; the encoder's weights by formula, mu and the readout from the file.
#include "models/gnet.h"
#include "support/golden.h"
#include "weights/formula.h"

namespace me2::models {
namespace {

TEST(GNet, Golden) {
  const test::Golden golden("gnet");
  const auto file = weights::StateDict::open(golden.model());
  const double tolerance = golden.config["tolerance"].get<double>();
  std::map<std::string, std::vector<std::int64_t>> shapes;
  for (const auto& [name, shape] : golden.config["encoder_state_dict_shapes"].items()) shapes[name] = shape.get<std::vector<std::int64_t>>();
  auto entries = weights::formula_entries(shapes, golden.config["formula_gain_ndim_ge_2"].get<float>());
  const std::string mu = file.has("enc.mu") ? "enc.mu" : "mu";
  entries["mu"] = {file.shape(mu), at::kFloat, [file, mu] { return file.get(mu); }};
  nn::Loader loader({"formula", entries, nullptr}), readout_loader(file.sub("fwrf."));
  const GNetEncoder encoder{nn::Scope(loader)};
  EXPECT_NO_THROW(loader.finish());
  const GNetReadout readout{nn::Scope(readout_loader)};
  const auto maps = encoder(golden.in("image_uint8").to(at::kFloat).div(255));
  const auto sample = [](const at::Tensor& x) { return x.slice(1, 0, c10::nullopt, 8).slice(2, 0, c10::nullopt, 4).slice(3, 0, c10::nullopt, 4); };
  golden.expect("prefilter_sample", sample(maps.prefilter), tolerance);
  golden.expect("fmap0_sample", sample(maps.fmap0), tolerance);
  golden.expect("fmap1_sample", sample(maps.fmap1), tolerance);
  golden.expect("fmap0_mean", maps.fmap0.mean({2, 3}), tolerance);
  golden.expect("fmap1_mean", maps.fmap1.mean({2, 3}), tolerance);
  golden.expect("prediction", readout(maps), tolerance);
  golden.expect("prediction_masked", readout(maps, golden.in("voxel_mask")), tolerance);
}

}  // namespace
}  // namespace me2::models
