// Multi-target ridge regression in closed form: minimise ||Y - X W - 1 b||^2 + alpha ||W||^2, the intercept b not penalised.
// With X, Y centred and X = U s V': W = V diag(s/(s^2+alpha)) U' Y, b = mean(Y) - mean(X) W. U, s, V come from the eigenvectors of the smaller Gram
// matrix: X X' [trials, trials] when trials <= voxels (the dual form), else X' X [voxels, voxels].
// Leave-one-out residuals are residual/(1 - h_i), h_i = sum_j U_ij^2 s_j^2/(s_j^2+alpha) + 1/n with intercept (Hastie et al., ESL 7.10;
// the hat diagonal, so no refits). gcv = mean(residual^2)/(1 - df/n)^2 with df = sum_i h_i (Golub, Heath & Wahba 1979).
// k_fold: contiguous folds sized as numpy's array_split; per target R2 = 1 - SSE/SST with the held-out fold's own mean, averaged over folds.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace me2::train {

enum class AlphaBy { leave_one_out, k_fold, gcv };

struct RidgeOptions {
  std::vector<double> alphas;  // empty: ten around the mean eigenvalue of the smaller Gram matrix, a thousandth to a thousandfold
  bool intercept = true;
  AlphaBy by = AlphaBy::leave_one_out;
  std::int64_t folds = 3;
  bool per_target = false;            // an alpha for each target, or one for all (mean score over targets)
  at::ScalarType dtype = at::kDouble;  // of the matrix products; eigenvectors are always found in float64
  std::int64_t block = 4096;          // voxels or targets handled at once
  bool weights = true;                // false: only what is chosen and how it scores, no weight and no bias
};

// Columns first..first+count of a matrix, all its rows: [rows, count], f32 or f64.
using Columns = std::function<at::Tensor(std::int64_t first, std::int64_t count)>;

// The factorisation of one X, from which every alpha and every block of targets is cheap.
class RidgeSolver {
 public:
  // x [trials, voxels], f32 or f64; kept by reference and read in blocks of voxels (only blocks are converted to `dtype`).
  RidgeSolver(const at::Tensor& x, bool intercept = true, at::ScalarType dtype = at::kDouble, std::int64_t block = 4096);
  // The same with X never held whole when trials <= voxels: each use of it asks for blocks of voxels in ascending order.
  RidgeSolver(std::int64_t trials, std::int64_t voxels, Columns x, bool intercept = true, at::ScalarType dtype = at::kDouble, std::int64_t block = 4096);

  std::int64_t trials() const { return n_; }
  std::int64_t voxels() const { return p_; }
  std::int64_t block() const { return block_; }
  bool dual() const { return dual_; }
  bool intercept() const { return intercept_; }
  double mean_eigenvalue() const;                  // of the smaller Gram matrix
  double degrees_of_freedom(double alpha) const;   // the intercept counts as 1
  at::Tensor hat_diagonal(double alpha) const;     // h [trials]

  // y [trials, targets]. A factored block of targets: project once, then ask for any alpha.
  struct Targets {
    at::Tensor centred;   // Yc [n, t]
    at::Tensor mean;      // [t], zeros without intercept
    at::Tensor projected;  // dual: U' Yc [n or n-1, t]; primal: V' Xc' Yc [p, t]
  };
  Targets project(const at::Tensor& y) const;
  at::Tensor fitted(const Targets& y, double alpha) const;               // on the training trials, without the mean [n, t]
  at::Tensor leave_one_out(const Targets& y, double alpha) const;        // predictions of each trial by the others [n, t]
  at::Tensor leave_one_out_mse(const Targets& y, double alpha, const at::Tensor& inner = {}) const;  // [t]; with inner(y, alpha), if at hand, cheaper
  at::Tensor gcv(const Targets& y, double alpha) const;                  // [t]
  // The sum over targets of leave_one_out_mse or gcv from P P' alone (dual; P = projected, of all targets; f64), so that the cost of an
  // alpha does not grow with the targets: with B = U diag(alpha/(s^2+alpha)), the sum over targets of residual_i^2 is (B P P' B')_ii.
  // Of P P' only what lies on and below the diagonal is read; the first takes its lower_half in `dtype`.
  static at::Tensor lower_half(const at::Tensor& projected_gram);  // with half of the diagonal
  double total_leave_one_out_mse(const at::Tensor& lower_half, double alpha) const;
  double total_gcv(const at::Tensor& projected_gram, double alpha) const;
  at::Tensor k_fold_r2(const at::Tensor& y, double alpha, std::int64_t folds) const;  // [t]

  // W [voxels, t] and intercept [t] for one alpha per target ([t], or [1] for all).
  struct Fit {
    at::Tensor weight, intercept;
  };
  Fit solve(const Targets& y, const at::Tensor& alphas) const;
  // The same in steps. Dual form: the coefficients (X X' + alpha)^-1 Yc [n, t]; primal: W [p, t].
  at::Tensor inner(const Targets& y, const at::Tensor& alphas) const;
  at::Tensor intercept_of(const Targets& y, const at::Tensor& inner) const;               // f64 [t]
  void weight_rows(const at::Tensor& inner, std::int64_t first, at::Tensor into) const;   // W' of targets first, ...: [count, p], in `dtype`
  // Targets whose rows of W' are best made at once: as many as there are where X has to be read again for every part.
  std::int64_t rows_at_once(std::int64_t targets) const;
  at::ScalarType dtype() const { return dtype_; }
  // What `solve` would predict for other rows [rows, voxels], given by their columns; in the dual form without making W: [rows, t].
  at::Tensor predict(const Targets& y, double alpha, std::int64_t rows, const Columns& x) const;

 private:
  struct Fold {
    at::Tensor train, test;      // i64 trial indices
    at::Tensor values, vectors;  // of the training part's own Gram matrix
    at::Tensor test_kernel;      // dual: centred cross Gram [test, train]; primal: centred test rows [test, p]
    at::Tensor train_rows;       // primal only: centred training rows [train, p]
  };
  const std::vector<Fold>& folds(std::int64_t count) const;
  at::Tensor leverage_left(double alpha) const;  // 1 - h [trials]
  at::Tensor residual(const Targets& y, double alpha) const;
  at::Tensor centred(const at::Tensor& raw, std::int64_t first) const;
  at::Tensor columns(std::int64_t first, std::int64_t count) const;  // centred, in dtype [n, count]

  Columns x_;
  at::Tensor mean_;
  std::int64_t n_, p_, block_;
  bool intercept_, dual_;
  at::ScalarType dtype_;
  at::Tensor kept_;              // dual: the centred X in dtype [n, p], where it is small
  at::Tensor mean_image_;        // dual: centred X times mean_, f64 [n]
  at::Tensor gram_;              // X X' or X' X of the centred X
  at::Tensor values_, vectors_;  // s^2 and U (dual; without the constant vector) or V (primal)
  at::Tensor squares_;           // of U, f64 (dual)
  at::Tensor scores_;            // primal: Xc V [n, p]
  mutable std::vector<Fold> folds_;
};

struct RidgeResult {
  at::Tensor weight;     // f32 [targets, voxels], as a Linear's; undefined where `weight_rows` took it
  at::Tensor bias;       // f32 [targets]
  at::Tensor alpha;      // f64 [targets] chosen
  at::Tensor score;      // f64 [alphas] mean over targets: loo_mse, gcv (lower is better) or R2 (higher is better)
  std::vector<double> alphas;  // those tried
  double r2 = 0;         // leave-one-out R2 of the chosen alphas, mean over targets
};

// The whole fit, streaming over targets, which are read twice: `targets(first, count)` gives y [trials, count]. With `weight_rows` the weight
// is handed over in blocks of rows (f32 [count, voxels], ascending; theirs only during the call) and never held whole.
using WeightRows = std::function<void(std::int64_t first, const at::Tensor& rows)>;
using RidgeProgress = std::function<void(std::int64_t done, std::int64_t total)>;
RidgeResult fit_ridge(const at::Tensor& x, std::int64_t target_count, const Columns& targets, const RidgeOptions& options);
// X as factored before: intercept, dtype and block are the solver's.
RidgeResult fit_ridge(const RidgeSolver& solver, std::int64_t target_count, const Columns& targets, const RidgeOptions& options,
                      const WeightRows& weight_rows = {}, const RidgeProgress& progress = {});

}  // namespace me2::train
