#include "metrics/bootstrap.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "base/error.h"
#include "store/parallel.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define ME2_VECTORISED __attribute__((optimize("O3"), target_clones("arch=x86-64-v3", "default")))
#else
#define ME2_VECTORISED
#endif

namespace me2::metrics {
namespace {

// Adds the rows named by `index`, column by column in their order: the same sums on any machine.
ME2_VECTORISED void add_rows(const double* rows, std::int64_t width, const std::uint32_t* index, std::int64_t n, double* __restrict__ sum) {
  for (std::int64_t k = 0; k < n; ++k) {
    const double* row = rows + index[k] * width;
    for (std::int64_t c = 0; c < width; ++c) sum[c] += row[c];
  }
}

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// splitmix64: the k-th draw of resample b depends on (seed, b, k) only, so threads do not matter.
struct Draws {
  std::uint64_t state;
  Draws(std::uint64_t seed, std::uint64_t resample) : state(seed * 0x9E3779B97F4A7C15ull ^ (resample + 1) * 0xD1B54A32D192ED03ull) { next(); }
  std::uint64_t next() {
    std::uint64_t z = state += 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
  }
  void indices(std::uint32_t n, std::span<std::uint32_t> out) {  // two from each word, by multiplication
    for (std::size_t k = 0; k < out.size(); k += 2) {
      const std::uint64_t word = next();
      out[k] = static_cast<std::uint32_t>((word >> 32) * n >> 32);
      if (k + 1 < out.size()) out[k + 1] = static_cast<std::uint32_t>((word & 0xffffffffu) * n >> 32);
    }
  }
};

double percentile(std::vector<double>& sorted, double p) {  // linear interpolation, as numpy
  const double at = std::clamp(p, 0.0, 1.0) * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const double part = at - static_cast<double>(below);
  return below + 1 < sorted.size() ? sorted[below] * (1 - part) + sorted[below + 1] * part : sorted.back();
}

double evaluate(const Scored& s, std::span<const double> means) { return s.statistic ? s.statistic(means) : means[0]; }

std::vector<double> column_means(const Scored& s) {
  std::vector<double> means(s.columns);
  for (std::int64_t i = 0; i < s.n(); ++i)
    for (std::int64_t c = 0; c < s.columns; ++c) means[c] += s.values[i * s.columns + c];
  for (double& m : means) m /= static_cast<double>(s.n());
  return means;
}

Interval finish_bca(const Scored& s, std::vector<double>& resampled, double confidence) {
  const auto n = s.n();
  const auto means = column_means(s);
  Interval out{evaluate(s, means), kNaN, kNaN, n};
  if (n < 2 || std::isnan(out.value)) return out;
  std::sort(resampled.begin(), resampled.end());
  if (resampled.front() == resampled.back()) return {out.value, resampled.front(), resampled.back(), n};
  const auto less = std::lower_bound(resampled.begin(), resampled.end(), out.value) - resampled.begin();
  const auto not_more = std::upper_bound(resampled.begin(), resampled.end(), out.value) - resampled.begin();
  const double z0 = normal_quantile(static_cast<double>(less + not_more) / 2 / static_cast<double>(resampled.size()));
  std::vector<double> leave_one_out(n), without(s.columns);
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t c = 0; c < s.columns; ++c)
      without[c] = (means[c] * static_cast<double>(n) - s.values[i * s.columns + c]) / static_cast<double>(n - 1);
    leave_one_out[i] = evaluate(s, without);
  }
  const double centre = std::accumulate(leave_one_out.begin(), leave_one_out.end(), 0.0) / static_cast<double>(n);
  double second = 0, third = 0;
  for (double v : leave_one_out) second += (centre - v) * (centre - v), third += std::pow(centre - v, 3);
  const double a = second > 0 ? third / (6 * std::pow(second, 1.5)) : 0;
  const double z = normal_quantile((1 - confidence) / 2);
  const auto bound = [&](double q) {
    const double b = z0 + q;
    return percentile(resampled, normal_cdf(z0 + b / (1 - a * b)));
  };
  out.low = bound(z);
  out.high = bound(-z);
  return out;
}

}  // namespace

std::vector<Interval> bca(std::span<const Scored> scores, const BootstrapOptions& options) {
  std::map<std::int64_t, std::vector<std::size_t>> by_n;
  for (std::size_t k = 0; k < scores.size(); ++k) by_n[scores[k].n()].push_back(k);
  std::vector<Interval> out(scores.size());
  for (const auto& [n, members] : by_n) {
    if (n == 0) {
      for (auto k : members) out[k] = {kNaN, kNaN, kNaN, 0};
      continue;
    }
    std::int64_t width = 0;
    std::vector<std::int64_t> first(members.size());  // column of each member; members with the same values (BLEU-1 to 4) share theirs
    std::vector<bool> own(members.size(), true);
    for (std::size_t m = 0; m < members.size(); ++m) {
      for (std::size_t before = 0; before < m && own[m]; ++before)
        if (own[before] && scores[members[before]].values == scores[members[m]].values) own[m] = false, first[m] = first[before];
      if (own[m]) first[m] = width, width += scores[members[m]].columns;
    }
    std::vector<double> joined(n * width);  // all columns of an image side by side
    for (std::int64_t i = 0; i < n; ++i)
      for (std::size_t m = 0; m < members.size(); ++m) {
        const auto& s = scores[members[m]];
        if (own[m]) std::copy_n(s.values.data() + i * s.columns, s.columns, joined.data() + i * width + first[m]);
      }
    std::vector<std::vector<double>> resampled(members.size(), std::vector<double>(n > 1 ? options.resamples : 0));
    constexpr std::int64_t kPart = 250;
    if (n > 1)
      store::parallel_for((options.resamples + kPart - 1) / kPart, options.threads, [&, n = n, &members = members](std::int64_t part) {
        std::vector<std::uint32_t> index(n);
        std::vector<double> sum(width);
        for (std::int64_t b = part * kPart; b < std::min(options.resamples, (part + 1) * kPart); ++b) {
          Draws(options.seed, b).indices(static_cast<std::uint32_t>(n), index);
          std::fill(sum.begin(), sum.end(), 0.0);
          add_rows(joined.data(), width, index.data(), n, sum.data());
          for (double& v : sum) v /= static_cast<double>(n);
          for (std::size_t m = 0; m < members.size(); ++m) {
            const auto& s = scores[members[m]];
            resampled[m][b] = evaluate(s, {sum.data() + first[m], static_cast<std::size_t>(s.columns)});
          }
        }
      });
    for (std::size_t m = 0; m < members.size(); ++m) out[members[m]] = finish_bca(scores[members[m]], resampled[m], options.confidence);
  }
  return out;
}

Interval bca_mean(std::span<const double> values, const BootstrapOptions& options) {
  Scored s;
  std::copy_if(values.begin(), values.end(), std::back_inserter(s.values), [](double v) { return !std::isnan(v); });
  return bca({&s, 1}, options)[0];
}

Interval hierarchical(std::span<const Scored> by_subject, const BootstrapOptions& options) {
  Interval out;
  const auto count = static_cast<double>(by_subject.size());
  for (const auto& subject : by_subject) {
    if (subject.n() == 0) throw data_error("a subject without scores");
    out.value += evaluate(subject, column_means(subject)) / count;
    out.n += subject.n();
  }
  std::vector<double> resampled(options.resamples);
  constexpr std::int64_t kPart = 100;
  store::parallel_for((options.resamples + kPart - 1) / kPart, options.threads, [&](std::int64_t part) {
    std::vector<std::uint32_t> subjects(by_subject.size()), images;
    std::vector<double> means;
    for (std::int64_t b = part * kPart; b < std::min(options.resamples, (part + 1) * kPart); ++b) {
      Draws draws(options.seed, b);
      draws.indices(static_cast<std::uint32_t>(by_subject.size()), subjects);
      for (const auto s : subjects) {
        const Scored& subject = by_subject[s];
        images.resize(subject.n());
        draws.indices(static_cast<std::uint32_t>(images.size()), images);
        means.assign(subject.columns, 0);
        for (const auto i : images)
          for (std::int64_t c = 0; c < subject.columns; ++c) means[c] += subject.values[i * subject.columns + c];
        for (double& m : means) m /= static_cast<double>(images.size());
        resampled[b] += evaluate(subject, means) / count;
      }
    }
  });
  std::erase_if(resampled, [](double v) { return std::isnan(v); });  // a ratio of a resample without anything below
  if (resampled.empty()) return {out.value, kNaN, kNaN, out.n};
  std::sort(resampled.begin(), resampled.end());
  out.low = percentile(resampled, (1 - options.confidence) / 2);
  out.high = percentile(resampled, (1 + options.confidence) / 2);
  return out;
}

Interval hierarchical_mean(const std::vector<std::vector<double>>& by_subject, const BootstrapOptions& options) {
  std::vector<Scored> subjects;
  for (const auto& values : by_subject) subjects.push_back({values, 1, {}});
  return hierarchical(subjects, options);
}

Paired paired_tests(std::span<const double> a, std::span<const double> b, double margin, const BootstrapOptions& options) {
  if (a.size() != b.size()) throw data_error("paired tests need the scores of the same images: {} and {} found", a.size(), b.size());
  std::vector<double> d;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (!std::isnan(a[i]) && !std::isnan(b[i])) d.push_back(a[i] - b[i]);
  Paired out;
  out.difference = bca_mean(d, options);
  const auto n = static_cast<std::int64_t>(d.size());
  if (n < 2) return out;
  const double observed = std::abs(out.difference.value) * (1 - 1e-12);  // the same sum in another order counts as equal
  const double mean = out.difference.value;
  const bool exact = n < 62 && (std::int64_t{1} << n) <= options.resamples;
  const std::int64_t flips = exact ? std::int64_t{1} << n : options.resamples;
  constexpr std::int64_t kPart = 250;
  const auto parts = [&](std::int64_t total, const std::function<bool(std::int64_t)>& extreme) {
    std::vector<std::int64_t> counts((total + kPart - 1) / kPart);
    store::parallel_for(static_cast<std::int64_t>(counts.size()), options.threads, [&](std::int64_t part) {
      for (std::int64_t k = part * kPart; k < std::min(total, (part + 1) * kPart); ++k) counts[part] += extreme(k);
    });
    return static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}));
  };
  const double flipped = parts(flips, [&](std::int64_t k) {
    Draws draws(options.seed ^ 0x5eed, k);
    double sum = 0;
    std::uint64_t word = exact ? static_cast<std::uint64_t>(k) : 0;
    for (std::int64_t i = 0; i < n; ++i) {
      if (!exact && i % 64 == 0) word = draws.next();
      sum += word >> (i % 64) & 1 ? d[i] : -d[i];
    }
    return std::abs(sum / static_cast<double>(n)) >= observed;
  });
  out.p_permutation = exact ? flipped / static_cast<double>(flips) : (flipped + 1) / static_cast<double>(flips + 1);
  const double beyond = parts(options.resamples, [&](std::int64_t k) {
    std::vector<std::uint32_t> index(n);
    Draws(options.seed, k).indices(static_cast<std::uint32_t>(n), index);
    double sum = 0;
    for (const auto i : index) sum += d[i];
    return std::abs(sum / static_cast<double>(n) - mean) >= observed;
  });
  out.p_bootstrap = (beyond + 1) / static_cast<double>(options.resamples + 1);
  out.p_equivalence = kNaN;
  if (margin > 0) {
    double squares = 0;
    for (double v : d) squares += (v - mean) * (v - mean);
    const double se = std::sqrt(squares / static_cast<double>(n - 1) / static_cast<double>(n));
    const double df = static_cast<double>(n - 1);
    if (se == 0) out.p_equivalence = std::abs(mean) < margin ? 0 : 1;
    else out.p_equivalence = std::max(1 - student_cdf((mean + margin) / se, df), student_cdf((mean - margin) / se, df));
  }
  return out;
}

std::vector<double> holm(std::span<const double> p) {
  std::vector<std::size_t> order(p.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](auto i, auto j) { return p[i] < p[j]; });
  std::vector<double> out(p.size());
  double running = 0;
  for (std::size_t k = 0; k < order.size(); ++k) {
    running = std::max(running, std::min(1.0, p[order[k]] * static_cast<double>(p.size() - k)));
    out[order[k]] = running;
  }
  return out;
}

double normal_cdf(double z) { return 0.5 * std::erfc(-z / std::sqrt(2.0)); }

double normal_quantile(double p) {  // Acklam's rational approximation, then one Halley step to double precision
  if (p <= 0) return -std::numeric_limits<double>::infinity();
  if (p >= 1) return std::numeric_limits<double>::infinity();
  constexpr std::array a{-3.969683028665376e+01, 2.209460984245205e+02, -2.759285104469687e+02, 1.383577518672690e+02, -3.066479806614716e+01, 2.506628277459239e+00};
  constexpr std::array b{-5.447609879822406e+01, 1.615858368580409e+02, -1.556989798598866e+02, 6.680131188771972e+01, -1.328068155288572e+01};
  constexpr std::array c{-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e+00, -2.549732539343734e+00, 4.374664141464968e+00, 2.938163982698783e+00};
  constexpr std::array d{7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00, 3.754408661907416e+00};
  double x;
  if (p < 0.02425 || p > 1 - 0.02425) {
    const double q = std::sqrt(-2 * std::log(std::min(p, 1 - p)));
    x = (((((c[0] * q + c[1]) * q + c[2]) * q + c[3]) * q + c[4]) * q + c[5]) / ((((d[0] * q + d[1]) * q + d[2]) * q + d[3]) * q + 1);
    if (p > 0.5) x = -x;
  } else {
    const double q = p - 0.5, r = q * q;
    x = (((((a[0] * r + a[1]) * r + a[2]) * r + a[3]) * r + a[4]) * r + a[5]) * q / (((((b[0] * r + b[1]) * r + b[2]) * r + b[3]) * r + b[4]) * r + 1);
  }
  const double e = normal_cdf(x) - p, u = e * std::sqrt(2 * M_PI) * std::exp(x * x / 2);
  return x - u / (1 + x * u / 2);
}

double student_cdf(double t, double degrees) {
  // Regularised incomplete beta by Lentz's continued fraction (Numerical Recipes 6.4).
  const double x = degrees / (degrees + t * t), p = degrees / 2, q = 0.5;
  const auto fraction = [](double a, double b, double at) {
    double c = 1, d = 1 / (1 - (a + b) * at / (a + 1)), h = d;
    for (int m = 1; m < 500; ++m) {
      const double even = m * (b - m) * at / ((a + 2 * m - 1) * (a + 2 * m));
      d = 1 / (1 + even * d), c = 1 + even / c, h *= d * c;
      const double odd = -(a + m) * (a + b + m) * at / ((a + 2 * m) * (a + 2 * m + 1));
      d = 1 / (1 + odd * d), c = 1 + odd / c, h *= d * c;
      if (std::abs(d * c - 1) < 1e-15) break;
    }
    return h;
  };
  const double front = std::exp(std::lgamma(p + q) - std::lgamma(p) - std::lgamma(q) + p * std::log(x) + q * std::log1p(-x));
  double tail = 1;  // I_x(df/2, 1/2)
  if (t != 0) tail = x < (p + 1) / (p + q + 2) ? front * fraction(p, q, x) / p : 1 - front * fraction(q, p, 1 - x) / q;
  return t > 0 ? 1 - tail / 2 : tail / 2;
}

}  // namespace me2::metrics
