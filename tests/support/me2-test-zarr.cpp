// me2-test-zarr < COMMANDS: the store library for scripts in other languages (tests/interop, tests/bench). One JSON object per line:
//   {"op": "create", "store", "format": 2|3, "array", "shape", "dtype", "chunks", "shards"?, "codec", "level"?, "crc32c"?, "fill"?}
//   {"op": "write", "store", "array", "file"}        row-major little-endian elements, or a JSON list of strings, into the array
//   {"op": "read",  "store", "array", "file"}        the same, out of it
//   {"op": "consolidate", "store"}   {"op": "digest", "store"}   {"op": "threads", "count"}
//   {"op": "time", "store", "array", "what": "write"|"read"|"rows"|"gather", "repeat", "rows"?}   seconds, smallest of `repeat`
// Answers each with one JSON object: {"ok": true, ...} or {"error": "..."}.
#include <chrono>
#include <cstring>
#include <iostream>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "store/digest.h"
#include "store/gather.h"
#include "store/zarr.h"

namespace me2::store {
namespace {

DType dtype_named(const std::string& name) {
  for (const DType d : {DType::b1, DType::i1, DType::i2, DType::i4, DType::i8, DType::u1, DType::u2, DType::u4, DType::u8, DType::f2, DType::f4, DType::f8, DType::str})
    if (name == dtype_name(d)) return d;
  throw usage_error("dtype {}", name);
}

Codec codec_named(const std::string& name) {
  const std::map<std::string, Codec> names{{"raw", Codec::raw}, {"zstd", Codec::zstd}, {"gzip", Codec::gzip}, {"blosc_lz4", Codec::blosc_lz4}, {"blosc_zstd", Codec::blosc_zstd}};
  return names.at(name);
}

Box everything(const Array& array) { return {Shape(array.shape().size(), 0), array.shape()}; }

void create(const Json& c) {
  const std::string store = c["store"];
  std::optional<Group> group;
  try {
    group = Group::open(store);
  } catch (const Error&) {
    group = Group::create(store, c["format"]);
  }
  ArraySpec spec;
  spec.shape = c["shape"].get<Shape>();
  spec.dtype = dtype_named(c["dtype"]);
  spec.chunks = c["chunks"].get<Shape>();
  spec.shards = c.value("shards", Shape{});
  spec.codec = codec_named(c["codec"]);
  if (c.contains("level")) spec.level = c["level"].get<int>();
  spec.crc32c = c.value("crc32c", false);
  spec.fill = c.value("fill", 0.0);
  for (std::size_t k = 0; k < spec.shape.size(); ++k) spec.dimension_names.push_back(fmt::format("{}_{}", c["array"].get<std::string>(), k));
  spec.units = "1";
  spec.long_name = "test values";
  group->create_array(c["array"], spec);
}

void write(const Json& c) {
  Array array = Group::open(c["store"]).array(c["array"]);
  const std::string content = read_file(c["file"]);
  if (array.dtype() == DType::str) return array.write_strings(Json::parse(content).get<std::vector<std::string>>());
  if (content.size() != static_cast<std::size_t>(array.size()) * item_size(array.dtype())) throw usage_error("{} bytes given", content.size());
  array.write_bytes(everything(array), array.dtype(), content.data());
}

Json read(const Json& c) {
  const Array array = Group::open(c["store"]).array(c["array"]);
  std::string content;
  if (array.dtype() == DType::str) {
    content = Json(array.read_strings()).dump();
  } else {
    content.resize(static_cast<std::size_t>(array.size()) * item_size(array.dtype()));
    array.read_bytes(everything(array), array.dtype(), content.data());
  }
  write_file_atomic(c["file"], content);
  return {{"shape", array.shape()}, {"dtype", dtype_name(array.dtype())}, {"dimension_names", array.dimension_names()}};
}

// Values that look like embeddings: normal, as float16 bits.
const std::vector<std::uint16_t>& halves(std::size_t n, const std::string& file) {
  static std::map<std::string, std::vector<std::uint16_t>> kept;
  std::vector<std::uint16_t>& values = kept[file];
  if (values.empty()) {
    const std::string content = read_file(file);
    if (content.size() != n * 2) throw usage_error("{} bytes given", content.size());
    values.resize(n);
    std::memcpy(values.data(), content.data(), content.size());
  }
  return values;
}

Json time(const Json& c) {
  Array array = Group::open(c["store"]).array(c["array"]);
  const std::string what = c["what"];
  const auto size = static_cast<std::size_t>(array.size());
  std::vector<std::uint16_t> buffer;
  const auto row = size / static_cast<std::size_t>(array.shape()[0]);
  if (what != "write") buffer.resize(what == "read" ? size : what == "gather" ? row * c["rows"].size() : row);
  const std::uint16_t* values = what == "write" ? halves(size, c["file"]).data() : nullptr;
  const std::vector<std::int64_t> rows = c.value("rows", std::vector<std::int64_t>{});
  double best = 1e9;
  for (int i = 0; i < c.value("repeat", 1); ++i) {
    const auto start = std::chrono::steady_clock::now();
    if (what == "write") array.write_bytes(everything(array), DType::f2, values);
    if (what == "read") array.read_bytes(everything(array), DType::f2, buffer.data());
    if (what == "gather") gather_bytes(array, rows, DType::f2, buffer.data());
    if (what == "rows") {
      Box box = everything(array);
      box.count[0] = 1;
      for (const std::int64_t row : rows) {
        box.start[0] = row;
        array.read_bytes(box, DType::f2, buffer.data());
      }
    }
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return {{"seconds", best}};
}

Json answer(const Json& c) {
  const std::string op = c["op"];
  Json out = Json::object();
  if (op == "create") create(c);
  else if (op == "write") write(c);
  else if (op == "read") out = read(c);
  else if (op == "consolidate") Group::open(c["store"]).consolidate();
  else if (op == "digest") out["digest"] = content_digest(Group::open(c["store"]));
  else if (op == "threads") set_store_threads(c["count"]);
  else if (op == "time") out = time(c);
  else throw usage_error("op {}", op);
  out["ok"] = true;
  return out;
}

}  // namespace
}  // namespace me2::store

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    me2::Json out;
    try {
      out = me2::store::answer(me2::Json::parse(line));
    } catch (const std::exception& e) {
      out["error"] = e.what();
    }
    std::cout << out.dump() << std::endl;
  }
}
