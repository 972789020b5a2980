#include "ingest/show.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "store/digest.h"
#include "store/extent.h"
#include "store/npy.h"
#include "store/zarr.h"

namespace me2::ingest {
namespace {

namespace fs = std::filesystem;
using store::Array;
using store::Group;

Json describe_array(const std::string& path, const Array& a, bool digest) {
  Json j{{"path", path}, {"dtype", store::dtype_name(a.dtype())}, {"shape", a.shape()}, {"chunks", a.chunks()}, {"write_unit", a.write_unit()}};
  j["dimension_names"] = a.dimension_names();
  const Json& attributes = a.attributes();
  for (const char* key : {"units", "long_name"})
    if (attributes.is_object() && attributes.contains(key)) j[key] = attributes[key];
  if (digest) j["digest"] = store::content_digest(a);
  return j;
}

void walk(const Group& group, const std::string& prefix, bool digest, Json& out, int depth) {
  if (depth > 32) throw data_error("{}: groups are nested deeper than 32", group.path());
  for (const auto& name : group.array_names()) out["arrays"].push_back(describe_array(prefix + name, group.array(name), digest));
  for (const auto& name : group.group_names()) {
    out["groups"].push_back(prefix + name);
    walk(group.group(name), prefix + name + "/", digest, out, depth + 1);
  }
}

// Rows of at most about 16 MiB.
template <class F>
void by_blocks(const Array& a, std::size_t item, F&& f) {
  const auto& shape = a.shape();
  if (shape.empty()) return f(store::Box{{}, {}}, std::int64_t{1});
  if (a.size() == 0) return;
  const std::int64_t row = a.size() / shape[0], rows = std::clamp<std::int64_t>((16 << 20) / std::max<std::int64_t>(1, row * static_cast<std::int64_t>(item)), 1, shape[0]);
  const std::int64_t unit = a.chunks()[0], step = rows > unit && unit > 0 ? rows / unit * unit : rows;
  for (std::int64_t first = 0; first < shape[0]; first += step) {
    store::Box box{store::Shape(shape.size(), 0), shape};
    box.start[0] = first;
    box.count[0] = std::min(step, shape[0] - first);
    f(box, box.count[0] * row);
  }
}

Json summary(const Array& a) {
  if (a.dtype() == store::DType::str) {
    Json first = Json::array();
    if (a.size() > 0) {
      store::Box box{store::Shape(a.shape().size(), 0), a.shape()};
      if (!box.count.empty()) box.count[0] = std::min<std::int64_t>(4, box.count[0]);
      for (const auto& s : a.read_strings(box)) first.push_back(s);
    }
    return {{"elements", a.size()}, {"first", first}};
  }
  double low = std::numeric_limits<double>::infinity(), high = -low, sum = 0, squares = 0;
  std::int64_t finite = 0, nan = 0, infinite = 0;
  std::vector<double> values;
  Json first = Json::array();
  by_blocks(a, 8, [&](const store::Box& box, std::int64_t n) {
    values.resize(static_cast<std::size_t>(n));
    a.read_bytes(box, store::DType::f8, values.data());
    for (const double v : values) {
      if (first.size() < 8) first.push_back(std::isfinite(v) ? Json(v) : Json(std::isnan(v) ? "NaN" : v > 0 ? "Infinity" : "-Infinity"));
      if (std::isnan(v)) ++nan;
      else if (std::isinf(v)) ++infinite;
      else low = std::min(low, v), high = std::max(high, v), sum += v, squares += v * v, ++finite;
    }
  });
  Json j{{"elements", a.size()}, {"nan", nan}, {"infinite", infinite}};
  if (finite > 0) {
    const double mean = sum / static_cast<double>(finite);
    j["min"] = low, j["max"] = high, j["mean"] = mean;
    j["sd"] = std::sqrt(std::max(0.0, squares / static_cast<double>(finite) - mean * mean));
  }
  j["first"] = first;
  return j;
}

void write_npy(const Array& a, const std::string& path) {
  if (a.dtype() == store::DType::str) throw usage_error("--npy: {} holds strings, which have no .npy form without pickles; use --json", a.path());
  const std::size_t item = store::item_size(a.dtype());
  AtomicWriter out(path);
  const std::string header = store::npy_header(a.shape(), a.dtype());
  out.write(header.data(), header.size());
  std::vector<std::byte> bytes;
  by_blocks(a, item, [&](const store::Box& box, std::int64_t n) {
    bytes.resize(static_cast<std::size_t>(n) * item);
    a.read_bytes(box, a.dtype(), bytes.data());
    out.write(bytes.data(), bytes.size());
  });
  out.commit();
}

}  // namespace

Json show_store(const ShowOptions& options, bool overwrite) {
  if (options.npy && !options.array) throw usage_error("--npy needs --array PATH");
  const std::string& path = options.store.path;
  if (!fs::exists(path)) throw missing_error("{}: no such store", path);
  const Group group = Group::open(path);
  Json out{{"store", path}, {"zarr_format", group.zarr_format()}};
  if (options.array) {
    const Array a = group.array(*options.array);
    out["arrays"] = Json::array({describe_array(*options.array, a, options.digest)});
    if (options.npy) {
      if (fs::exists(options.npy->path) && !overwrite)
        throw Error(Exit::cant_create, fmt::format("{}: exists already; --overwrite replaces it", options.npy->path));
      write_npy(a, options.npy->path);
      out["npy"] = options.npy->path;
    } else {
      out["summary"] = summary(a);
    }
    return out;
  }
  out["attributes"] = group.attributes();
  out["groups"] = Json::array();
  out["arrays"] = Json::array();
  walk(group, "", options.digest, out, 0);
  if (options.digest) out["digest"] = store::content_digest(group);
  return out;
}

std::string show_text(const Json& j) {
  if (j.contains("npy")) return "";
  std::string text;
  const auto line = [&](const std::string& s) { text += s + "\n"; };
  if (!j.contains("summary")) {
    line(fmt::format("{}  Zarr v{}", j["store"].get<std::string>(), j["zarr_format"].get<int>()));
    const Json& attributes = j["attributes"];
    for (const auto& [key, value] : attributes.items()) {
      if (key == "counts" && value.is_object()) {
        for (const auto& [k, v] : value.items()) line(fmt::format("  {:<18} {}", k, v.dump()));
      } else {
        std::string v = value.is_string() ? value.get<std::string>() : value.dump();
        if (v.size() > 100) v = v.substr(0, 80) + fmt::format("... ({} characters)", v.size());
        line(fmt::format("  @{:<17} {}", key, v));
      }
    }
  }
  for (const Json& a : j["arrays"]) {
    const auto list = [](const Json& v) { return fmt::format("{}", fmt::join(v.get<std::vector<std::int64_t>>(), ", ")); };
    std::string dims;
    if (!a["dimension_names"].empty()) dims = fmt::format(" ({})", fmt::join(a["dimension_names"].get<std::vector<std::string>>(), ", "));
    std::string s = fmt::format("  {:<18} {:<4} [{}]{}  chunks [{}]", a["path"].get<std::string>(), a["dtype"].get<std::string>(), list(a["shape"]), dims, list(a["chunks"]));
    if (a["write_unit"] != a["chunks"]) s += fmt::format("  shards [{}]", list(a["write_unit"]));
    if (a.contains("units") && a["units"].is_string() && a["units"] != "1") s += "  " + a["units"].get<std::string>();
    if (a.contains("digest")) s += "  sha256 " + a["digest"].get<std::string>();
    line(s);
  }
  if (j.contains("digest")) line("  sha256 " + j["digest"].get<std::string>());
  if (j.contains("summary"))
    for (const auto& [key, value] : j["summary"].items()) line(fmt::format("  {:<18} {}", key, value.dump()));
  return text;
}

}  // namespace me2::ingest
