#include "weights/value.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include <ATen/ATen.h>

#include "base/error.h"

namespace me2::weights {
namespace {

const char* kind_name(Value::Kind kind) {
  static constexpr const char* kNames[] = {"None", "a boolean", "an integer", "a large integer", "a number", "text", "bytes",
                                           "a list", "a tuple", "a dict", "a tensor", "a numpy array", "an object"};
  return kNames[static_cast<int>(kind)];
}

std::optional<at::ScalarType> numeric_dtype(const NumpyArray& a) {
  switch (a.kind) {
    case 'f': return a.item_size == 2 ? at::kHalf : a.item_size == 4 ? at::kFloat : a.item_size == 8 ? std::optional(at::kDouble) : std::nullopt;
    case 'i': return a.item_size == 1 ? at::kChar : a.item_size == 2 ? at::kShort : a.item_size == 4 ? at::kInt : std::optional(at::kLong);
    case 'u': return a.item_size == 1 ? at::kByte : a.item_size == 2 ? at::kUInt16 : a.item_size == 4 ? at::kUInt32 : std::optional(at::kUInt64);
    case 'b': return at::kBool;
    default: return std::nullopt;
  }
}

void append_utf8(std::string& out, std::uint32_t c) {
  if (c < 0x80) out += static_cast<char>(c);
  else if (c < 0x800) out += {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 63))};
  else if (c < 0x10000) out += {static_cast<char>(0xE0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 63)), static_cast<char>(0x80 | (c & 63))};
  else out += {static_cast<char>(0xF0 | (c >> 18 & 7)), static_cast<char>(0x80 | (c >> 12 & 63)), static_cast<char>(0x80 | (c >> 6 & 63)), static_cast<char>(0x80 | (c & 63))};
}

at::Tensor array_tensor(const NumpyArray& a) {
  const auto dtype = numeric_dtype(a);
  if (!dtype) throw data_error("a numpy array of kind {} has no numbers", a.kind);
  std::vector<std::int64_t> sizes = a.shape;
  if (a.fortran) std::reverse(sizes.begin(), sizes.end());
  at::Tensor out = at::empty(sizes, at::TensorOptions().dtype(*dtype));
  char* data = static_cast<char*>(out.mutable_data_ptr());
  if (!a.bytes.empty()) std::memcpy(data, a.bytes.data(), a.bytes.size());
  if (a.big_endian && a.item_size > 1)
    for (std::size_t i = 0; i < a.bytes.size(); i += a.item_size) std::reverse(data + i, data + i + a.item_size);
  if (!a.fortran || sizes.size() < 2) return out;
  std::vector<std::int64_t> axes(sizes.size());
  for (std::size_t i = 0; i < axes.size(); ++i) axes[i] = static_cast<std::int64_t>(axes.size() - 1 - i);
  return out.permute(axes).contiguous();
}

}  // namespace

Value::Value() : node_(std::make_shared<Node>()) {}
Value::Kind Value::kind() const { return node_->kind; }

const Node& Value::need(Kind k, const char* expected) const {
  if (node_->kind != k) throw data_error("{} expected, {} found", expected, kind_name(node_->kind));
  return *node_;
}

bool Value::boolean() const { return need(Kind::boolean, "a boolean").flag; }

std::int64_t Value::integer() const {
  if (is(Kind::array) && node_->array->scalar && (node_->array->kind == 'i' || node_->array->kind == 'u')) return tensor().item<std::int64_t>();
  return need(Kind::integer, "an integer").integer;
}

double Value::real() const {
  if (is(Kind::integer)) return static_cast<double>(node_->integer);
  if (is(Kind::array) && node_->array->scalar && numeric()) return tensor().item<double>();
  return need(Kind::real, "a number").real;
}

const std::string& Value::text() const {
  if (is(Kind::bytes) || is(Kind::big_integer) || is(Kind::opaque)) return node_->text;
  return need(Kind::text, "text").text;
}

const std::vector<Value>& Value::elements() const { return is(Kind::tuple) ? node_->elements : need(Kind::list, "a list").elements; }
const std::vector<std::pair<Value, Value>>& Value::items() const { return need(Kind::dict, "a dict").items; }

const Value* Value::find(const std::string& key) const {
  if (!is(Kind::dict)) return nullptr;
  for (auto it = node_->items.rbegin(); it != node_->items.rend(); ++it)
    if (it->first.is(Kind::text) && it->first.node()->text == key) return &it->second;
  return nullptr;
}

const Value& Value::at(const std::string& key) const {
  need(Kind::dict, "a dict");
  if (const Value* found = find(key)) return *found;
  throw data_error("key \"{}\" is missing", key);
}

at::Tensor Value::tensor() const {
  if (is(Kind::array)) return array_tensor(*node_->array);
  return need(Kind::tensor, "a tensor").tensor->load();
}

std::vector<std::int64_t> Value::shape() const { return is(Kind::array) ? node_->array->shape : need(Kind::tensor, "a tensor").tensor->shape; }

at::ScalarType Value::dtype() const {
  if (!is(Kind::array)) return need(Kind::tensor, "a tensor").tensor->dtype;
  const auto dtype = numeric_dtype(*node_->array);
  if (!dtype) throw data_error("a numpy array of kind {} has no numbers", node_->array->kind);
  return *dtype;
}

bool Value::numeric() const { return is(Kind::tensor) || (is(Kind::array) && numeric_dtype(*node_->array)); }

std::vector<std::string> Value::texts() const {
  const NumpyArray& a = *need(Kind::array, "a numpy array of text").array;
  if (a.kind != 'U' && a.kind != 'S') throw data_error("a numpy array of text expected, kind {} found", a.kind);
  std::int64_t count = 1;
  for (const auto n : a.shape) count *= n;
  std::vector<std::string> out(count);
  for (std::int64_t i = 0; i < count; ++i) {
    const char* at = a.bytes.data() + i * a.item_size;
    if (a.kind == 'S') {
      out[i].assign(at, a.item_size);
      out[i].erase(out[i].find_last_not_of('\0') + 1);
      continue;
    }
    std::vector<std::uint32_t> points(a.item_size / 4);
    for (std::size_t k = 0; k < points.size(); ++k) {
      std::memcpy(&points[k], at + 4 * k, 4);
      if (a.big_endian) points[k] = __builtin_bswap32(points[k]);
    }
    while (!points.empty() && points.back() == 0) points.pop_back();
    for (const auto point : points) {
      if (point > 0x10FFFF || (point >= 0xD800 && point < 0xE000)) throw data_error("element {} of a text array holds U+{:X}, which is no character", i, point);
      append_utf8(out[i], point);
    }
  }
  return out;
}

std::string Value::array_dtype() const {
  const NumpyArray& a = *need(Kind::array, "a numpy array").array;
  switch (a.kind) {
    case 'f': return fmt::format("float{}", a.item_size * 8);
    case 'i': return fmt::format("int{}", a.item_size * 8);
    case 'u': return fmt::format("uint{}", a.item_size * 8);
    case 'b': return "bool";
    case 'U': return fmt::format("{}U{}", a.big_endian ? ">" : "<", a.item_size / 4);
    default: return fmt::format("{}{}", a.kind, a.item_size);
  }
}

}  // namespace me2::weights
