// brain_corr on the gnet case: its weights in the form of the published gnet_multisubject.pt, measured responses of our own.
#include "report/brain_evaluation.h"

#include <ATen/ATen.h>

#include <memory>

#include "base/error.h"
#include "base/json.h"
#include "store/zarr.h"
#include "support/golden.h"
#include "support/temp_dir.h"
#include "weights/formula.h"
#include "weights/torch_file.h"

namespace me2::report {
namespace {

void published_form(const test::Golden& golden, const std::string& path, int subject) {
  const auto file = weights::StateDict::open(golden.model());
  std::map<std::string, std::vector<std::int64_t>> shapes;
  for (const auto& [name, shape] : golden.config["encoder_state_dict_shapes"].items()) shapes[name] = shape.get<std::vector<std::int64_t>>();
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, entry] : weights::formula_entries(shapes, golden.config["formula_gain_ndim_ge_2"].get<float>())) tensors["enc." + name] = entry.load();
  tensors["enc.mu"] = file.get(file.has("enc.mu") ? "enc.mu" : "mu");
  for (const char* part : {"rf0", "rf1", "w", "b"}) tensors[fmt::format("fwrfs.{}.{}", subject, part)] = file.get(fmt::format("fwrf.{}", part));
  for (const char* part : {"rf0", "rf1", "w", "b"}) tensors[fmt::format("fwrfs.{}.{}", subject + 1, part)] = at::zeros({1});  // another subject's
  weights::save_torch_zip(path, tensors, {}, "best_params");
}

double pearson(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.to(at::kDouble) - a.to(at::kDouble).mean(), y = b.to(at::kDouble) - b.to(at::kDouble).mean();
  return ((x * y).sum() / (x.square().sum() * y.square().sum()).sqrt()).item<double>();
}

TEST(BrainCorrelation, OfTheGoldenReadoutInThePublishedForm) {
  const test::Golden golden("gnet");
  const test::TempDir dir;
  const std::string gnet = dir / "gnet_multisubject.pt", betas = dir / "subj03.zarr";
  published_form(golden, gnet, 3);
  const at::Tensor images = golden.in("image_uint8").to(at::kFloat).div(255), prediction = golden.out("prediction");
  const auto voxels = prediction.size(1);
  // Image 17: two trials a, b, which the reference fills up to a, a, b; image 4: one; a training trial that must not count.
  const at::Tensor noise = at::sin(at::arange(4 * voxels, at::kFloat) * 12.9898f).view({4, voxels});
  const at::Tensor rows = at::stack({noise[0], prediction[0] + noise[1], noise[2] * 100, prediction[1] * 2 + noise[3]}).to(at::kFloat).contiguous();
  {
    const Json attributes{{"kind", "subject"}, {"subject", "subj03"}};
    auto group = store::Group::create(betas, 3, &attributes);
    group.create_array("betas", {.shape = {4, voxels}, .dtype = store::DType::f4}).write(rows.const_data_ptr<float>());
    const std::vector<std::int32_t> stimulus{17, 17, 17, 4};
    const std::vector<std::int8_t> split{1, 1, 0, 1};
    group.create_array("stimulus", {.shape = {4}, .dtype = store::DType::i4}).write(stimulus.data());
    group.create_array("split", {.shape = {4}, .dtype = store::DType::i1}).write(split.data());
    const auto mask = std::make_unique<bool[]>(voxels);
    std::fill(mask.get(), mask.get() + voxels / 2, true);
    group.create_group("roi").create_array("V1", {.shape = {voxels}, .dtype = store::DType::b1}).write<bool>(mask.get());
  }
  BrainRun run;
  run.wants = [](const std::string& name) { return name == "brain_corr"; };
  run.embed = [&](const Network& net) { return net(images)[0]; };
  Scores scores;
  scores.ids = {"17", "4"};
  add_brain_scores(scores, {gnet, betas, "", 0}, run);
  const at::Tensor first = (rows[0] * 2 + rows[1]) / 3;
  ASSERT_EQ(scores.scores.size(), 2);
  const auto* all = scores.find("brain_corr_nsd_general");
  const auto* v1 = scores.find("brain_corr_V1");
  ASSERT_TRUE(all && v1);
  EXPECT_NEAR(all->per_image.at(0), pearson(prediction[0], first), 1e-3);
  EXPECT_NEAR(all->per_image.at(1), pearson(prediction[1], rows[3]), 1e-3);
  EXPECT_NEAR(v1->per_image.at(0), pearson(prediction[0].narrow(0, 0, voxels / 2), first.narrow(0, 0, voxels / 2)), 1e-3);
  EXPECT_NEAR(v1->per_image.at(1), pearson(prediction[1].narrow(0, 0, voxels / 2), rows[3].narrow(0, 0, voxels / 2)), 1e-3);
  EXPECT_EQ(v1->details.at("voxels"), static_cast<double>(voxels / 2));

  const auto message = [&](const std::vector<std::string>& ids, BrainOptions options, const std::vector<std::string>& asked = {}) {
    Scores other;
    other.ids = ids;
    run.asked = asked;
    try {
      add_brain_scores(other, options, run);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_NE(message({"5"}, {gnet, betas, "", 0}).find("no trial shows image 5"), std::string::npos);
  EXPECT_NE(message({"17", "4"}, {gnet, betas, "", 1}).find("no readout of subject 1; it has those of 3, 4"), std::string::npos);
  EXPECT_NE(message({"17", "4"}, {gnet, betas, "", 0}, {"brain_corr_V9"}).find("no region for brain_corr_V9"), std::string::npos);
}

TEST(BrainCorrelation, WithoutItsFilesIsListedAsNotRun) {
  Scores scores;
  scores.ids = {"1"};
  add_brain_scores(scores, {"gnet.pt", "", "", 0}, {});
  ASSERT_EQ(scores.not_run.size(), 1);
  EXPECT_EQ(scores.not_run[0].second, "needs --betas SUBJECT.zarr");
}

}  // namespace
}  // namespace me2::report
