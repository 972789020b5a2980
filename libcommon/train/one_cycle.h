// Learning-rate schedules, as functions of the step: value(step) for step = 0..total-1. Nothing is stored, so resuming needs the step only.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>

namespace me2::train {

struct Rate {
  double lr, beta1;
};

// PyTorch's OneCycleLR with cosine annealing and cycled momentum (Smith & Topin 2017), with the reference's settings: pct_start =
// 2/epochs, div 25, final_div 1000. Up over steps 0..pct_start*total - 1 from max/25 to max, then down to max/25/1000 at total - 1;
// beta1 goes 0.95 -> 0.85 -> 0.95 the same way, so AdamW's default 0.9 is never used.
// Runs of one or two epochs have no valid pct_start in the reference (1 epoch: 2.0 is refused; 2 epochs: no way down); there 0.3 is used.
struct OneCycle {
  double max_lr = 3e-4;
  std::int64_t total = 1;
  double pct_start = 0.3;
  double div = 25, final_div = 1000;
  static double official_pct_start(std::int64_t epochs) { return epochs > 2 ? 2.0 / static_cast<double>(epochs) : 0.3; }
  Rate at(std::int64_t step) const {
    const double last = static_cast<double>(total - 1);
    const double top = std::max(0.0, pct_start * static_cast<double>(total) - 1);
    const double s = std::min(static_cast<double>(step), last);
    const auto mix = [](double start, double end, double share) { return end + (start - end) / 2 * (std::cos(M_PI * share) + 1); };
    if (s < top || (s == top && top > 0)) return {mix(max_lr / div, max_lr, s / top), mix(0.95, 0.85, s / top)};
    const double share = last > top ? (s - top) / (last - top) : 0;
    return {mix(max_lr, max_lr / div / final_div, share), mix(0.85, 0.95, share)};
  }
};

// PyTorch's LinearLR with its defaults: from max/3 up to max over `total` steps. beta1 stays 0.9.
struct LinearRamp {
  double max_lr = 3e-4;
  std::int64_t total = 1;
  Rate at(std::int64_t step) const {
    const double share = std::min(1.0, static_cast<double>(step) / static_cast<double>(std::max<std::int64_t>(1, total)));
    return {max_lr * (1.0 / 3 + (1 - 1.0 / 3) * share), 0.9};
  }
};

}  // namespace me2::train
