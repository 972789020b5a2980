#include "weights/safetensors.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <string_view>

#include <ATen/ATen.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace me2::weights {
namespace {

constexpr std::uint64_t kMaxHeader = 100'000'000;
constexpr std::size_t kMaxTensors = 1'000'000, kMaxName = 4096, kMaxAxes = 64;

const std::map<std::string, at::ScalarType>& dtypes() {
  static const std::map<std::string, at::ScalarType> names{
      {"F64", at::kDouble},   {"F32", at::kFloat},   {"F16", at::kHalf},    {"BF16", at::kBFloat16},
      {"I64", at::kLong},     {"I32", at::kInt},     {"I16", at::kShort},   {"I8", at::kChar},
      {"U64", at::kUInt64},   {"U32", at::kUInt32},  {"U16", at::kUInt16},  {"U8", at::kByte},
      {"BOOL", at::kBool},    {"C64", at::kComplexFloat}, {"F8_E4M3", at::kFloat8_e4m3fn}, {"F8_E5M2", at::kFloat8_e5m2}};
  return names;
}

std::string dtype_label(at::ScalarType type, const std::string& path, const std::string& name) {
  for (const auto& [label, scalar] : dtypes())
    if (scalar == type) return label;
  throw data_error("{}: tensor {}: safetensors has no dtype for {}", path, name, c10::toString(type));
}

struct Record {
  std::string dtype;
  std::vector<std::uint64_t> shape, offsets;
  bool has_shape = false;
};

// Reads the header by its events: the fixed structure is checked on the way, and nothing is built that a hostile header could blow up.
class HeaderReader : public nlohmann::json_sax<Json> {
 public:
  explicit HeaderReader(const std::string& path) : path_(path) {}
  std::map<std::string, Record> records;

  bool null() override { return refuse("null"); }
  bool boolean(bool) override { return refuse("a boolean"); }
  bool number_float(double, const std::string&) override { return refuse("a fraction"); }
  bool number_integer(std::int64_t) override { return refuse("a negative number"); }
  bool binary(binary_t&) override { return refuse("binary"); }
  bool number_unsigned(std::uint64_t value) override {
    if (!numbers_) return refuse("a number");
    if (numbers_->size() >= kMaxAxes) throw data_error("{}: tensor {}: more than {} axes", path_, name_, kMaxAxes);
    numbers_->push_back(value);
    return true;
  }
  bool string(std::string& value) override {
    if (metadata_ && depth_ == 2) return true;
    if (depth_ != 2 || field_ != "dtype") return refuse("text");
    record_->dtype = value;
    return true;
  }
  bool start_object(std::size_t) override {
    if (depth_ >= 2 || numbers_) return refuse("an object");
    ++depth_;
    return true;
  }
  bool end_object() override {
    if (depth_ == 2 && !metadata_ && (record_->dtype.empty() || !record_->has_shape || record_->offsets.size() != 2))
      throw data_error("{}: tensor {}: dtype, shape and two data_offsets expected", path_, name_);
    --depth_;
    return true;
  }
  bool start_array(std::size_t) override {
    if (depth_ != 2 || metadata_ || numbers_) return refuse("a list");
    if (field_ == "shape") numbers_ = &record_->shape, record_->has_shape = true;
    else if (field_ == "data_offsets") numbers_ = &record_->offsets;
    else return refuse("a list");
    if (!numbers_->empty()) return refuse("a second list");
    return true;
  }
  bool end_array() override {
    numbers_ = nullptr;
    return true;
  }
  bool key(std::string& value) override {
    if (depth_ == 1) {
      name_ = value;
      metadata_ = value == "__metadata__";
      if (value.size() > kMaxName) throw data_error("{}: a tensor's name has {} bytes", path_, value.size());
      if (metadata_ && seen_metadata_) throw data_error("{}: __metadata__ occurs twice", path_);
      if (metadata_) return seen_metadata_ = true;
      if (records.size() >= kMaxTensors) throw data_error("{}: more than {} tensors", path_, kMaxTensors);
      const auto [it, fresh] = records.try_emplace(value);
      if (!fresh) throw data_error("{}: tensor {} occurs twice", path_, value);
      record_ = &it->second;
    } else if (!metadata_) {
      field_ = value;
      if (value != "dtype" && value != "shape" && value != "data_offsets") return refuse("key " + value);
    }
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const Json::exception&) override {
    throw data_error("{}: header: not valid JSON at byte {}", path_, position);
  }

 private:
  bool refuse(const std::string& what) { throw data_error("{}: header: unexpected {} at {}", path_, what, name_.empty() ? "its start" : name_); }
  const std::string& path_;
  std::string name_, field_;
  Record* record_ = nullptr;
  std::vector<std::uint64_t>* numbers_ = nullptr;
  bool metadata_ = false, seen_metadata_ = false;
  int depth_ = 0;
};

// The header as every writer makes it, in one pass without a JSON library: several times as fast, and opening is all header.
// False for anything out of the ordinary (escapes, other keys, malformed text): HeaderReader then reads it, or says what is wrong.
class PlainHeader {
 public:
  PlainHeader(const char* begin, const char* end) : at_(begin), end_(end) {}
  bool read(std::map<std::string, Record>& records) {
    if (!take('{')) return false;
    for (bool first = true; !take('}'); first = false) {
      std::string_view name;
      if ((!first && !take(',')) || !text(name) || name.size() > kMaxName || !take(':')) return false;
      if (name == "__metadata__") {
        if (metadata_ || !texts()) return false;
        metadata_ = true;
        continue;
      }
      const auto it = records.emplace_hint(records.end(), name, Record{});
      if (++tensors_ != records.size() || tensors_ > kMaxTensors || !record(it->second)) return false;
    }
    space();
    return at_ == end_;
  }

 private:
  void space() {
    while (at_ < end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\t' || *at_ == '\r')) ++at_;
  }
  bool take(char c) {
    space();
    if (at_ == end_ || *at_ != c) return false;
    ++at_;
    return true;
  }
  bool text(std::string_view& out) {
    if (!take('"')) return false;
    const char* from = at_;
    while (at_ < end_ && *at_ != '"') {
      if (*at_ == '\\' || static_cast<unsigned char>(*at_) < 0x20 || static_cast<unsigned char>(*at_) >= 0x80) return false;
      ++at_;
    }
    if (at_ == end_) return false;
    out = {from, static_cast<std::size_t>(at_ - from)};
    ++at_;
    return true;
  }
  bool texts() {  // {"key": "value", ...}
    if (!take('{')) return false;
    std::string_view ignored;
    for (bool first = true; !take('}'); first = false)
      if ((!first && !take(',')) || !text(ignored) || !take(':') || !text(ignored)) return false;
    return true;
  }
  bool numbers(std::vector<std::uint64_t>& out) {
    if (!out.empty() || !take('[')) return false;
    for (bool first = true; !take(']'); first = false) {
      if (!first && !take(',')) return false;
      space();
      std::uint64_t value = 0;
      const auto [stop, status] = std::from_chars(at_, end_, value);
      if (status != std::errc() || out.size() >= kMaxAxes || (*at_ == '0' && stop - at_ > 1)) return false;
      at_ = stop;
      out.push_back(value);
    }
    return true;
  }
  bool record(Record& r) {
    if (!take('{')) return false;
    for (int field = 0; field < 3; ++field) {
      std::string_view key, dtype;
      if ((field && !take(',')) || !text(key) || !take(':')) return false;
      if (key == "dtype") {
        if (!r.dtype.empty() || !text(dtype)) return false;
        r.dtype = dtype;
      } else if (key == "shape") {
        if (r.has_shape || !numbers(r.shape)) return false;
        r.has_shape = true;
      } else if (key != "data_offsets" || !numbers(r.offsets)) {
        return false;
      }
    }
    return take('}') && !r.dtype.empty() && r.has_shape && r.offsets.size() == 2;
  }
  const char* at_;
  const char* end_;
  std::size_t tensors_ = 0;
  bool metadata_ = false;
};

}  // namespace

StateDict::Entries read_safetensors(const std::string& path) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  std::uint64_t header_size = 0;
  if (bytes.size() < 8) throw data_error("{}: {} bytes are too few for a safetensors file", path, bytes.size());
  std::memcpy(&header_size, bytes.data(), 8);
  if (header_size > kMaxHeader || header_size > bytes.size() - 8)
    throw data_error("{}: not a safetensors file, or truncated: header of {} bytes announced in a file of {}", path, header_size, bytes.size());
  const char* text = reinterpret_cast<const char*>(bytes.data()) + 8;
  if (header_size < 2 || text[0] != '{') throw data_error("{}: header does not begin with {{", path);
  HeaderReader reader(path);
  if (!PlainHeader(text, text + header_size).read(reader.records)) {
    reader.records.clear();
    Json::sax_parse(text, text + header_size, &reader);
  }
  const auto data = bytes.subspan(8 + header_size);

  std::vector<std::tuple<std::uint64_t, std::uint64_t, const std::string*>> spans;
  StateDict::Entries entries;
  for (const auto& [name, record] : reader.records) {
    const auto dtype = dtypes().find(record.dtype);
    if (dtype == dtypes().end()) throw data_error("{}: tensor {}: dtype {} is not known", path, name, record.dtype);
    std::uint64_t expected = c10::elementSize(dtype->second);
    for (const auto n : record.shape)
      if (n > INT64_MAX || __builtin_mul_overflow(expected, n, &expected) || expected > INT64_MAX)
        throw data_error("{}: tensor {}: impossible shape [{}]", path, name, fmt::join(record.shape, ", "));
    const auto begin = record.offsets[0], end = record.offsets[1];
    if (begin > end || end > data.size())
      throw data_error("{}: tensor {}: bytes {} to {} of {} in the file", path, name, begin, end, data.size());
    if (end - begin != expected)
      throw data_error("{}: tensor {}: {} bytes, but {} [{}] needs {}", path, name, end - begin, record.dtype, fmt::join(record.shape, ", "), expected);
    spans.emplace_back(begin, end, &name);
    const std::byte* at = data.data() + begin;
    const std::vector<std::int64_t> shape(record.shape.begin(), record.shape.end());
    entries.emplace_hint(entries.end(), name, StateDict::Entry{shape, dtype->second, [at, shape, type = dtype->second, owner = file.owner()] {
      return tensor_over(at, shape, type, owner);
    }});
  }
  std::sort(spans.begin(), spans.end());
  std::uint64_t covered = 0;
  for (const auto& [begin, end, name] : spans) {
    if (begin != covered)
      throw data_error("{}: tensor {}: begins at byte {}, {} expected ({})", path, *name, begin, covered, begin < covered ? "overlap" : "hole");
    covered = end;
  }
  if (covered != data.size()) throw data_error("{}: {} bytes after the last tensor", path, data.size() - covered);
  return entries;
}

std::int64_t TensorShape::bytes() const {
  std::int64_t size = static_cast<std::int64_t>(c10::elementSize(dtype));
  for (const auto n : sizes) size *= n;
  return size;
}

SafetensorsLayout layout_safetensors(const std::string& path, const std::map<std::string, TensorShape>& tensors,
                                     const std::map<std::string, std::string>& metadata) {
  SafetensorsLayout out;
  for (const auto& [name, tensor] : tensors) out.order.push_back(name);
  // Widest elements first, as the reference writer does, so that every tensor is aligned.
  std::stable_sort(out.order.begin(), out.order.end(), [&](const std::string& a, const std::string& b) {
    return c10::elementSize(tensors.at(a).dtype) > c10::elementSize(tensors.at(b).dtype);
  });
  std::string header = "{";
  if (!metadata.empty()) header += "\"__metadata__\":" + Json(metadata).dump();
  std::uint64_t offset = 0;
  for (const auto& name : out.order) {
    const auto& tensor = tensors.at(name);
    const auto size = static_cast<std::uint64_t>(tensor.bytes());
    header += fmt::format("{}{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}", header.size() > 1 ? "," : "", Json(name).dump(),
                          dtype_label(tensor.dtype, path, name), fmt::join(tensor.sizes, ","), offset, offset + size);
    out.offsets[name] = offset;
    offset += size;
  }
  header += "}";
  header.append((8 - header.size() % 8) % 8, ' ');
  const std::uint64_t length = header.size();
  out.head.assign(reinterpret_cast<const char*>(&length), 8);
  out.head += header;
  for (auto& [name, at] : out.offsets) at += out.head.size();
  return out;
}

void save_safetensors(const std::string& path, const std::map<std::string, at::Tensor>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  std::map<std::string, TensorShape> shapes;
  for (const auto& [name, tensor] : tensors) shapes[name] = {tensor.sizes().vec(), tensor.scalar_type()};
  const auto layout = layout_safetensors(path, shapes, metadata);
  AtomicWriter file(path);
  file.write(layout.head.data(), layout.head.size());
  for (const auto& name : layout.order) {  // one tensor in memory at a time
    const at::Tensor tensor = tensors.at(name).detach().cpu().contiguous();
    file.write(tensor.const_data_ptr(), tensor.nbytes());
  }
  file.commit();
}

}  // namespace me2::weights
