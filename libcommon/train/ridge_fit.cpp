#include "train/ridge_fit.h"

#include <cmath>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "base/error.h"

namespace me2::train {
namespace {

std::pair<at::Tensor, at::Tensor> eigen(const at::Tensor& gram) {  // values >= 0, vectors; in float64
  auto [values, vectors] = at::linalg_eigh(gram.to(at::kDouble));
  return {values.clamp_min(0), vectors};
}

}  // namespace

RidgeSolver::RidgeSolver(const at::Tensor& x, bool intercept, at::ScalarType dtype, std::int64_t block)
    : RidgeSolver(x.size(0), x.size(1), [x](auto first, auto count) { return x.narrow(1, first, count); }, intercept, dtype, block) {}

RidgeSolver::RidgeSolver(std::int64_t trials, std::int64_t voxels, Columns x, bool intercept, at::ScalarType dtype, std::int64_t block)
    : x_(std::move(x)), n_(trials), p_(voxels), block_(block), intercept_(intercept), dual_(n_ <= p_), dtype_(dtype) {
  const c10::NoGradGuard no_grad;
  if (n_ < 1 || p_ < 1) throw data_error("ridge: {} trials of {} voxels: nothing to fit", n_, p_);
  mean_ = at::zeros({p_}, at::kDouble);
  if (dual_) {
    gram_ = at::zeros({n_, n_}, dtype_);
    for (std::int64_t first = 0; first < p_; first += block_) {
      const auto count = std::min(block_, p_ - first);
      if (intercept_) mean_.narrow(0, first, count).copy_(x_(first, count).mean({0}, false, at::kDouble));
      const at::Tensor part = columns(first, count);
      gram_.addmm_(part, part.t());
    }
  } else {  // fewer voxels than trials: X whole is no more than the scores below
    const at::Tensor whole = x_(0, p_);
    x_ = [whole](auto first, auto count) { return whole.narrow(1, first, count); };
    if (intercept_) mean_ = whole.mean({0}, false, at::kDouble);
    gram_ = at::zeros({p_, p_}, dtype_);
    for (std::int64_t first = 0; first < n_; first += block_) {
      const at::Tensor rows = (whole.narrow(0, first, std::min(block_, n_ - first)).to(at::kDouble) - mean_).to(dtype_);
      gram_.addmm_(rows.t(), rows);
    }
  }
  if (dual_ && intercept_ && n_ > 1) {
    // The centred kernel has the constant vector in its null space. It is moved to the top of the spectrum and dropped, so that 1 - h
    // and n - df come out as sums of positive terms instead of differences of nearly equal numbers.
    const double lift = 2 * gram_.trace().item<double>() + 1;
    std::tie(values_, vectors_) = eigen(gram_ + lift / static_cast<double>(n_));
    values_ = values_.narrow(0, 0, n_ - 1);
    vectors_ = vectors_.narrow(1, 0, n_ - 1);
  } else {
    std::tie(values_, vectors_) = eigen(gram_);
  }
  vectors_ = vectors_.to(dtype_);
  if (!dual_) scores_ = columns(0, p_).mm(vectors_);
}

at::Tensor RidgeSolver::columns(std::int64_t first, std::int64_t count) const {
  const at::Tensor mean = mean_.narrow(0, first, count);
  const at::Tensor part = x_(first, count);
  if (dtype_ == at::kDouble) return part.to(at::kDouble) - mean;
  return part.to(dtype_) - mean.to(dtype_);
}

double RidgeSolver::mean_eigenvalue() const { return gram_.diagonal().sum(at::kDouble).item<double>() / static_cast<double>(std::min(n_, p_)); }

double RidgeSolver::degrees_of_freedom(double alpha) const {
  return (values_ / (values_ + alpha)).sum().item<double>() + (intercept_ ? 1 : 0);
}

at::Tensor RidgeSolver::hat_diagonal(double alpha) const { return 1 - leverage_left(alpha); }

at::Tensor RidgeSolver::leverage_left(double alpha) const {
  if (dual_) return vectors_.to(at::kDouble).pow(2).matmul(alpha / (values_ + alpha));
  const at::Tensor h = scores_.to(at::kDouble).pow(2).matmul(1 / (values_ + alpha));
  return 1 - (intercept_ ? h + 1.0 / static_cast<double>(n_) : h);
}

at::Tensor RidgeSolver::residual(const Targets& y, double alpha) const {
  if (dual_) return vectors_.mm((alpha / (values_ + alpha)).to(dtype_).unsqueeze(1) * y.projected);
  return y.centred - fitted(y, alpha);
}

RidgeSolver::Targets RidgeSolver::project(const at::Tensor& y) const {
  Targets out;
  out.mean = intercept_ ? y.mean({0}, false, at::kDouble) : at::zeros({y.size(1)}, at::kDouble);
  out.centred = dtype_ == at::kDouble ? y.to(at::kDouble) - out.mean : y.to(dtype_) - out.mean.to(dtype_);
  out.projected = (dual_ ? vectors_ : scores_).t().mm(out.centred);
  return out;
}

at::Tensor RidgeSolver::fitted(const Targets& y, double alpha) const {
  if (dual_) return vectors_.mm((values_ / (values_ + alpha)).to(dtype_).unsqueeze(1) * y.projected);
  return scores_.mm((1 / (values_ + alpha)).to(dtype_).unsqueeze(1) * y.projected);
}

at::Tensor RidgeSolver::leave_one_out(const Targets& y, double alpha) const {
  const at::Tensor left_out = residual(y, alpha) / leverage_left(alpha).to(dtype_).unsqueeze(1);
  return y.centred + y.mean.to(dtype_) - left_out;
}

at::Tensor RidgeSolver::leave_one_out_mse(const Targets& y, double alpha) const {
  return residual(y, alpha).mul_((1 / leverage_left(alpha)).to(dtype_).unsqueeze(1)).square_().mean({0}, false, at::kDouble);
}

at::Tensor RidgeSolver::gcv(const Targets& y, double alpha) const {
  const double share = leverage_left(alpha).mean().item<double>();  // 1 - df/n
  return residual(y, alpha).square_().mean({0}, false, at::kDouble) / (share * share);
}

double RidgeSolver::total_leave_one_out_mse(const at::Tensor& projected_gram, double alpha) const {
  const at::Tensor shrunk = vectors_.to(at::kDouble) * (alpha / (values_ + alpha)).unsqueeze(0);
  const at::Tensor squares = (shrunk.mm(projected_gram) * shrunk).sum({1});
  return (squares / leverage_left(alpha).square()).mean().item<double>();
}

double RidgeSolver::total_gcv(const at::Tensor& projected_gram, double alpha) const {
  const double share = leverage_left(alpha).mean().item<double>();
  const at::Tensor shrink = alpha / (values_ + alpha);
  // The columns of U are orthonormal: the sum over trials is a trace.
  return (projected_gram.diagonal() * shrink.square()).sum().item<double>() / static_cast<double>(n_) / (share * share);
}

const std::vector<RidgeSolver::Fold>& RidgeSolver::folds(std::int64_t count) const {
  if (static_cast<std::int64_t>(folds_.size()) == count) return folds_;
  if (count < 2 || count > n_) throw data_error("ridge: {} folds of {} trials", count, n_);
  folds_.clear();
  std::int64_t first = 0;
  for (std::int64_t k = 0; k < count; ++k) {
    const std::int64_t size = n_ / count + (k < n_ % count ? 1 : 0);
    Fold fold;
    fold.test = at::arange(first, first + size, at::kLong);
    fold.train = at::cat({at::arange(0, first, at::kLong), at::arange(first + size, n_, at::kLong)});
    first += size;
    if (dual_) {
      at::Tensor kernel = gram_.index_select(0, fold.train).index_select(1, fold.train);
      at::Tensor cross = gram_.index_select(0, fold.test).index_select(1, fold.train);
      if (intercept_) {  // re-centre on the training trials' own mean
        const at::Tensor mean = kernel.mean({0}, true);  // [1, train]
        const at::Tensor all = mean.mean();
        cross = cross - cross.mean({1}, true) - mean + all;
        kernel = kernel - mean - mean.t() + all;
      }
      std::tie(fold.values, fold.vectors) = eigen(kernel);
      fold.test_kernel = cross;
    } else {
      const at::Tensor centred = columns(0, p_);
      at::Tensor train = centred.index_select(0, fold.train), test = centred.index_select(0, fold.test);
      if (intercept_) {
        const at::Tensor mean = train.mean({0}, true);
        train = train - mean;
        test = test - mean;
      }
      std::tie(fold.values, fold.vectors) = eigen(train.t().mm(train));
      fold.test_kernel = test;
      fold.train_rows = train;
    }
    fold.vectors = fold.vectors.to(dtype_);
    folds_.push_back(std::move(fold));
  }
  return folds_;
}

at::Tensor RidgeSolver::k_fold_r2(const at::Tensor& y, double alpha, std::int64_t count) const {
  at::Tensor sum = at::zeros({y.size(1)}, at::kDouble);
  for (const Fold& fold : folds(count)) {
    const at::Tensor shrink = (1 / (fold.values + alpha)).to(dtype_).unsqueeze(1);
    const at::Tensor train = y.index_select(0, fold.train).to(dtype_), test = y.index_select(0, fold.test).to(dtype_);
    const at::Tensor mean = intercept_ ? train.mean({0}, true) : at::zeros({1, y.size(1)}, dtype_);
    const at::Tensor centred = train - mean;
    const at::Tensor inner = dual_ ? fold.vectors.t().mm(centred) : fold.vectors.t().mm(fold.train_rows.t().mm(centred));
    const at::Tensor predicted = fold.test_kernel.mm(fold.vectors.mm(shrink * inner)) + mean;
    const at::Tensor sse = (test - predicted).square().sum({0}, false, at::kDouble);
    const at::Tensor sst = (test - test.mean({0}, true)).square().sum({0}, false, at::kDouble);
    sum += 1 - sse / sst;
  }
  return sum / static_cast<double>(count);
}

RidgeSolver::Fit RidgeSolver::solve(const Targets& y, const at::Tensor& alphas) const {
  const at::Tensor shrink = 1 / (values_.unsqueeze(1) + alphas.to(at::kDouble).unsqueeze(0));  // [n or p, t or 1]
  const at::Tensor inner = vectors_.mm(shrink.to(dtype_) * y.projected);  // dual: [n, t]; primal: W itself [p, t]
  Fit fit;
  if (dual_) {
    const at::Tensor rows = at::empty({inner.size(1), p_}, dtype_);  // [t, p], as a Linear's: nothing has to be transposed in memory
    for (std::int64_t first = 0; first < p_; first += block_) {
      const auto count = std::min(block_, p_ - first);
      at::Tensor into = rows.narrow(1, first, count);
      at::mm_out(into, inner.t(), columns(first, count));
    }
    fit.weight = rows.t();
  } else {
    fit.weight = inner;
  }
  fit.intercept = y.mean - mean_.unsqueeze(0).to(dtype_).mm(fit.weight).squeeze(0).to(at::kDouble);
  return fit;
}

at::Tensor RidgeSolver::predict(const Targets& y, double alpha, std::int64_t rows, const Columns& x) const {
  const at::Tensor inner = vectors_.mm((1 / (values_ + alpha)).to(dtype_).unsqueeze(1) * y.projected);  // dual: [n, t]; primal: W itself
  at::Tensor out = y.mean.to(dtype_).unsqueeze(0).repeat({rows, 1});
  at::Tensor kernel = dual_ ? at::zeros({rows, n_}, dtype_) : at::Tensor();
  for (std::int64_t first = 0; first < p_; first += block_) {
    const auto count = std::min(block_, p_ - first);
    const at::Tensor part = x(first, count).to(dtype_) - mean_.narrow(0, first, count).to(dtype_);
    if (dual_) kernel.addmm_(part, columns(first, count).t());
    else out.addmm_(part, inner.narrow(0, first, count));
  }
  return dual_ ? out.addmm_(kernel, inner) : out;
}

namespace {
void check_alphas(const std::vector<double>& alphas) {
  for (const double alpha : alphas)
    if (!(alpha > 0)) throw usage_error("ridge: alpha must be above 0, {} given", alpha);
}
}  // namespace

RidgeResult fit_ridge(const at::Tensor& x, std::int64_t target_count, const Columns& targets, const RidgeOptions& options) {
  check_alphas(options.alphas);
  return fit_ridge(RidgeSolver(x, options.intercept, options.dtype, options.block), target_count, targets, options);
}

RidgeResult fit_ridge(const RidgeSolver& solver, std::int64_t target_count, const Columns& targets, const RidgeOptions& given,
                      const WeightRows& weight_rows, const RidgeProgress& progress) {
  const c10::NoGradGuard no_grad;
  RidgeOptions options = given;
  options.block = solver.block();
  check_alphas(options.alphas);
  for (int i = 0; i < 10 && given.alphas.empty(); ++i) options.alphas.push_back(std::max(1e-12, solver.mean_eigenvalue()) * std::pow(10.0, -3 + 6.0 * i / 9));
  const auto count = static_cast<std::int64_t>(options.alphas.size());
  const at::Tensor grid = at::tensor(options.alphas, at::kDouble);
  const bool higher = options.by == AlphaBy::k_fold;
  const bool together = solver.dual() && !options.per_target && !higher && count > 1;  // scores summed over targets are all that is asked

  // Scores first: [alphas, targets]. A shared alpha needs all of them before anything is solved.
  at::Tensor scores = at::empty({count, target_count}, at::kDouble), best_mse = at::zeros({target_count}, at::kDouble);
  at::Tensor variance = at::empty({target_count}, at::kDouble);
  at::Tensor gram;  // P P' of all targets
  std::vector<RidgeSolver::Targets> kept;  // one block is kept, to spare reading it twice
  std::int64_t done = 0;
  const std::int64_t total = 2 * target_count;
  for (std::int64_t first = 0; first < target_count; first += options.block) {
    const auto size = std::min(options.block, target_count - first);
    const at::Tensor y = targets(first, size);
    auto projected = solver.project(y);
    variance.narrow(0, first, size).copy_(projected.centred.square().mean({0}, false, at::kDouble));
    if (together) {
      const at::Tensor part = projected.projected.mm(projected.projected.t()).to(at::kDouble);
      gram = gram.defined() ? gram + part : part;
    }
    for (std::int64_t a = 0; a < count && !together; ++a) {
      const double alpha = options.alphas[a];
      scores[a].narrow(0, first, size).copy_(options.by == AlphaBy::leave_one_out ? solver.leave_one_out_mse(projected, alpha)
                                             : options.by == AlphaBy::gcv         ? solver.gcv(projected, alpha)
                                                                                  : solver.k_fold_r2(y, alpha, options.folds));
    }
    if (target_count <= options.block) kept.push_back(std::move(projected));
    done += size;
    if (progress) progress(done, total);
  }
  RidgeResult result;
  result.alphas = options.alphas;
  if (together) {
    result.score = at::empty({count}, at::kDouble);
    for (std::int64_t a = 0; a < count; ++a)
      result.score[a] = (options.by == AlphaBy::gcv ? solver.total_gcv(gram, options.alphas[a]) : solver.total_leave_one_out_mse(gram, options.alphas[a])) /
                        static_cast<double>(target_count);
  } else {
    result.score = scores.mean({1});
  }
  const at::Tensor picked = options.per_target ? (higher ? scores.argmax(0) : scores.argmin(0))
                                               : (higher ? result.score.argmax() : result.score.argmin()).expand({target_count});
  result.alpha = grid.index_select(0, picked.contiguous());
  result.bias = at::empty({target_count}, at::kFloat);
  for (std::int64_t first = 0; first < target_count; first += options.block) {
    const auto size = std::min(options.block, target_count - first);
    const auto projected = kept.empty() ? solver.project(targets(first, size)) : std::move(kept.front());
    const at::Tensor alphas = result.alpha.narrow(0, first, size);
    const auto fit = solver.solve(projected, options.per_target ? alphas : alphas.narrow(0, 0, 1));
    if (weight_rows) {
      weight_rows(first, fit.weight.t().to(at::kFloat));
    } else if (size == target_count) {
      result.weight = fit.weight.t().to(at::kFloat).contiguous();
    } else {
      if (!result.weight.defined()) result.weight = at::empty({target_count, solver.voxels()}, at::kFloat);
      result.weight.narrow(0, first, size).copy_(fit.weight.t());
    }
    result.bias.narrow(0, first, size).copy_(fit.intercept);
    if (options.by == AlphaBy::leave_one_out && !together) {
      best_mse.narrow(0, first, size).copy_(scores.gather(0, picked.contiguous().unsqueeze(0)).squeeze(0).narrow(0, first, size));
    } else if (options.per_target) {
      for (std::int64_t a = 0; a < count; ++a) {
        const at::Tensor mse = solver.leave_one_out_mse(projected, options.alphas[a]);
        const at::Tensor here = picked.narrow(0, first, size).eq(a);
        best_mse.narrow(0, first, size).copy_(at::where(here, mse, best_mse.narrow(0, first, size)));
      }
    } else {
      best_mse.narrow(0, first, size).copy_(solver.leave_one_out_mse(projected, alphas[0].item<double>()));
    }
    done += size;
    if (progress) progress(done, total);
  }
  result.r2 = (1 - best_mse / variance.clamp_min(1e-30)).mean().item<double>();
  return result;
}

}  // namespace me2::train
