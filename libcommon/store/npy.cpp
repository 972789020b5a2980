#include "store/npy.h"

#include <bit>
#include <cctype>
#include <cstring>

#include "base/error.h"
#include "store/convert.h"
#include "store/extent.h"

namespace me2::store {
namespace {

// The header is a Python dict literal with exactly three keys; this reads that and nothing more.
class DictReader {
 public:
  DictReader(std::string_view text, const std::string& where) : text_(text), where_(where) {}

  void read(std::string& descr, bool& fortran, Shape& shape) {
    int seen = 0;
    expect('{');
    while (!accept('}')) {
      const std::string key = quoted();
      expect(':');
      if (key == "descr") {
        skip();
        if (at_ < text_.size() && text_[at_] == '[') fail("structured element types are not supported");
        descr = quoted();
        seen |= 1;
      } else if (key == "fortran_order") {
        fortran = boolean();
        seen |= 2;
      } else if (key == "shape") {
        shape = tuple();
        seen |= 4;
      } else {
        fail("unexpected key in the header");
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    if (seen != 7) fail("the header must hold descr, fortran_order and shape");
  }

 private:
  [[noreturn]] void fail(const char* what) { throw data_error("{}: not a .npy file: {}", where_, what); }
  void skip() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
  }
  bool accept(char c) {
    skip();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fail("malformed header");
  }
  std::string quoted() {
    skip();
    if (at_ >= text_.size() || (text_[at_] != '\'' && text_[at_] != '"')) fail("malformed header");
    const char quote = text_[at_++];
    const std::size_t end = text_.find(quote, at_);
    if (end == std::string_view::npos) fail("malformed header");
    std::string out(text_.substr(at_, end - at_));
    at_ = end + 1;
    return out;
  }
  bool boolean() {
    skip();
    for (const auto& [word, value] : {std::pair{"True", true}, std::pair{"False", false}})
      if (text_.substr(at_).starts_with(word)) {
        at_ += std::strlen(word);
        return value;
      }
    fail("fortran_order must be True or False");
  }
  Shape tuple() {
    Shape out;
    expect('(');
    while (!accept(')')) {
      skip();
      std::int64_t value = 0;
      const std::size_t start = at_;
      for (; at_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_])); ++at_)
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, text_[at_] - '0', &value)) fail("shape overflows");
      if (at_ == start) fail("malformed shape");
      if (at_ < text_.size() && text_[at_] == 'L') ++at_;  // Python 2 wrote 3L
      out.push_back(value);
      if (out.size() > 32) fail("more than 32 dimensions");
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return out;
  }

  std::string_view text_;
  const std::string& where_;
  std::size_t at_ = 0;
};

std::string type_code(DType t) { return t == DType::b1 ? "b1" : dtype_name(t); }

DType parse_descr(const std::string& descr, bool& swapped, const std::string& where) {
  if (descr.size() >= 2) {
    const char order = descr[0];
    swapped = order == (std::endian::native == std::endian::little ? '>' : '<');
    if (std::string("<>|=").find(order) != std::string::npos)
      for (const DType t : {DType::b1, DType::i1, DType::i2, DType::i4, DType::i8, DType::u1, DType::u2, DType::u4, DType::u8,
                            DType::f2, DType::f4, DType::f8})
        if (descr.substr(1) == type_code(t)) return t;
  }
  if (descr.find('O') != std::string::npos) throw data_error("{}: holds Python objects (a pickle), which are never read", where);
  throw data_error("{}: element type '{}' is not supported; expected a boolean, integer or float type", where, descr);
}

// Column-major elements of `shape` become row-major.
void reorder(const Shape& shape, std::size_t item, const std::byte* in, std::byte* out, std::int64_t first, std::int64_t count) {
  const std::size_t rank = shape.size();
  std::vector<std::int64_t> stride(rank, 1), index(rank, 0);
  for (std::size_t k = 1; k < rank; ++k) stride[k] = stride[k - 1] * shape[k - 1];
  std::int64_t total = rank ? count : 1;
  for (std::size_t k = 1; k < rank; ++k) total *= shape[k];
  for (std::int64_t n = 0; n < total; ++n) {
    std::int64_t at = rank ? first : 0;
    for (std::size_t k = 0; k < rank; ++k) at += index[k] * stride[k];
    std::memcpy(out + n * item, in + at * item, item);
    for (std::size_t k = rank; k-- > 0;) {
      if (++index[k] < (k == 0 ? count : shape[k])) break;
      index[k] = 0;
    }
  }
}

}  // namespace

std::int64_t NpyArray::size() const { return element_count(shape, "array"); }
void NpyArray::convert(DType as, void* out) const { convert_elements(dtype, bytes.data(), as, out, static_cast<std::size_t>(size())); }

NpyHeader parse_npy_header(std::span<const std::byte> file, const std::string& where) {
  const auto* p = reinterpret_cast<const unsigned char*>(file.data());
  if (file.size() < 10 || std::memcmp(p, "\x93NUMPY", 6) != 0) throw data_error("{}: not a .npy file: the magic bytes are missing", where);
  const int major = p[6];
  if (major < 1 || major > 3) throw data_error("{}: .npy format version {} found, 1 to 3 expected", where, major);
  const std::size_t prefix = major == 1 ? 10 : 12;
  if (file.size() < prefix) throw data_error("{}: truncated .npy header", where);
  std::size_t length = p[8] | p[9] << 8;
  if (major > 1) length |= static_cast<std::size_t>(p[10]) << 16 | static_cast<std::size_t>(p[11]) << 24;
  if (length > file.size() - prefix) throw data_error("{}: truncated .npy header: {} bytes announced, {} there", where, length, file.size() - prefix);
  if (length > 1 << 20) throw data_error("{}: .npy header of {} bytes is too long", where, length);
  NpyHeader header;
  std::string descr;
  DictReader({reinterpret_cast<const char*>(p) + prefix, length}, where).read(descr, header.fortran, header.shape);
  header.dtype = parse_descr(descr, header.swapped, where);
  header.data_offset = prefix + length;
  const std::int64_t bytes = checked_bytes(header.shape, item_size(header.dtype), where);
  const std::int64_t there = static_cast<std::int64_t>(file.size() - header.data_offset);
  if (there != bytes)
    throw data_error("{}: {} .npy data: {} bytes expected for shape [{}] of {}, {} found", where, there < bytes ? "truncated" : "over-long", bytes,
                     fmt::join(header.shape, ", "), dtype_name(header.dtype), there);
  return header;
}

NpyArray parse_npy(std::span<const std::byte> file, const std::string& where) {
  const NpyHeader h = parse_npy_header(file, where);
  NpyArray out{h.shape, h.dtype, {}};
  const std::size_t item = item_size(h.dtype);
  out.bytes.resize(file.size() - h.data_offset);
  if (out.bytes.empty()) return out;
  const std::byte* data = file.data() + h.data_offset;
  if (h.fortran && h.shape.size() > 1)
    reorder(h.shape, item, data, out.bytes.data(), 0, h.shape[0]);
  else
    std::memcpy(out.bytes.data(), data, out.bytes.size());
  if (h.swapped) swap_bytes(out.bytes.data(), item, out.bytes.size() / item);
  return out;
}

NpyArray read_npy(const std::string& path) {
  const MappedFile file(path);
  return parse_npy(file.bytes(), path);
}

NpyFile::NpyFile(const std::string& path) : file_(path), header_(parse_npy_header(file_.bytes(), path)) {
  if (header_.shape.empty()) throw data_error("{}: a single number where an array with rows was expected", path);
}

void NpyFile::read_rows(std::int64_t first, std::int64_t count, DType as, void* out) const {
  if (first < 0 || count < 0 || first > header_.shape[0] - count)
    throw data_error("{}: rows {}..{} asked for, {} there", file_.path(), first, first + count, header_.shape[0]);
  std::int64_t width = 1;
  for (std::size_t k = 1; k < header_.shape.size(); ++k) width *= header_.shape[k];
  const std::size_t item = item_size(header_.dtype), n = static_cast<std::size_t>(width * count);
  const std::byte* data = file_.bytes().data() + header_.data_offset;
  if (!header_.swapped && (!header_.fortran || header_.shape.size() == 1))
    return convert_elements(header_.dtype, data + first * width * static_cast<std::int64_t>(item), as, out, n);
  std::vector<std::byte> rows(n * item);
  if (header_.fortran && header_.shape.size() > 1)
    reorder(header_.shape, item, data, rows.data(), first, count);
  else
    std::memcpy(rows.data(), data + first * width * static_cast<std::int64_t>(item), rows.size());
  if (header_.swapped) swap_bytes(rows.data(), item, n);
  convert_elements(header_.dtype, rows.data(), as, out, n);
}

std::string npy_header(const Shape& shape, DType dtype) {
  std::string dims;
  for (const std::int64_t extent : shape) dims += fmt::format("{},", extent);  // (3,) and (3,4,) are both valid tuples
  const bool bytes = item_size(dtype) == 1;
  std::string dict = fmt::format("{{'descr': '{}{}', 'fortran_order': False, 'shape': ({}), }}", bytes ? '|' : '<', type_code(dtype), dims);
  dict.resize((10 + dict.size() + 1 + 63) / 64 * 64 - 11, ' ');
  dict += '\n';
  std::string out("\x93NUMPY\x01\x00", 8);
  out += static_cast<char>(dict.size() & 255);
  out += static_cast<char>(dict.size() >> 8);
  out += dict;
  return out;
}

void write_npy(const std::string& path, const Shape& shape, DType dtype, const void* values) {
  std::string out = npy_header(shape, dtype);
  const std::int64_t size = checked_bytes(shape, item_size(dtype), path);
  out.append(static_cast<const char*>(values), static_cast<std::size_t>(size));
  write_file_atomic(path, out);
}

}  // namespace me2::store
