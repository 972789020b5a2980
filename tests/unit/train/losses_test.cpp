#include "train/losses.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "support/golden.h"

namespace me2::train {
namespace {

// Every number below is from the reference's utils.py, recorded in the golden case "losses" (see its config.json).
struct Losses : testing::Test {
  std::unique_ptr<test::Golden> g;
  void SetUp() override {
    ME2_NEEDS_GOLDEN("losses");
    g = std::make_unique<test::Golden>("losses");
  }
  // The value and the derivative with respect to each argument. Cold temperatures: gradients relative to their largest (config.json).
  template <class F>
  void check(const std::string& name, std::vector<at::Tensor> arguments, F&& loss) {
    for (auto& a : arguments) a.set_requires_grad(true);
    const at::Tensor value = loss(arguments);
    g->expect(name, value, 2e-5);
    value.backward();
    for (std::size_t i = 0; i < arguments.size(); ++i) {
      const auto key = fmt::format("{}.grad{}", name, i);
      if (!g->io.has("out." + key)) continue;
      const bool cold = name.find("temp0.00") != std::string::npos;
      g->expect(key, arguments[i].grad(), cold ? 2e-5 * g->out(key).abs().max().item<double>() : 2e-5);
    }
  }
  at::Tensor in(const std::string& name) const { return g->in(name); }
};

double temperature(const std::string& name) { return std::stod(name.substr(name.find("temp") + 4)); }

TEST_F(Losses, ContrastiveValuesAndGradients) {
  int seen = 0;
  for (const auto& key : g->io.names()) {
    if (!key.starts_with("out.") || key.find(".grad") != std::string::npos) continue;
    const std::string name = key.substr(4);
    const Mix mix{in("perm"), in("betas"), in("select").to(at::kBool)};
    const auto mixed = [&](const char* perm) {
      Mix m{in(perm), in("betas"), in("select").to(at::kBool)};
      m.betas = at::where(m.select, m.betas, at::ones_like(m.betas));
      return m;
    };
    const bool one_way = name.find("unidirectional") != std::string::npos;
    ++seen;
    if (name.starts_with("soft_clip_loss_temp")) {
      check(name, {in("preds"), in("targs")}, [&](auto& a) { return soft_clip(a[0], a[1], temperature(name)); });
    } else if (name.starts_with("soft_cont_loss_temp")) {
      check(name, {in("student"), in("teacher"), in("teacher_aug")}, [&](auto& a) { return soft_cont(a[0], a[1], a[2], temperature(name)); });
    } else if (name.starts_with("mixco_nce_no_mix")) {
      check(name, {in("preds"), in("targs")}, [&](auto& a) { return mixco_nce(a[0], a[1], temperature(name), {}, !one_way); });
    } else if (name.starts_with("mixco_nce_two_subjects")) {
      check(name, {in("preds"), in("targs")}, [&](auto& a) { return mixco_nce(a[0], a[1], temperature(name), mixed("perm_two_subjects")); });
    } else if (name.starts_with("mixco_nce")) {
      check(name, {in("preds"), in("targs")}, [&](auto& a) { return mixco_nce(a[0], a[1], temperature(name), mixed("perm"), !one_way); });
    } else if (name == "soft_siglip_loss") {
      check(name, {in("preds"), in("targs"), at::full({}, std::log(10.)), at::full({}, -5.)},
            [&](auto& a) { return soft_siglip(a[0], a[1], a[2], a[3]); });
    } else if (name == "mixco_hard_siglip_loss") {
      check(name, {in("preds"), in("targs"), at::full({}, std::log(10.)), at::full({}, -5.)},
            [&](auto& a) { return mixco_hard_siglip(a[0], a[1], a[2], a[3], mixed("perm")); });
    } else {
      --seen;
    }
  }
  EXPECT_GE(seen, 12);
}

TEST_F(Losses, MixcoOfVoxelsBetasAndTargets) {
  Mix mix{in("perm"), in("betas"), in("select")};
  g->expect("mixco_voxels", mixco(in("voxels"), mix), 2e-5);
  g->expect("mixco_betas", mix.betas, 0);
  g->expect("mixco_clip_target", mixco_clip_target(in("targs"), mix), 2e-5);
}

TEST_F(Losses, MeansOverEveryElementOfTheDistanceToThreeTenths) {
  // The case does not store the targets of these two. They are .3 everywhere: voxels - grad * elements / 2 gives it back in every element.
  const at::Tensor voxels = in("voxels").flatten(1);
  const auto elements = static_cast<double>(voxels.numel());
  const at::Tensor target = at::full_like(voxels, .3);
  g->expect("mse.grad0", (voxels - target) * (2 / elements), 1e-6);
  check("mse", {voxels.clone()}, [&](auto& a) { return at::mse_loss(a[0], target); });
  check("l1", {voxels.clone()}, [&](auto& a) { return at::l1_loss(a[0], target); });
}

TEST_F(Losses, SimilaritiesTopKAndAnnealing) {
  const at::Tensor preds = in("preds"), targs = in("targs");
  g->expect("batchwise_cosine_similarity", batchwise_cosine_similarity(preds, targs), 2e-5);
  g->expect("batchwise_pearson", batchwise_pearson_correlation(preds, targs), 2e-5);
  g->expect("cosine_similarity_l0.5", centred_cosine_similarity(preds, targs, 0.5), 2e-5);
  const at::Tensor labels = at::arange(preds.size(0));
  const at::Tensor similarity = batchwise_cosine_similarity(preds, targs);
  EXPECT_NEAR(topk(similarity, labels, 1), g->out("topk1").item<double>(), 1e-6);
  EXPECT_NEAR(topk(similarity, labels, 3), g->out("topk3").item<double>(), 1e-6);
  for (const int n : {101, 7}) {
    const auto values = cosine_anneal(0.004, 0.0075, n);
    g->expect(fmt::format("cosine_anneal_{}", n), at::tensor(values, at::kDouble), 1e-8);
  }
}

TEST(Mixco, CorrectedJoinPointsIntoItsOwnSubject) {
  const Mix part{at::tensor({1, 0}, at::kLong), at::ones({2}), at::zeros({2}, at::kBool)};
  EXPECT_TRUE(join({part, part}).perm.equal(at::tensor({1, 0, 1, 0}, at::kLong)));
  EXPECT_TRUE(join({part, part}, true).perm.equal(at::tensor({1, 0, 3, 2}, at::kLong)));
}

TEST(Mixco, CorrectedWeightsOfEveryRowSumToOne) {  // identity: constant logits make the loss log(B) exactly then
  const Mix mix{at::tensor({0, 2, 1}, at::kLong), at::tensor({0.3f, 1.f, 0.6f}), at::tensor({1, 0, 1}, at::kLong).to(at::kBool)};
  const at::Tensor same = at::ones({3, 2});
  EXPECT_NEAR(mixco_nce(same, same, 1, mix, true, true).item<double>(), std::log(3.0), 1e-6);
  EXPECT_LT(mixco_nce(same, same, 1, mix, true, false).item<double>(), std::log(3.0) - 0.05);  // the reference loses weight where perm[i] == i
}

TEST(Mixco, DrawsFollowTheSeedAndTheBetaDistribution) {
  const auto draw = [](std::uint64_t seed) { return draw_mix(4000, at::make_generator<at::CPUGeneratorImpl>(seed)); };
  const Mix a = draw(1), b = draw(1), c = draw(2);
  EXPECT_TRUE(a.perm.equal(b.perm) && a.betas.equal(b.betas) && a.select.equal(b.select));
  EXPECT_FALSE(a.betas.equal(c.betas));
  EXPECT_NEAR(a.betas.mean().item<double>(), 0.5, 0.03);
  EXPECT_NEAR(a.betas.var().item<double>(), 0.25 / 1.3, 0.01);  // a b/((a+b)^2 (a+b+1)), a = b = 0.15
  EXPECT_NEAR(a.select.to(at::kDouble).mean().item<double>(), 0.5, 0.03);
}

}  // namespace
}  // namespace me2::train
