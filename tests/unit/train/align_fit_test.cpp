#include "train/align_fit.h"

#include "base/error.h"
#include "base/file.h"
#include "base/temp.h"
#include "models/ridge.h"
#include "nn/device.h"
#include "store/stage.h"
#include "support/golden.h"
#include "support/made_stores.h"
#include "train/losses.h"
#include "train/training_data.h"

namespace me2::train {
namespace {

struct Fit : testing::Test {
  TemporaryFolder folder;
  test::MadeWorld world;
  std::string at(const std::string& name) const { return folder.path() + "/" + name; }
  void SetUp() override {
    nn::set_threads(1);
    test::made_targets(at("targets.zarr"), world);
    test::made_subject(at("new.zarr"), world, "new", 40, 5);
    // "Latents" of two others: a linear function of the causes, for images 0..79 and 40..99; the second seen twice with opposite noise.
    const at::Tensor z = test::made_causes(world), map = at::randn({world.hidden, 6}, test::made_generator(77));
    latents = z.mm(map);
    write("one.zarr", at::arange(0, 80), latents.narrow(0, 0, 80));
    const at::Tensor noise = at::randn({60, 6}, test::made_generator(78));
    write("two.zarr", at::arange(40, 100).repeat({2}), at::cat({latents.narrow(0, 40, 60) + noise, latents.narrow(0, 40, 60) - noise}));
  }
  void write(const std::string& name, const at::Tensor& stimulus, const at::Tensor& values) {
    auto group = store::Group::create(at(name));
    test::put<std::int32_t>(group, "stimulus", stimulus.to(at::kInt), {"sample"});
    test::put<float>(group, "latent", values.contiguous(), {"sample", "hidden"});
  }
  at::Tensor latents;
};

TEST_F(Fit, FindsTheSharedLatentsOfUnseenTestImages) {
  FitOptions o;
  o.subject.path = at("new.zarr");
  o.model.path = at("m");
  o.targets = {{at("one.zarr")}, {at("two.zarr")}};
  const Json shared_only = parse_json(fit_subject(o, ""), "fit");
  EXPECT_EQ(shared_only.at("images_shared"), 80);  // training images are 20..119; 20..99 were seen by the others
  EXPECT_EQ(shared_only.at("rows"), 80);
  o.from_tokens = InputPath{at("targets.zarr")};
  o.model.path = at("m2");
  const Json report = parse_json(fit_subject(o, ""), "fit");
  EXPECT_EQ(report.at("images_predicted"), 20);
  EXPECT_EQ(report.at("rows"), 100);
  EXPECT_GT(report.at("map").at("leave_one_out_r2").get<double>(), 0.999);  // tokens determine the causes exactly
  const auto model = weights::StateDict::open(at("m2"));
  const SubjectTrials trials(at("new.zarr"), "", {});
  std::vector<std::int64_t> first(trials.test().begin(), trials.test().begin() + 20);
  const at::Tensor predicted = at::linear(trials.betas(first), model.get("ridge.linears.0.weight"), model.get("ridge.linears.0.bias"));
  const at::Tensor want = latents.narrow(0, 0, 20);
  EXPECT_GT(1 - (predicted - want).square().mean().item<double>() / want.var().item<double>(), 0.8);
  EXPECT_EQ(model.config().at("subjects"), Json::array({"new"}));
}

TEST_F(Fit, ToTokensIsTheClosedFormBaseline) {
  FitOptions o;
  o.subject.path = at("new.zarr");
  o.model.path = at("m");
  o.from_tokens = InputPath{at("targets.zarr")};
  o.to = FitTo::tokens;
  fit_subject(o, "");
  const auto model = weights::StateDict::open(at("m"));
  EXPECT_EQ(model.shape("ridge.linears.0.weight"), (std::vector<std::int64_t>{world.tokens * world.width, 40}));
  const SubjectTrials trials(at("new.zarr"), "", {});
  std::vector<std::int64_t> first(trials.test().begin(), trials.test().begin() + 20);
  std::vector<std::int32_t> stimulus;
  for (const auto row : first) stimulus.push_back(trials.stimulus()[row]);
  const at::Tensor predicted = at::linear(trials.betas(first), model.get("ridge.linears.0.weight"), model.get("ridge.linears.0.bias"));
  const auto score = retrieval(normalised_rows(predicted), normalised_rows(Targets(at("targets.zarr"), false, false).get("clip_tokens", stimulus)));
  EXPECT_GT(score.forward, 0.8);  // chance 0.05
}

TEST_F(Fit, SmallBlocksGiveWhatOneBlockGives) {
  FitOptions o;
  o.subject.path = at("new.zarr");
  o.from_tokens = InputPath{at("targets.zarr")};
  for (const auto to : {FitTo::tokens, FitTo::latent}) {
    o.to = to;
    if (to == FitTo::latent) o.targets = {{at("one.zarr")}, {at("two.zarr")}};
    o.block = 4096;
    o.model.path = at("whole");
    const Json whole = parse_json(fit_subject(o, ""), "fit");
    o.block = 5;
    o.model.path = at("parts");
    const Json parts = parse_json(fit_subject(o, ""), "fit");
    EXPECT_NEAR(parts.at("leave_one_out_r2").get<double>(), whole.at("leave_one_out_r2").get<double>(), 1e-7);
    const auto a = weights::StateDict::open(at("whole")), b = weights::StateDict::open(at("parts"));
    ASSERT_EQ(a.names(), b.names());
    for (const auto& name : a.names()) EXPECT_LE((a.get(name) - b.get(name)).abs().max().item<double>(), 1e-6) << name;
  }
  o.block = 0;
  EXPECT_THROW(fit_subject(o, ""), Error);
}

// Columns read from the stores are those of the arrays held in memory, tokens cut in the middle and images out of order included.
TEST_F(Fit, ColumnsFromTheStoreAreThoseInMemory) {
  const Targets held(at("targets.zarr"), false, false), read(at("targets.zarr"), false, false, 0);
  const std::vector<std::int32_t> stimulus{3, 4, 5, 90, 7, 6};
  const at::Tensor all = held.get("clip_tokens", stimulus).flatten(1);
  for (const auto& [first, count] : std::vector<std::pair<std::int64_t, std::int64_t>>{{0, 48}, {5, 1}, {10, 17}, {36, 12}}) {
    EXPECT_TRUE(at::equal(read.token_columns(stimulus, first, count), all.narrow(1, first, count))) << first;
    EXPECT_TRUE(at::equal(held.token_columns(stimulus, first, count), all.narrow(1, first, count))) << first;
  }
  const SubjectTrials whole(at("new.zarr"), "", {}), streamed(at("new.zarr"), "", {.keep = false});
  const std::vector<std::vector<std::int64_t>> groups{{7}, {2, 22, 42}, {100, 1}};
  for (std::size_t g = 0; g < groups.size(); ++g)
    EXPECT_TRUE(at::equal(streamed.mean_columns(groups, 11, 9)[static_cast<std::int64_t>(g)], whole.betas(groups[g]).mean({0}).narrow(0, 11, 9))) << g;
}

TEST_F(Fit, KeepsTheRestOfThePretrainedModelAndRefusesAnotherWidth) {
  std::map<std::string, at::Tensor> tensors{{"ridge.linears.0.weight", at::zeros({6, 3})}, {"ridge.linears.0.bias", at::zeros({6})},
                                            {"ridge.linears.1.weight", at::zeros({6, 4})}, {"ridge.linears.1.bias", at::zeros({6})},
                                            {"backbone.backbone_linear.weight", at::ones({8, 6})}};
  weights::save_model_dir(at("pre"), Json{{"hidden_dim", 6}, {"subjects", {"x", "y"}}}, tensors);
  FitOptions o;
  o.subject.path = at("new.zarr");
  o.model.path = at("m");
  o.targets = {{at("one.zarr")}};
  o.pretrained = ModelPath{at("pre")};
  fit_subject(o, "");
  const auto model = weights::StateDict::open(at("m"));
  EXPECT_EQ(model.names(), (std::vector<std::string>{"backbone.backbone_linear.weight", "ridge.linears.0.bias", "ridge.linears.0.weight"}));
  tensors["ridge.linears.0.weight"] = at::zeros({5, 3});
  weights::save_model_dir(at("pre"), Json::object(), tensors);
  EXPECT_THROW(fit_subject(o, ""), Error);
  o.pretrained.reset();
  o.targets.clear();
  EXPECT_THROW(fit_subject(o, ""), Error);  // no targets
  auto other = store::Group::create(at("none.zarr"));
  test::put<std::int32_t>(other, "stimulus", at::arange(500, 510).to(at::kInt), {"sample"});
  test::put<float>(other, "latent", at::zeros({10, 6}), {"sample", "hidden"});
  o.targets = {{at("none.zarr")}};
  EXPECT_THROW(fit_subject(o, ""), Error);  // no image in common
}

// Every option reaches the fit: the weights are those of fit_ridge on the rows that it says, put together here.
TEST_F(Fit, OptionsAreThoseOfTheFit) {
  // Images 20..69 in session 1, 70..99 in session 2, and the first ten once more in session 1.
  auto group = store::Group::create(at("twice.zarr"));
  const at::Tensor seen = at::cat({at::arange(20, 100), at::arange(20, 30)}).to(at::kInt);
  const at::Tensor betas = latents.index_select(0, seen.to(at::kLong)).mm(at::randn({6, 15}, test::made_generator(8))) + .5 * at::randn({90, 15}, test::made_generator(9)) + 1;
  test::put<float>(group, "betas", betas, {"trial", "voxel"});
  test::put<std::int32_t>(group, "stimulus", seen, {"trial"});
  test::put<std::int16_t>(group, "session", at::cat({at::ones({50}), at::full({30}, 2), at::ones({10})}).to(at::kShort), {"trial"});
  test::put<std::int8_t>(group, "split", at::zeros({90}, at::kChar), {"trial"});
  const auto check = [&](const std::string& what, FitOptions o, RidgeOptions ridge, const at::Tensor& trials, bool means) {
    o.subject.path = at("twice.zarr");
    o.targets = {{at("one.zarr")}};
    o.model.path = at(what);
    const Json report = parse_json(fit_subject(o, ""), "fit");
    at::Tensor x = betas.index_select(0, trials), y = latents.index_select(0, seen.index_select(0, trials).to(at::kLong));
    const at::Tensor known = seen.index_select(0, trials).lt(80);  // store one has images 0..79
    x = x.index({known});
    y = y.index({known});
    if (means) {  // trials 80..89 repeat 20..29, which are the first ten rows
      x.narrow(0, 0, 10).copy_((x.narrow(0, 0, 10) + x.narrow(0, x.size(0) - 10, 10)) / 2);
      x = x.narrow(0, 0, x.size(0) - 10);
      y = y.narrow(0, 0, y.size(0) - 10);
    }
    const auto want = fit_ridge(x, 6, [&](auto first, auto count) { return y.narrow(1, first, count); }, ridge);
    EXPECT_EQ(report.at("rows"), x.size(0)) << what;
    EXPECT_LE((weights::StateDict::open(at(what)).get("ridge.linears.0.weight") - want.weight).abs().max().item<double>(), 1e-5) << what;
    EXPECT_NEAR(report.at("leave_one_out_r2").get<double>(), want.r2, 1e-6) << what;
    return want.alpha;
  };
  const at::Tensor all = at::arange(90);
  FitOptions o;
  RidgeOptions r;
  check("plain", o, r, all, true);
  o.alphas = r.alphas = {.01, 1, 30, 1000};
  check("alphas", o, r, all, true);
  o.alpha_by = r.by = AlphaBy::k_fold;
  o.folds = 4;
  r.folds = 4;
  check("folds", o, r, all, true);
  o.per_target = r.per_target = true;
  check("each", o, r, all, true);
  o.alpha_by = r.by = AlphaBy::gcv;
  check("gcv", o, r, all, true);
  o.no_intercept = true;
  r.intercept = false;
  check("origin", o, r, all, true);
  o.each_trial = true;
  check("trials", o, r, all, false);
  o.sessions = 1;
  check("session", o, r, at::cat({at::arange(50), at::arange(80, 90)}), false);
}

TEST_F(Fit, TheMapFromTokensLearnsFromNoMoreImagesThanAllowed) {
  FitOptions o;
  o.subject.path = at("new.zarr");
  o.model.path = at("m");
  o.targets = {{at("one.zarr")}, {at("two.zarr")}};
  o.from_tokens = InputPath{at("targets.zarr")};
  o.map_images = 30;
  EXPECT_EQ(parse_json(fit_subject(o, ""), "fit").at("map").at("images"), 30);
}

// Two showings by one subject and one by another: the mean over a store's trials first, then over stores.
TEST_F(Fit, TargetsAreMeansOverShowingsAndThenOverSubjects) {
  const at::Tensor other = latents.narrow(0, 40, 60) + 1;
  write("three.zarr", at::arange(40, 100), other);
  FitOptions o;
  o.subject.path = at("new.zarr");
  o.model.path = at("m");
  o.targets = {{at("two.zarr")}, {at("three.zarr")}};
  o.alphas = {1};
  fit_subject(o, "");
  const SubjectTrials trials(at("new.zarr"), "", {});
  std::vector<std::int64_t> rows(trials.train().begin() + 20, trials.train().begin() + 80);  // images 40..99
  const at::Tensor y = latents.narrow(0, 40, 60) + .5;
  const auto want = fit_ridge(trials.betas(rows), 6, [&](auto first, auto count) { return y.narrow(1, first, count); }, {{1}});
  const auto model = weights::StateDict::open(at("m"));
  EXPECT_LE((model.get("ridge.linears.0.weight") - want.weight).abs().max().item<double>(), 1e-4);
  EXPECT_LE((model.get("ridge.linears.0.bias") - want.bias).abs().max().item<double>(), 1e-4);
}

TEST_F(Fit, ANumberThatIsNotFiniteIsNamedWithItsStore) {
  const auto refused = [](const FitOptions& o, const std::string& text) {
    try {
      fit_subject(o, "");
      FAIL() << "no error";
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(text), std::string::npos) << e.what();
      EXPECT_FALSE(std::filesystem::exists(o.model.path));
    }
  };
  at::Tensor broken = latents.narrow(0, 0, 80).clone();
  broken[50][2] = std::numeric_limits<float>::quiet_NaN();
  write("nan.zarr", at::arange(0, 80), broken);
  FitOptions o;
  o.subject.path = at("new.zarr");
  o.model.path = at("m");
  o.targets = {{at("nan.zarr")}};
  refused(o, "nan.zarr: array latent: a value in rows 0 to 79 is not finite");
  auto targets = store::Group::open(at("targets.zarr"));
  auto values = targets.array("clip_tokens").read<float>();
  values[static_cast<std::size_t>(100 * world.tokens * world.width)] = std::numeric_limits<float>::infinity();
  targets.array("clip_tokens").write(values.data());
  o.targets.clear();
  o.to = FitTo::tokens;
  o.from_tokens = InputPath{at("targets.zarr")};
  refused(o, "targets.zarr: array clip_tokens: a value is not finite");
}

}  // namespace
}  // namespace me2::train
