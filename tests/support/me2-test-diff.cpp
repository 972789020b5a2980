// me2-test-diff A B [--abs X] [--rel X] [--ulp N] [--cosine X] [--array NAME]: are two stores equal?
// Arrays of both must agree in names, dtypes, shapes, dimension names and attributes; the attribute `me2` (provenance) does not count,
// nor do format, chunks and codecs. A number passes when |a - b| <= abs + rel * |b|, or a and b are at most N representable values
// apart; NaN equals NaN. With --cosine, floating-point rows of the first axis pass when their cosine is at least X instead.
// Prints the first difference of each array; exit 0 when there is none, else 1 (64 and 65 as everywhere).
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "store/convert.h"
#include "store/zarr.h"

namespace me2::store {
namespace {

struct Tolerance {
  double abs = 0, rel = 0, cosine = -2;
  std::int64_t ulp = 0;
};

int differences = 0;

void report(const std::string& sentence) {
  std::printf("%s\n", sentence.c_str());
  ++differences;
}

// Representable values lie in order on this line; -0 and 0 are one.
std::int64_t ordinal(double v, DType dtype) {
  std::int64_t bits;
  if (dtype == DType::f2) bits = std::bit_cast<std::int16_t>(float_to_half(static_cast<float>(v)));
  else if (dtype == DType::f4) bits = std::bit_cast<std::int32_t>(static_cast<float>(v));
  else bits = std::bit_cast<std::int64_t>(v);
  const std::int64_t low = dtype == DType::f2 ? INT16_MIN : dtype == DType::f4 ? INT32_MIN : INT64_MIN;
  return bits < 0 ? low - bits : bits;
}

bool close(double a, double b, DType dtype, const Tolerance& t) {
  if (a == b || (std::isnan(a) && std::isnan(b))) return true;
  if (std::isnan(a) || std::isnan(b)) return false;
  if (std::abs(a - b) <= t.abs + t.rel * std::abs(b)) return true;
  if (t.ulp == 0) return false;
  const std::int64_t x = ordinal(a, dtype), y = ordinal(b, dtype);
  return (x < 0) == (y < 0) ? std::abs(x - y) <= t.ulp : std::abs(a) < 1 && std::abs(b) < 1 && std::abs(x) <= t.ulp && std::abs(y) <= t.ulp;
}

std::string index_text(std::int64_t i, const Shape& shape) {
  Shape index(shape.size());
  for (std::size_t k = shape.size(); k-- > 0; i /= shape[k]) index[k] = i % shape[k];
  return fmt::format("[{}]", fmt::join(index, ","));
}

bool is_float(DType d) { return d == DType::f2 || d == DType::f4 || d == DType::f8; }

void compare_values(const std::string& name, const Array& a, const Array& b, const Tolerance& t) {
  if (a.dtype() == DType::str) {
    const auto x = a.read_strings(), y = b.read_strings();
    for (std::size_t i = 0; i < x.size(); ++i)
      if (x[i] != y[i]) return report(fmt::format("{}{}: \"{}\" and \"{}\"", name, index_text(static_cast<std::int64_t>(i), a.shape()), x[i], y[i]));
    return;
  }
  if (!is_float(a.dtype())) {
    const DType as = a.dtype() == DType::u8 ? DType::u8 : DType::i8;
    std::vector<std::int64_t> x(static_cast<std::size_t>(a.size())), y(x.size());
    const Box all{Shape(a.shape().size(), 0), a.shape()};
    a.read_bytes(all, as, x.data());
    b.read_bytes(all, as, y.data());
    for (std::size_t i = 0; i < x.size(); ++i)
      if (x[i] != y[i] && std::abs(static_cast<double>(x[i]) - static_cast<double>(y[i])) > t.abs + t.rel * std::abs(static_cast<double>(y[i])))
        return report(fmt::format("{}{}: {} and {}", name, index_text(static_cast<std::int64_t>(i), a.shape()), x[i], y[i]));
    return;
  }
  const auto x = a.read<double>(), y = b.read<double>();
  if (t.cosine > -2) {
    const std::size_t rows = a.shape().empty() ? 1 : static_cast<std::size_t>(a.shape()[0]), width = rows ? x.size() / rows : 0;
    for (std::size_t r = 0; r < rows; ++r) {
      double xy = 0, xx = 0, yy = 0;
      for (std::size_t i = r * width; i < (r + 1) * width; ++i) xy += x[i] * y[i], xx += x[i] * x[i], yy += y[i] * y[i];
      const double cosine = xx == 0 && yy == 0 ? 1 : xy / std::sqrt(xx * yy);
      if (!(cosine >= t.cosine)) return report(fmt::format("{}: row {} has cosine {:.9f}", name, r, cosine));
    }
    return;
  }
  std::size_t bad = 0, first = 0;
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (close(x[i], y[i], a.dtype(), t)) continue;
    if (bad++ == 0) first = i;
    worst = std::max(worst, std::abs(x[i] - y[i]));
  }
  if (bad > 0)
    report(fmt::format("{}{}: {} and {}; {} of {} differ, by up to {:.3g}", name, index_text(static_cast<std::int64_t>(first), a.shape()), x[first], y[first], bad, x.size(), worst));
}

void compare_attributes(const std::string& name, Json a, Json b) {
  a.erase("me2");
  b.erase("me2");
  for (const auto& [key, value] : a.items())
    if (!b.contains(key) || b[key] != value) return report(fmt::format("{}: attribute {} is {} and {}", name, key, value.dump(), b.contains(key) ? b[key].dump() : "missing"));
  for (const auto& [key, value] : b.items())
    if (!a.contains(key)) return report(fmt::format("{}: attribute {} is missing and {}", name, key, value.dump()));
}

void compare(const std::string& prefix, const Group& a, const Group& b, const std::string& only, const Tolerance& t) {
  if (only.empty()) compare_attributes(prefix.empty() ? "/" : prefix, a.attributes(), b.attributes());
  const auto names_a = a.array_names(), names_b = b.array_names();
  for (const std::string& name : names_b)
    if (std::find(names_a.begin(), names_a.end(), name) == names_a.end() && (only.empty() || only == prefix + name)) report(fmt::format("{}{}: only in the second", prefix, name));
  for (const std::string& name : names_a) {
    const std::string full = prefix + name;
    if (!only.empty() && only != full) continue;
    if (std::find(names_b.begin(), names_b.end(), name) == names_b.end()) {
      report(fmt::format("{}: only in the first", full));
      continue;
    }
    const Array x = a.array(name), y = b.array(name);
    if (x.dtype() != y.dtype()) report(fmt::format("{}: dtype {} and {}", full, dtype_name(x.dtype()), dtype_name(y.dtype())));
    else if (x.shape() != y.shape()) report(fmt::format("{}: shape [{}] and [{}]", full, fmt::join(x.shape(), ","), fmt::join(y.shape(), ",")));
    else compare_values(full, x, y, t);
    if (x.dimension_names() != y.dimension_names()) report(fmt::format("{}: dimension names [{}] and [{}]", full, fmt::join(x.dimension_names(), ","), fmt::join(y.dimension_names(), ",")));
    compare_attributes(full, x.attributes(), y.attributes());
  }
  const auto groups_a = a.group_names(), groups_b = b.group_names();
  for (const std::string& name : groups_b)
    if (std::find(groups_a.begin(), groups_a.end(), name) == groups_a.end() && only.empty()) report(fmt::format("{}{}: only in the second", prefix, name));
  for (const std::string& name : groups_a) {
    if (std::find(groups_b.begin(), groups_b.end(), name) != groups_b.end()) compare(prefix + name + "/", a.group(name), b.group(name), only, t);
    else if (only.empty()) report(fmt::format("{}{}: only in the first", prefix, name));
  }
}

int run(int argc, char** argv) {
  Tolerance t;
  std::vector<std::string> paths;
  std::string only;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (!word.starts_with("--")) {
      paths.push_back(word);
      continue;
    }
    if (i + 1 == argc) throw usage_error("{} takes a value", word);
    const char* value = argv[++i];
    if (word == "--abs") t.abs = std::strtod(value, nullptr);
    else if (word == "--rel") t.rel = std::strtod(value, nullptr);
    else if (word == "--cosine") t.cosine = std::strtod(value, nullptr);
    else if (word == "--ulp") t.ulp = std::strtoll(value, nullptr, 10);
    else if (word == "--array") only = value;
    else throw usage_error("unknown option {}", word);
  }
  if (paths.size() != 2) throw usage_error("me2-test-diff A B [--abs X] [--rel X] [--ulp N] [--cosine X] [--array NAME]");
  compare("", Group::open(paths[0]), Group::open(paths[1]), only, t);
  return differences == 0 ? 0 : 1;
}

}  // namespace
}  // namespace me2::store

int main(int argc, char** argv) {
  try {
    return me2::store::run(argc, argv);
  } catch (const me2::Error& e) {
    std::fprintf(stderr, "me2-test-diff: %s\n", e.what());
    return static_cast<int>(e.exit());
  }
}
