#include "train/ridge_fit.h"

#include <cmath>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "base/error.h"
#include "train/column_sums.h"

namespace me2::train {
namespace {

std::pair<at::Tensor, at::Tensor> eigen(const at::Tensor& gram) {  // values >= 0, vectors; in float64
  auto [values, vectors] = at::linalg_eigh(gram.to(at::kDouble));
  return {values.clamp_min(0), vectors};
}

constexpr std::int64_t kMostKept = std::int64_t{256} << 20;  // bytes of the centred X
constexpr std::int64_t kBlocksKept = 16;                     // who asks for small blocks wants it small
constexpr std::int64_t kRowBytes = std::int64_t{32} << 20;   // of weights made at once

// lower += part part', of which only what lies on and below the diagonal is good: by blocks of rows, which spares three eighths of it.
void add_lower_gram(const at::Tensor& lower, const at::Tensor& part) {
  const std::int64_t n = part.size(0), step = n < 256 ? n : (n + 3) / 4;
  for (std::int64_t first = 0; first < n; first += step) {
    const std::int64_t last = std::min(n, first + step);
    lower.narrow(0, first, last - first).narrow(1, 0, last).addmm_(part.narrow(0, first, last - first), part.narrow(0, 0, last).t());
  }
}
at::Tensor both_triangles(const at::Tensor& lower) { return lower.tril() + lower.tril(-1).t(); }

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
    mean_image_ = at::zeros({n_}, at::kDouble);
    at::Tensor kept;
    if (p_ <= kBlocksKept * block_ && n_ * p_ * static_cast<std::int64_t>(c10::elementSize(dtype_)) <= kMostKept) kept = at::empty({n_, p_}, dtype_);
    for (std::int64_t first = 0; first < p_; first += block_) {
      const auto count = std::min(block_, p_ - first);
      const at::Tensor raw = x_(first, count), mean = mean_.narrow(0, first, count);
      if (intercept_) mean.copy_(column_sums(raw) / static_cast<double>(n_));
      at::Tensor part;
      if (kept.defined()) {
        part = kept.narrow(1, first, count);
        at::sub_out(part, raw, mean.to(dtype_));
      } else {
        part = centred(raw, first);
      }
      add_lower_gram(gram_, part);
      if (intercept_) mean_image_ += part.mv(mean.to(dtype_)).to(at::kDouble);
    }
    gram_ = both_triangles(gram_);
    kept_ = kept;
  } else {  // fewer voxels than trials: X whole is no more than the scores below
    const at::Tensor whole = x_(0, p_);
    x_ = [whole](auto first, auto count) { return whole.narrow(1, first, count); };
    if (intercept_) mean_ = column_sums(whole) / static_cast<double>(n_);
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
  if (dual_) squares_ = vectors_.square();
  vectors_ = vectors_.to(dtype_);
  if (!dual_) scores_ = columns(0, p_).mm(vectors_);
}

at::Tensor RidgeSolver::centred(const at::Tensor& raw, std::int64_t first) const {
  const at::Tensor mean = mean_.narrow(0, first, raw.size(1));
  if (dtype_ == at::kDouble) return raw.to(at::kDouble) - mean;
  return raw.to(dtype_) - mean.to(dtype_);
}

at::Tensor RidgeSolver::columns(std::int64_t first, std::int64_t count) const {
  return kept_.defined() ? kept_.narrow(1, first, count) : centred(x_(first, count), first);
}

double RidgeSolver::mean_eigenvalue() const { return gram_.diagonal().sum(at::kDouble).item<double>() / static_cast<double>(std::min(n_, p_)); }

double RidgeSolver::degrees_of_freedom(double alpha) const {
  return (values_ / (values_ + alpha)).sum().item<double>() + (intercept_ ? 1 : 0);
}

at::Tensor RidgeSolver::hat_diagonal(double alpha) const { return 1 - leverage_left(alpha); }

at::Tensor RidgeSolver::leverage_left(double alpha) const {
  if (dual_) return squares_.mv(alpha / (values_ + alpha));
  const at::Tensor h = scores_.to(at::kDouble).pow(2).matmul(1 / (values_ + alpha));
  return 1 - (intercept_ ? h + 1.0 / static_cast<double>(n_) : h);
}

at::Tensor RidgeSolver::residual(const Targets& y, double alpha) const {
  if (dual_) return vectors_.mm((alpha / (values_ + alpha)).to(dtype_).unsqueeze(1) * y.projected);
  return y.centred - fitted(y, alpha);
}

RidgeSolver::Targets RidgeSolver::project(const at::Tensor& y) const {
  Targets out;
  out.mean = intercept_ ? column_sums(y) / static_cast<double>(n_) : at::zeros({y.size(1)}, at::kDouble);
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

at::Tensor RidgeSolver::leave_one_out_mse(const Targets& y, double alpha, const at::Tensor& inner) const {
  // In the dual form the residuals are alpha times the coefficients.
  const bool short_cut = dual_ && inner.defined();
  const at::Tensor factors = (short_cut ? alpha : 1.) / leverage_left(alpha);
  return column_square_sums(short_cut ? inner : residual(y, alpha), factors) / static_cast<double>(n_);
}

at::Tensor RidgeSolver::gcv(const Targets& y, double alpha) const {
  const double share = leverage_left(alpha).mean().item<double>();  // 1 - df/n
  return column_square_sums(residual(y, alpha)) / (static_cast<double>(n_) * share * share);
}

double RidgeSolver::total_leave_one_out_mse(const at::Tensor& lower_half, double alpha) const {
  // Of the symmetric P P' the part on and below the diagonal, that halved, does for half of each sum: by blocks of columns, as in add_lower_gram.
  const at::Tensor shrunk = vectors_ * (alpha / (values_ + alpha)).to(dtype_).unsqueeze(0);
  const std::int64_t n = shrunk.size(1), step = n < 256 ? n : (n + 3) / 4;
  at::Tensor squares = at::zeros({n_}, at::kDouble);
  for (std::int64_t first = 0; first < n; first += step) {
    const std::int64_t count = std::min(step, n - first);
    const at::Tensor part = shrunk.narrow(1, first, n - first).mm(lower_half.narrow(0, first, n - first).narrow(1, first, count));
    squares += row_dots(part, shrunk.narrow(1, first, count));
  }
  squares *= 2;
  return (squares / leverage_left(alpha).square()).mean().item<double>();
}

at::Tensor RidgeSolver::lower_half(const at::Tensor& lower) {
  at::Tensor half = lower.tril();
  half.diagonal().mul_(.5);
  return half;
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
    sum += at::where(sst > 0, 1 - sse / sst, 0.);  // a target that does not vary here says nothing about alpha
  }
  return sum / static_cast<double>(count);
}

at::Tensor RidgeSolver::inner(const Targets& y, const at::Tensor& alphas) const {
  const at::Tensor shrink = 1 / (values_.unsqueeze(1) + alphas.to(at::kDouble).unsqueeze(0));  // [n or p, t or 1]
  return vectors_.mm(shrink.to(dtype_) * y.projected);
}

at::Tensor RidgeSolver::intercept_of(const Targets& y, const at::Tensor& inner) const {
  return y.mean - inner.t().mv((dual_ ? mean_image_ : mean_).to(dtype_)).to(at::kDouble);
}

void RidgeSolver::weight_rows(const at::Tensor& inner, std::int64_t first, at::Tensor into) const {
  const at::Tensor left = inner.narrow(1, first, into.size(0)).t();
  if (!dual_) {
    into.copy_(left);
    return;
  }
  const std::int64_t width = kept_.defined() ? p_ : block_;
  for (std::int64_t at = 0; at < p_; at += width) {
    const auto count = std::min(width, p_ - at);
    at::Tensor part = into.narrow(1, at, count);
    at::mm_out(part, left, columns(at, count));
  }
}

std::int64_t RidgeSolver::rows_at_once(std::int64_t targets) const {
  if (dual_ && !kept_.defined()) return targets;
  return std::clamp<std::int64_t>(kRowBytes / (p_ * static_cast<std::int64_t>(c10::elementSize(dtype_))), std::min<std::int64_t>(64, targets), targets);
}

RidgeSolver::Fit RidgeSolver::solve(const Targets& y, const at::Tensor& alphas) const {
  const at::Tensor coefficients = inner(y, alphas);
  Fit fit;
  if (dual_) {
    const at::Tensor rows = at::empty({coefficients.size(1), p_}, dtype_);  // [t, p], as a Linear's: nothing has to be transposed in memory
    weight_rows(coefficients, 0, rows);
    fit.weight = rows.t();
  } else {
    fit.weight = coefficients;
  }
  fit.intercept = intercept_of(y, coefficients);
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
    variance.narrow(0, first, size).copy_(column_square_sums(projected.centred) / static_cast<double>(solver.trials()));
    if (together) {
      const at::Tensor part = at::zeros({projected.projected.size(0), projected.projected.size(0)}, solver.dtype());
      add_lower_gram(part, projected.projected);
      gram = gram.defined() ? gram + part.to(at::kDouble) : part.to(at::kDouble);
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
    const at::Tensor half = RidgeSolver::lower_half(gram).to(solver.dtype());
    result.score = at::empty({count}, at::kDouble);
    for (std::int64_t a = 0; a < count; ++a)
      result.score[a] = (options.by == AlphaBy::gcv ? solver.total_gcv(gram, options.alphas[a]) : solver.total_leave_one_out_mse(half, options.alphas[a])) /
                        static_cast<double>(target_count);
  } else {
    result.score = scores.mean({1});
  }
  const at::Tensor picked = options.per_target ? (higher ? scores.argmax(0) : scores.argmin(0))
                                               : (higher ? result.score.argmax() : result.score.argmin()).expand({target_count});
  result.alpha = grid.index_select(0, picked.contiguous());
  at::Tensor buffer;
  if (options.weights) result.bias = at::empty({target_count}, at::kFloat);
  if (options.weights && !weight_rows) result.weight = at::empty({target_count, solver.voxels()}, at::kFloat);
  const bool in_place = result.weight.defined() && solver.dtype() == at::kFloat;
  for (std::int64_t first = 0; first < target_count; first += options.block) {
    const auto size = std::min(options.block, target_count - first);
    const auto projected = kept.empty() ? solver.project(targets(first, size)) : std::move(kept.front());
    const at::Tensor alphas = result.alpha.narrow(0, first, size);
    const at::Tensor inner = solver.inner(projected, options.per_target ? alphas : alphas.narrow(0, 0, 1));
    const std::int64_t step = in_place ? size : solver.rows_at_once(size);
    for (std::int64_t row = 0; row < size && options.weights; row += step) {
      const std::int64_t rows = std::min(step, size - row);
      if (in_place) {
        solver.weight_rows(inner, row, result.weight.narrow(0, first + row, rows));
        continue;
      }
      if (!buffer.defined()) buffer = at::empty({step, solver.voxels()}, solver.dtype());
      const at::Tensor part = buffer.narrow(0, 0, rows);
      solver.weight_rows(inner, row, part);
      if (weight_rows) weight_rows(first + row, part.to(at::kFloat));
      else result.weight.narrow(0, first + row, rows).copy_(part);
    }
    if (options.weights) result.bias.narrow(0, first, size).copy_(solver.intercept_of(projected, inner));
    if (options.by == AlphaBy::leave_one_out && !together) {
      best_mse.narrow(0, first, size).copy_(scores.gather(0, picked.contiguous().unsqueeze(0)).squeeze(0).narrow(0, first, size));
    } else if (options.per_target) {
      for (std::int64_t a = 0; a < count; ++a) {
        const at::Tensor mse = solver.leave_one_out_mse(projected, options.alphas[a]);
        const at::Tensor here = picked.narrow(0, first, size).eq(a);
        best_mse.narrow(0, first, size).copy_(at::where(here, mse, best_mse.narrow(0, first, size)));
      }
    } else {
      best_mse.narrow(0, first, size).copy_(solver.leave_one_out_mse(projected, alphas[0].item<double>(), inner));
    }
    done += size;
    if (progress) progress(done, total);
  }
  result.r2 = (1 - best_mse / variance.clamp_min(1e-30)).mean().item<double>();
  return result;
}

}  // namespace me2::train
