#include "train/column_sums.h"
#include "train/ridge_fit.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "support/golden.h"

namespace me2::train {
namespace {

// Golden case "ridge_closed_form": numpy SVD, checked against scikit-learn's Ridge and RidgeCV and brute-force refits.
TEST(RidgeFit, EqualsTheGoldenInPrimalAndDualForm) {
  ME2_NEEDS_GOLDEN("ridge_closed_form");
  const test::Golden g("ridge_closed_form");
  const at::Tensor alphas = g.in("alphas");
  const auto near = [&](const std::string& name, const at::Tensor& got) {
    const at::Tensor want = g.out(name);
    ASSERT_EQ(want.sizes(), got.sizes()) << name;
    const double worst = ((want - got).abs() / want.abs().clamp_min(1)).max().item<double>();
    EXPECT_LE(worst, 1e-8) << name;
  };
  for (const std::string shape : {"tall", "wide"})
    for (const bool intercept : {true, false}) {
      const std::string p = shape + (intercept ? "." : ".nointercept_");
      const at::Tensor x = g.in(shape + ".x"), y = g.in(shape + ".y");
      const RidgeSolver solver(x, intercept, at::kDouble, 5);  // blocks smaller than the data
      EXPECT_EQ(solver.dual(), shape == "wide");
      const auto targets = solver.project(y);
      std::vector<at::Tensor> coef, constant, prediction, loo, mse, gcv, r2;
      std::vector<double> df;
      for (std::int64_t a = 0; a < alphas.size(0); ++a) {
        const double alpha = alphas[a].item<double>();
        const auto fit = solver.solve(targets, alphas.narrow(0, a, 1));
        coef.push_back(fit.weight);
        constant.push_back(fit.intercept);
        prediction.push_back(g.in(shape + ".x_test").mm(fit.weight) + fit.intercept);
        loo.push_back(solver.leave_one_out(targets, alpha));
        mse.push_back(solver.leave_one_out_mse(targets, alpha));
        gcv.push_back(solver.gcv(targets, alpha));
        r2.push_back(solver.k_fold_r2(y, alpha, 3));
        df.push_back(solver.degrees_of_freedom(alpha));
      }
      near(p + "coef", at::stack(coef));
      near(p + "intercept", at::stack(constant));
      near(p + "prediction", at::stack(prediction));
      near(p + "loo_prediction", at::stack(loo));
      near(p + "loo_mse", at::stack(mse));
      near(p + "gcv", at::stack(gcv));
      near(p + "cv3_r2", at::stack(r2));
      near(p + "degrees_of_freedom", at::tensor(df, at::kDouble));
      const auto choose = [&](AlphaBy by) {
        RidgeOptions options{std::vector<double>(alphas.data_ptr<double>(), alphas.data_ptr<double>() + alphas.size(0)), intercept, by};
        options.per_target = true;
        options.block = 2;
        return fit_ridge(x, y.size(1), [&](auto first, auto count) { return y.narrow(1, first, count); }, options);
      };
      near(p + "best_alpha_loo", choose(AlphaBy::leave_one_out).alpha);
      const auto by_gcv = choose(AlphaBy::gcv);
      near(p + "best_alpha_gcv", by_gcv.alpha);
      // the chosen alphas' weights, assembled target by target
      for (std::int64_t t = 0; t < y.size(1); ++t) {
        const auto a = (alphas == by_gcv.alpha[t]).nonzero()[0][0].item<std::int64_t>();
        EXPECT_LE((g.out(p + "coef")[a].select(1, t) - by_gcv.weight[t]).abs().max().item<double>(), 1e-5);
      }
    }
}

TEST(RidgeFit, OneAlphaForAllTargetsMinimisesTheMeanScore) {
  at::manual_seed(1);
  const at::Tensor x = at::randn({30, 50}), y = x.narrow(1, 0, 7) + at::randn({30, 7});
  RidgeOptions options{{0.1, 10, 1000}};
  const auto shared = fit_ridge(x, 7, [&](auto first, auto count) { return y.narrow(1, first, count); }, options);
  EXPECT_EQ(shared.alpha.min().item<double>(), shared.alpha.max().item<double>());
  EXPECT_EQ(shared.alpha[0].item<double>(), options.alphas[shared.score.argmin().item<std::int64_t>()]);
  // brute force: refit without each trial
  const double alpha = shared.alpha[0].item<double>();
  double sum = 0;
  for (std::int64_t i = 0; i < 30; ++i) {
    const at::Tensor keep = at::cat({at::arange(0, i), at::arange(i + 1, 30)});
    const RidgeSolver without(x.index_select(0, keep));
    const auto fit = without.solve(without.project(y.index_select(0, keep)), at::tensor({alpha}, at::kDouble));
    sum += (x[i].to(at::kDouble).unsqueeze(0).mm(fit.weight).squeeze(0) + fit.intercept - y[i]).square().mean().item<double>();
  }
  EXPECT_NEAR(shared.score.min().item<double>(), sum / 30, 1e-9);
  // Scores from the Gram matrix of the projections are the means of those of single targets, whatever the blocks.
  const RidgeSolver solver(x);
  const auto projected = solver.project(y);
  for (const auto by : {AlphaBy::leave_one_out, AlphaBy::gcv})
    for (const std::int64_t block : {2, 4096}) {
      options.by = by;
      options.block = block;
      const auto fit = fit_ridge(x, 7, [&](auto first, auto count) { return y.narrow(1, first, count); }, options);
      for (std::int64_t a = 0; a < 3; ++a) {
        const at::Tensor each = by == AlphaBy::gcv ? solver.gcv(projected, options.alphas[static_cast<std::size_t>(a)])
                                                   : solver.leave_one_out_mse(projected, options.alphas[static_cast<std::size_t>(a)]);
        EXPECT_NEAR(fit.score[a].item<double>(), each.mean().item<double>(), 1e-9 * each.mean().item<double>());
      }
    }
}

TEST(RidgeFit, ATargetThatDoesNotVaryDoesNotDecideAboutTheOthers) {
  at::manual_seed(6);
  for (const std::int64_t voxels : {12, 60}) {
    const at::Tensor x = at::randn({30, voxels}, at::kDouble), y = x.narrow(1, 0, 4) + .5 * at::randn({30, 4}, at::kDouble);
    const at::Tensor with = at::cat({y, at::full({30, 1}, 3., at::kDouble)}, 1);
    RidgeOptions options{{1e-6, 3, 1e6}, true, AlphaBy::k_fold};
    const auto fit = [&](const at::Tensor& targets) {
      return fit_ridge(x, targets.size(1), [&](auto first, auto count) { return targets.narrow(1, first, count); }, options);
    };
    const auto alone = fit(y), both = fit(with);
    EXPECT_TRUE(both.score.isfinite().all().item<bool>());
    EXPECT_EQ(both.alpha[0].item<double>(), alone.alpha[0].item<double>());
    EXPECT_EQ(alone.alpha[0].item<double>(), 3);
  }
}

TEST(RidgeFit, Float32IsCloseToFloat64) {
  at::manual_seed(2);
  const at::Tensor x = at::randn({60, 200}), y = x.narrow(1, 0, 5) * 0.5 + at::randn({60, 5}) * 0.1;
  const auto fit = [&](at::ScalarType dtype) {
    RidgeOptions options{{1, 30}};
    options.dtype = dtype;
    return fit_ridge(x, 5, [&](auto first, auto count) { return y.narrow(1, first, count); }, options);
  };
  const auto f32 = fit(at::kFloat), f64 = fit(at::kDouble);
  EXPECT_LE((f32.weight - f64.weight).abs().max().item<double>(), 1e-5);
  EXPECT_NEAR(f32.r2, f64.r2, 1e-5);
}

// Voxels and targets by small blocks, the weight handed over in rows: what one block gives, and `predict` what its weight gives.
TEST(RidgeFit, SmallBlocksGiveWhatOneBlockGives) {
  at::manual_seed(3);
  for (const std::int64_t voxels : {70, 12}) {  // dual and primal
    const at::Tensor x = at::randn({30, voxels}), y = x.narrow(1, 0, 9) + at::randn({30, 9}), fresh = at::randn({5, voxels});
    const auto columns = [](const at::Tensor& m) { return [m](auto first, auto count) { return m.narrow(1, first, count); }; };
    const auto whole = fit_ridge(x, 9, columns(y), {});
    EXPECT_EQ(whole.alphas.size(), 10u);
    std::int64_t widest = 0, next = 0;
    const RidgeSolver solver(30, voxels, [&](auto first, auto count) { widest = std::max(widest, count); return x.narrow(1, first, count); }, true, at::kDouble, 4);
    at::Tensor weight = at::zeros({9, voxels}, at::kFloat);
    const auto parts = fit_ridge(solver, 9, columns(y), {}, [&](auto first, const at::Tensor& rows) {
      EXPECT_EQ(first, next);
      EXPECT_LE(rows.size(0), 4);
      weight.narrow(0, first, rows.size(0)).copy_(rows);
      next += rows.size(0);
    });
    EXPECT_EQ(next, 9);
    EXPECT_FALSE(parts.weight.defined());
    EXPECT_EQ(widest, solver.dual() ? 4 : voxels);
    EXPECT_LE((weight - whole.weight).abs().max().item<double>(), 1e-6);
    EXPECT_LE((parts.bias - whole.bias).abs().max().item<double>(), 1e-6);
    EXPECT_NEAR(parts.alpha[0].item<double>(), whole.alpha[0].item<double>(), 1e-9 * whole.alpha[0].item<double>());
    EXPECT_NEAR(parts.r2, whole.r2, 1e-9);
    const at::Tensor predicted = solver.predict(solver.project(y), whole.alpha[0].item<double>(), 5, columns(fresh));
    EXPECT_LE((predicted - at::linear(fresh, whole.weight, whole.bias)).abs().max().item<double>(), 1e-5);
  }
}

// What is chosen, and how it scores, without the weights: as with them.
TEST(RidgeFit, ChoosesTheSameWithoutWeights) {
  at::manual_seed(4);
  for (const std::int64_t voxels : {400, 20}) {
    const at::Tensor x = at::randn({300, voxels}), y = x.narrow(1, 0, 6) + 3 * at::randn({300, 6}) + 5;  // enough rows for triangles by parts
    const auto columns = [&](auto first, auto count) { return y.narrow(1, first, count); };
    RidgeOptions options;
    const auto with = fit_ridge(x, 6, columns, options);
    options.weights = false;
    const auto without = fit_ridge(x, 6, columns, options);
    EXPECT_FALSE(without.weight.defined() || without.bias.defined());
    EXPECT_EQ(without.alpha[0].item<double>(), with.alpha[0].item<double>());
    EXPECT_EQ(without.r2, with.r2);
    // The residuals of the chosen alpha, from the weights themselves.
    const RidgeSolver solver(x);
    const double alpha = with.alpha[0].item<double>();
    const at::Tensor residual = (y - at::linear(x, with.weight, with.bias)).to(at::kDouble) / (1 - solver.hat_diagonal(alpha)).unsqueeze(1);
    const at::Tensor variance = (y - y.mean({0})).square().mean({0}, false, at::kDouble);
    EXPECT_NEAR((1 - residual.square().mean({0}) / variance).mean().item<double>(), with.r2, 1e-5);
  }
}

TEST(RidgeFit, TheScoreOfAlphasChosenOtherwiseIsTheirLeaveOneOut) {
  at::manual_seed(7);
  const at::Tensor x = at::randn({40, 9}, at::kDouble), y = x.narrow(1, 0, 5) * at::tensor({.1, .3, 1., 3., 10.}, at::kDouble) + at::randn({40, 5}, at::kDouble);
  for (const auto by : {AlphaBy::k_fold, AlphaBy::gcv}) {
    RidgeOptions options{{.1, 10, 1000}, true, by};
    options.per_target = true;
    const auto fit = fit_ridge(x, 5, [&](auto first, auto count) { return y.narrow(1, first, count); }, options);
    const RidgeSolver solver(x);
    const auto targets = solver.project(y);
    double sum = 0;
    for (std::int64_t t = 0; t < 5; ++t)
      sum += 1 - solver.leave_one_out_mse(targets, fit.alpha[t].item<double>())[t].item<double>() / (y.select(1, t) - y.select(1, t).mean()).square().mean().item<double>();
    EXPECT_NEAR(fit.r2, sum / 5, 1e-9);
    EXPECT_GT((fit.alpha - fit.alpha[0]).abs().max().item<double>(), 0);  // not one for all
  }
}

TEST(ColumnSums, AreThoseOfFloat64) {
  at::manual_seed(5);
  for (const auto dtype : {at::kFloat, at::kDouble})
    for (const std::int64_t width : {3, 8, 517, 1100}) {  // of tails and of several blocks
      const at::Tensor x = (at::randn({37, width + 5}) + 100).to(dtype).narrow(1, 2, width), wide = x.to(at::kDouble), factors = at::rand({37}, at::kDouble);
      EXPECT_TRUE(at::allclose(column_sums(x), wide.sum({0}), 1e-13));
      EXPECT_TRUE(at::allclose(column_square_sums(x), wide.square().sum({0}), 1e-13));
      EXPECT_TRUE(at::allclose(column_square_sums(x, factors), (wide * factors.unsqueeze(1)).square().sum({0}), 1e-13));
      EXPECT_TRUE(at::allclose(column_sums(x.t().contiguous().t()), wide.sum({0}), 1e-13));  // columns together in memory
      const at::Tensor y = at::randn({width, 37}).to(dtype).t();
      EXPECT_TRUE(at::allclose(row_dots(x, y), (wide * y.to(at::kDouble)).sum({1}), 1e-13, 1e-11));
    }
}

TEST(RidgeFit, RefusesAnAlphaOfZeroAndNoTrials) {
  const auto none = [](auto, auto) { return at::zeros({2, 1}); };
  EXPECT_THROW(fit_ridge(at::zeros({2, 3}), 1, none, {{0.0}}), std::exception);
  EXPECT_THROW(RidgeSolver(at::zeros({0, 3})), std::exception);
}

}  // namespace
}  // namespace me2::train
