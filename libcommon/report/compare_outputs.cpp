#include "report/compare_outputs.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include <ATen/ATen.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "store/digest.h"
#include "store/table.h"
#include "store/zarr.h"
#include "weights/state_dict.h"

namespace me2::report {
namespace {

namespace fs = std::filesystem;
using List = std::vector<Compared>;

bool is_store(const std::string& path) { return fs::exists(path + "/zarr.json") || fs::exists(path + "/.zgroup") || fs::exists(path + "/.zattrs"); }

bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }
bool close(double a, double b, double tolerance) { return same(a, b) || std::abs(a - b) <= tolerance * std::max(1.0, std::abs(a)); }

// What is known of two series of numbers, block after block.
struct Numbers {
  double tolerance;
  std::int64_t first = -1, first_beyond = -1, count = 0;
  double largest = 0, was = 0, is = 0;
  void add(std::int64_t index, double a, double b) {
    if (same(a, b)) return;
    ++count;
    const double d = std::abs(a - b);
    largest = std::isnan(d) ? d : std::max(largest, d);
    const bool beyond = !close(a, b, tolerance);
    if (first < 0 || (beyond && first_beyond < 0)) was = a, is = b;
    if (first < 0) first = index;
    if (beyond && first_beyond < 0) first_beyond = index;
  }
  Sameness state() const { return count == 0 ? Sameness::identical : first_beyond < 0 ? Sameness::within : Sameness::different; }
  std::string detail(const std::vector<std::int64_t>& shape, std::int64_t total) const {
    std::vector<std::int64_t> place(shape.size());
    auto rest = first_beyond >= 0 ? first_beyond : first;
    for (std::size_t k = shape.size(); k-- > 0;) place[k] = rest % std::max<std::int64_t>(1, shape[k]), rest /= std::max<std::int64_t>(1, shape[k]);
    return fmt::format("first at [{}]: {:.9g} was {:.9g}; {} of {} values, at most {:.3g}", fmt::join(place, ", "), is, was, count, total, largest);
  }
};

Compared compare_arrays(const store::Array& a, const store::Array& b, const std::string& what, double tolerance) {
  Compared out{what, Sameness::identical, ""};
  if (a.shape() != b.shape() || (a.dtype() == store::DType::str) != (b.dtype() == store::DType::str)) {
    out.state = Sameness::different;
    out.detail = fmt::format("{} [{}] was {} [{}]", store::dtype_name(b.dtype()), fmt::join(b.shape(), ", "), store::dtype_name(a.dtype()), fmt::join(a.shape(), ", "));
    return out;
  }
  if (a.dtype() == b.dtype() && store::content_digest(a) == store::content_digest(b)) return out;
  out.state = Sameness::different;
  if (a.dtype() == store::DType::str) {
    const auto x = a.read_strings(), y = b.read_strings();
    for (std::size_t i = 0; i < x.size(); ++i)
      if (x[i] != y[i]) {
        out.detail = fmt::format("first at [{}]: \"{}\" was \"{}\"", i, y[i], x[i]);
        return out;
      }
    out.state = Sameness::identical;
    return out;
  }
  Numbers numbers{tolerance};
  const std::int64_t rows = a.shape().empty() ? 1 : a.shape()[0], row = rows ? a.size() / rows : 0;
  const std::int64_t block = std::max<std::int64_t>(1, (std::int64_t{1} << 20) / std::max<std::int64_t>(1, row));
  for (std::int64_t first = 0; first < rows; first += block) {
    const auto n = std::min(block, rows - first);
    store::Box box{store::Shape(a.shape().size(), 0), a.shape()};
    if (!box.start.empty()) box.start[0] = first, box.count[0] = n;
    std::vector<double> x(n * row), y(n * row);
    a.read_bytes(box, store::DType::f8, x.data());
    b.read_bytes(box, store::DType::f8, y.data());
    for (std::int64_t i = 0; i < n * row; ++i) numbers.add(first * row + i, x[i], y[i]);
  }
  out.state = numbers.state();
  if (a.dtype() != b.dtype()) {
    out.state = Sameness::different;
    out.detail = fmt::format("{} was {}; ", store::dtype_name(b.dtype()), store::dtype_name(a.dtype()));
  }
  if (numbers.count) out.detail += numbers.detail(a.shape(), a.size());
  else if (a.dtype() == b.dtype()) out.state = Sameness::different, out.detail = "differs beyond what a double can tell apart, or in the sign of zero";
  return out;
}

// Names on both sides, in order; those on one side only are differences.
template <class Both>
void pair_up(const std::vector<std::string>& a, const std::vector<std::string>& b, const std::string& label, List& out, const Both& both) {
  std::set<std::string> names(a.begin(), a.end());
  names.insert(b.begin(), b.end());
  for (const auto& name : names) {
    const bool was = std::find(a.begin(), a.end(), name) != a.end(), is = std::find(b.begin(), b.end(), name) != b.end();
    if (was && is) both(name);
    else out.push_back({label + name, Sameness::different, was ? "not made by the replay" : "was not there"});
  }
}

void compare_groups(const store::Group& a, const store::Group& b, const std::string& label, double tolerance, List& out) {
  pair_up(a.array_names(), b.array_names(), label + "/", out, [&](const std::string& name) { out.push_back(compare_arrays(a.array(name), b.array(name), label + "/" + name, tolerance)); });
  pair_up(a.group_names(), b.group_names(), label + "/", out, [&](const std::string& name) { compare_groups(a.group(name), b.group(name), label + "/" + name, tolerance, out); });
}

void compare_tensors(const std::string& original, const std::string& replayed, const std::string& label, double tolerance, List& out) {
  const auto a = weights::StateDict::open(original), b = weights::StateDict::open(replayed);
  pair_up(a.names(), b.names(), label + ": ", out, [&](const std::string& name) {
    Compared one{label + ": " + name, Sameness::identical, ""};
    const auto x = a.get(name), y = b.get(name);
    if (x.scalar_type() != y.scalar_type() || x.sizes() != y.sizes()) {
      one.state = Sameness::different, one.detail = fmt::format("[{}] was [{}], or of another type", fmt::join(y.sizes(), ", "), fmt::join(x.sizes(), ", "));
    } else if (!at::equal(x, y)) {
      Numbers numbers{tolerance};
      const auto u = x.to(at::kDouble).contiguous(), v = y.to(at::kDouble).contiguous();
      for (std::int64_t i = 0; i < u.numel(); ++i) numbers.add(i, u.const_data_ptr<double>()[i], v.const_data_ptr<double>()[i]);
      one.state = numbers.state();
      if (numbers.count) one.detail = numbers.detail(x.sizes().vec(), x.numel());
    }
    out.push_back(std::move(one));
  });
}

bool ignored(const std::string& key) { return key == "me2" || key == "provenance" || key == "seconds" || key == "started" || key == "finished"; }

// First difference of two JSON values; numbers within tolerance are noted and passed.
Sameness compare_json(const Json& a, const Json& b, const std::string& place, double tolerance, std::string& detail) {
  const auto differ = [&](const std::string& how) {
    detail = fmt::format("first at {}: {}", place.empty() ? "the top" : place, how);
    return Sameness::different;
  };
  if (a.is_number() && b.is_number()) {
    const double x = a.get<double>(), y = b.get<double>();
    if (a == b) return Sameness::identical;
    if (!close(x, y, tolerance)) return differ(fmt::format("{} was {}", b.dump(), a.dump()));
    if (detail.empty()) detail = fmt::format("first at {}: {} was {}", place, b.dump(), a.dump());
    return Sameness::within;
  }
  if (a.type() != b.type() || (a.is_array() && a.size() != b.size())) return differ("another type or length");
  if (!a.is_structured()) return a == b ? Sameness::identical : differ(fmt::format("{} was {}", b.dump(), a.dump()));
  Sameness state = Sameness::identical;
  const auto both = [&](const Json& x, const Json& y, const std::string& where) {
    if (const auto s = compare_json(x, y, where, tolerance, detail); s != Sameness::identical && state != Sameness::different) state = s;
    return state != Sameness::different;
  };
  if (a.is_array()) {
    for (std::size_t i = 0; i < a.size(); ++i)
      if (!both(a[i], b[i], fmt::format("{}/{}", place, i))) return state;
    return state;
  }
  for (const auto& [key, value] : a.items()) {
    if (ignored(key)) continue;
    if (!b.contains(key)) return differ(fmt::format("\"{}\" is missing", key));
    if (!both(value, b[key], place + "/" + key)) return state;
  }
  for (const auto& [key, value] : b.items())
    if (!ignored(key) && !a.contains(key)) return differ(fmt::format("\"{}\" was not there", key));
  return state;
}

Compared compare_csv(const std::string& original, const std::string& replayed, const std::string& label, double tolerance) {
  Compared out{label, Sameness::identical, ""};
  if (read_file(original) == read_file(replayed)) return out;
  out.state = Sameness::different;
  const auto a = store::Table::read(original), b = store::Table::read(replayed);
  if (a.columns() != b.columns() || a.rows() != b.rows()) {
    out.detail = fmt::format("{} rows of {} columns, was {} of {}", b.rows(), b.columns().size(), a.rows(), a.columns().size());
    return out;
  }
  out.state = Sameness::within;
  for (std::int64_t r = 0; r < a.rows(); ++r)
    for (std::size_t c = 0; c < a.columns().size(); ++c) {
      const auto &x = a.text(r, c), &y = b.text(r, c);
      if (x == y) continue;
      char *x_end = nullptr, *y_end = nullptr;
      const double u = std::strtod(x.c_str(), &x_end), v = std::strtod(y.c_str(), &y_end);
      const bool near = !x.empty() && !y.empty() && *x_end == 0 && *y_end == 0 && close(u, v, tolerance);
      if (out.detail.empty() || !near) out.detail = fmt::format("first at line {}, column {}: {} was {}", a.line(r), a.columns()[c], y, x);
      if (!near) {
        out.state = Sameness::different;
        return out;
      }
    }
  return out;
}

void compare_files(const std::string& original, const std::string& replayed, const std::string& label, double tolerance, List& out) {
  if (original.ends_with(".safetensors")) return compare_tensors(original, replayed, label, tolerance, out);
  if (original.ends_with(".csv")) return out.push_back(compare_csv(original, replayed, label, tolerance));
  if (original.ends_with(".json")) {
    const Json a = read_json_file(original), b = read_json_file(replayed);
    if (a.is_object() && a.contains("scores")) {
      auto list = compare_scores(a, b, label, tolerance);
      return void(out.insert(out.end(), list.begin(), list.end()));
    }
    Compared one{label, Sameness::identical, ""};
    one.state = compare_json(a, b, "", tolerance, one.detail);
    return out.push_back(std::move(one));
  }
  const std::string a = read_file(original), b = read_file(replayed);
  if (a == b) return out.push_back({label, Sameness::identical, ""});
  const auto at = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
  out.push_back({label, Sameness::different, fmt::format("first at byte {}; {} bytes, was {}", at, b.size(), a.size())});
}

std::vector<std::string> files_in(const std::string& folder) {
  std::vector<std::string> out;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file() && !entry.path().filename().string().starts_with('.')) out.push_back(fs::relative(entry.path(), folder).string());
  std::sort(out.begin(), out.end());
  return out;
}

std::string unescaped(std::string text) {
  const std::pair<const char*, const char*> entities[] = {{"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}, {"&#39;", "'"}, {"&#34;", "\""}, {"&amp;", "&"}};
  for (const auto& [from, to] : entities)
    for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; ++at) text.replace(at, std::char_traits<char>::length(from), to);
  return text;
}

}  // namespace

const char* sameness_name(Sameness s) {
  switch (s) {
    case Sameness::identical: return "identical";
    case Sameness::within: return "within tolerance";
    case Sameness::different: return "different";
    case Sameness::gone: return "not kept";
  }
  return "?";
}

List compare_scores(const Json& original, const Json& replayed, const std::string& label, double tolerance) {
  List out;
  const auto compare = [&](const Json& a, const Json& b, const std::string& prefix) {
    if (!a.is_object() || !b.is_object()) throw data_error("{}: no scores in it or in its replay", label);
    std::vector<std::string> was, is;
    for (const auto& [name, value] : a.items()) was.push_back(name);
    for (const auto& [name, value] : b.items()) is.push_back(name);
    pair_up(was, is, label + ": " + prefix, out, [&](const std::string& name) {
      Compared one{label + ": " + prefix + name, Sameness::identical, ""};
      one.state = compare_json(a[name], b[name], "", tolerance, one.detail);
      out.push_back(std::move(one));
    });
  };
  const auto sections = [&](const Json& a, const Json& b, const std::string& prefix) {
    compare(a.value("scores", Json()), b.value("scores", Json()), prefix);
    for (const char* section : {"splits", "baselines"}) {
      const Json x = a.value(section, Json::object()), y = b.value(section, Json::object());
      std::vector<std::string> was, is;
      for (const auto& [name, list] : x.items()) was.push_back(name);
      for (const auto& [name, list] : y.items()) is.push_back(name);
      pair_up(was, is, label + ": " + prefix, out, [&](const std::string& name) { compare(x[name], y[name], prefix + name + "/"); });
    }
  };
  sections(original, replayed, "");
  const Json x = original.value("subjects", Json::object()), y = replayed.value("subjects", Json::object());
  std::vector<std::string> was, is;
  for (const auto& [name, part] : x.items()) was.push_back(name);
  for (const auto& [name, part] : y.items()) is.push_back(name);
  pair_up(was, is, label + ": ", out, [&](const std::string& name) { sections(x[name], y[name], name + "/"); });
  if (original.value("ids", Json()) != replayed.value("ids", Json())) out.push_back({label + ": ids", Sameness::different, "other images, or another order"});
  return out;
}

List compare_outputs(const std::string& original, const std::string& replayed, const std::string& label, double tolerance) {
  List out;
  if (!fs::exists(original)) return {{label, Sameness::gone, original + " is not there to compare with"}};
  if (!fs::exists(replayed)) return {{label, Sameness::different, "not made by the replay"}};
  if (is_store(original) && is_store(replayed)) compare_groups(store::Group::open(original), store::Group::open(replayed), label, tolerance, out);
  else if (fs::is_directory(original) && fs::is_directory(replayed))
    pair_up(files_in(original), files_in(replayed), label + "/", out,
            [&](const std::string& name) { compare_files(original + "/" + name, replayed + "/" + name, label + "/" + name, tolerance, out); });
  else if (fs::is_directory(original) != fs::is_directory(replayed)) out.push_back({label, Sameness::different, "a folder on one side, a file on the other"});
  else compare_files(original, replayed, label, tolerance, out);
  return out;
}

std::vector<Json> provenance_records(const std::string& path) {
  const auto none = [&] { return data_error("{}: no provenance of ours in it: a scores file, a report, a store or a model directory of these tools expected", path); };
  Json found;
  if (fs::is_directory(path)) {
    if (is_store(path)) found = store::Group::open(path).attributes().value("me2", Json());
    else if (fs::exists(path + "/config.json")) found = read_json_file(path + "/config.json").value("me2", Json());
    if (!found.is_object()) throw none();
    std::vector<Json> out;
    if (found.contains("parts") && found["parts"].is_array()) found.erase("parts");  // other shards of the same command
    out.push_back(found);
    return out;
  }
  const std::string text = read_file(path);
  const auto begin = text.find_first_not_of(" \t\r\n");
  if (begin != std::string::npos && text[begin] == '<') {
    const auto summary = text.find("<summary>Full provenance</summary>");
    const auto open = summary == std::string::npos ? summary : text.find("<pre>", summary);
    const auto end = open == std::string::npos ? open : text.find("</pre>", open);
    if (end == std::string::npos) throw none();
    found = parse_json(unescaped(text.substr(open + 5, end - open - 5)), path);
  } else {
    const Json file = parse_json(text, path);
    if (file.is_object()) found = file.value("provenance", Json());
  }
  std::vector<Json> out;
  const auto take = [&](const Json& record) {
    const Json inner = record.is_object() && record.contains("provenance") ? record["provenance"] : record;
    if (inner.is_object() && inner.contains("command")) out.push_back(inner);
  };
  if (found.is_array()) std::for_each(found.begin(), found.end(), take);
  else take(found);
  if (out.empty()) throw none();
  return out;
}

}  // namespace me2::report
