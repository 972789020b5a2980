// Uncertainty of scores: bootstrap intervals over images (BCa) and over subjects and images (hierarchical), and paired tests
// between two runs. A score is f(mean over images of a vector per image): a mean, a ratio of means, BLEU from its counts.
// Refs: Efron 1987 (BCa); Efron & Tibshirani 1993, ch. 14; Davison & Hinkley 1997, 3.8 (hierarchical data), 4.3 (+1 in permutation p);
// Saravanan et al. 2020 (hierarchical bootstrap of repeated measurements); Holm 1979; Schuirmann 1987 (two one-sided tests).
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace me2::metrics {

struct Interval {
  double value = 0, low = 0, high = 0;  // NaN bounds when there is one image only, or the score does not vary and is undefined
  std::int64_t n = 0;                   // images it is over
};

struct BootstrapOptions {
  std::int64_t resamples = 10000;
  double confidence = 0.95;
  std::uint64_t seed = 42;
  int threads = 1;  // does not change the result
};

// Of the `columns` means of a resample, the score.
using Statistic = std::function<double(std::span<const double> means)>;

struct Scored {  // one score: its per-image columns and how they combine
  std::vector<double> values;  // row-major [n, columns]
  std::int64_t columns = 1;
  Statistic statistic;  // empty: the mean of the only column
  std::int64_t n() const { return static_cast<std::int64_t>(values.size()) / columns; }
};

// Scores of the same number of images share their resamples, so that they are comparable and cheap.
std::vector<Interval> bca(std::span<const Scored> scores, const BootstrapOptions& options);
Interval bca_mean(std::span<const double> values, const BootstrapOptions& options);  // NaN values are left out

// Subjects drawn with replacement, then images within each: percentile interval of the mean over subjects of the score. Percentiles and
// not BCa: its acceleration comes from leaving one unit out at a time, and here the units are subjects, of which there are a handful.
// With S subjects the spread between them comes out sqrt((S - 1) / S) of what it is. Exit::data for a subject without images.
Interval hierarchical(std::span<const Scored> by_subject, const BootstrapOptions& options);
Interval hierarchical_mean(const std::vector<std::vector<double>>& by_subject, const BootstrapOptions& options);

struct Paired {
  Interval difference;      // mean of a - b, BCa
  double p_bootstrap = 1;   // two-sided, from the bootstrap of the difference centred at zero
  double p_permutation = 1; // two-sided sign flips; exact when 2^n is no more than the resamples
  double p_equivalence = 1; // two one-sided t tests against +-margin; NaN without a margin
};
// a and b: per-image scores of the same images. Pairs with a NaN are left out. margin 0: no equivalence test.
Paired paired_tests(std::span<const double> a, std::span<const double> b, double margin, const BootstrapOptions& options);

std::vector<double> holm(std::span<const double> p);  // adjusted, in the order given

double normal_cdf(double z);
double normal_quantile(double p);
double student_cdf(double t, double degrees);

}  // namespace me2::metrics
