#include "store/zarr_meta.h"

#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "store/convert.h"

namespace me2::store {

std::size_t item_size(DType dtype) {
  switch (dtype) {
    case DType::b1: case DType::i1: case DType::u1: return 1;
    case DType::i2: case DType::u2: case DType::f2: return 2;
    case DType::i4: case DType::u4: case DType::f4: return 4;
    case DType::i8: case DType::u8: case DType::f8: return 8;
    case DType::str: return 0;
  }
  return 0;
}

const char* dtype_name(DType dtype) {
  switch (dtype) {
    case DType::b1: return "bool";
    case DType::i1: return "i1";
    case DType::i2: return "i2";
    case DType::i4: return "i4";
    case DType::i8: return "i8";
    case DType::u1: return "u1";
    case DType::u2: return "u2";
    case DType::u4: return "u4";
    case DType::u8: return "u8";
    case DType::f2: return "f2";
    case DType::f4: return "f4";
    case DType::f8: return "f8";
    case DType::str: return "string";
  }
  return "";
}

std::int64_t element_count(const Shape& shape) {
  std::int64_t n = 1;
  for (const std::int64_t extent : shape) n *= extent;
  return n;
}

Shape parse_shape(const Json& value, const char* member, bool positive, const std::string& where) {
  if (!value.is_array()) throw data_error("{}: {} is {}, a list of integers expected", where, member, value.dump());
  constexpr std::size_t kMostAxes = 32;
  if (value.size() > kMostAxes) throw data_error("{}: {} has {} axes, at most {} expected", where, member, value.size(), kMostAxes);
  Shape shape;
  for (const Json& extent : value) {
    const bool fits = extent.is_number_integer() &&
                      (!extent.is_number_unsigned() || extent.get<std::uint64_t>() <= std::numeric_limits<std::int64_t>::max());
    if (!fits || extent.get<std::int64_t>() < (positive ? 1 : 0))
      throw data_error("{}: {} holds {}, {} integers expected", where, member, extent.dump(), positive ? "positive" : "non-negative");
    shape.push_back(extent.get<std::int64_t>());
  }
  return shape;
}

namespace {

// Number of elements times `item`; nothing when it passes `most`. Zero extents do not hide an overflow of the others.
std::optional<std::int64_t> checked_bytes(const Shape& shape, std::size_t item, std::int64_t most) {
  std::int64_t n = static_cast<std::int64_t>(std::max<std::size_t>(item, 1));
  bool empty = false;
  for (const std::int64_t extent : shape) {
    empty = empty || extent == 0;
    if (__builtin_mul_overflow(n, std::max<std::int64_t>(extent, 1), &n) || n > most) return std::nullopt;
  }
  return empty ? 0 : n;
}

}  // namespace

void check_sizes(const ArrayMeta& meta, const char* chunk_member, const std::string& where) {
  if (meta.grid.size() != meta.shape.size() || meta.inner.size() != meta.shape.size())
    throw data_error("{}: shape has {} axes but {} has {}", where, meta.shape.size(), chunk_member,
                     meta.grid.size() != meta.shape.size() ? meta.grid.size() : meta.inner.size());
  const std::size_t item = std::max<std::size_t>(meta.item, 1);
  if (!checked_bytes(meta.shape, item, std::numeric_limits<std::int64_t>::max()))
    throw data_error("{}: shape [{}] overflows 64 bits", where, fmt::join(meta.shape, ", "));
  if (!checked_bytes(meta.inner, item, kMaxChunkBytes))
    throw data_error("{}: {} [{}] of {}-byte elements passes the limit of {} bytes", where, chunk_member, fmt::join(meta.inner, ", "),
                     item, kMaxChunkBytes);
  constexpr std::int64_t kMostInner = std::int64_t{1} << 24;
  std::int64_t inner = 1;
  for (std::size_t k = 0; k < meta.grid.size(); ++k) {
    if (meta.grid[k] % meta.inner[k] != 0)
      throw data_error("{}: chunk_shape [{}] of the shards is no multiple of the inner chunk_shape [{}]", where, fmt::join(meta.grid, ", "),
                       fmt::join(meta.inner, ", "));
    if (__builtin_mul_overflow(inner, meta.grid[k] / meta.inner[k], &inner) || inner > kMostInner)
      throw data_error("{}: chunk_shape [{}] holds more than {} inner chunks", where, fmt::join(meta.grid, ", "), kMostInner);
  }
  // Offsets within a shard, and coordinates at the array's edge, stay within 64 bits.
  if (!checked_bytes(meta.grid, item, std::int64_t{1} << 52))
    throw data_error("{}: {} [{}] is too large", where, chunk_member, fmt::join(meta.grid, ", "));
}

namespace {

template <class T>
void put(Bytes& out, T value) {
  out.resize(sizeof value);
  std::memcpy(out.data(), &value, sizeof value);
}

template <class T>
bool put_integer(Bytes& out, const Json& value) {
  if (value.is_number_float()) {  // 0.0 for an integer array is what some writers leave
    const double v = value.get<double>();
    if (v != std::trunc(v) || std::abs(v) > 9.0e15) return false;
    const auto whole = static_cast<std::int64_t>(v);
    if (!std::in_range<T>(whole)) return false;
    put(out, static_cast<T>(whole));
    return true;
  }
  if (!value.is_number_integer()) return false;
  if (value.is_number_unsigned() ? !std::in_range<T>(value.get<std::uint64_t>()) : !std::in_range<T>(value.get<std::int64_t>())) return false;
  put(out, value.is_number_unsigned() ? static_cast<T>(value.get<std::uint64_t>()) : static_cast<T>(value.get<std::int64_t>()));
  return true;
}

bool put_float(Bytes& out, const Json& value, DType dtype) {
  double v = 0;
  if (value.is_number()) {
    v = value.get<double>();
  } else if (value.is_string()) {
    const std::string& text = value.get_ref<const std::string&>();
    const std::size_t item = item_size(dtype);
    if (text == "NaN") v = std::numeric_limits<double>::quiet_NaN();
    else if (text == "Infinity") v = std::numeric_limits<double>::infinity();
    else if (text == "-Infinity") v = -std::numeric_limits<double>::infinity();
    else if (text.size() == 2 + 2 * item && text.compare(0, 2, "0x") == 0) {  // the raw bits, big-endian
      std::uint64_t bits = 0;
      const auto [end, error] = std::from_chars(text.data() + 2, text.data() + text.size(), bits, 16);
      if (error != std::errc{} || end != text.data() + text.size()) return false;
      out.resize(item);
      std::memcpy(out.data(), &bits, item);  // little-endian host
      return true;
    } else {
      return false;
    }
  } else {
    return false;
  }
  if (dtype == DType::f8) put(out, v);
  else if (dtype == DType::f4) put(out, static_cast<float>(v));
  else put(out, float_to_half(static_cast<float>(v)));
  return true;
}

}  // namespace

static_assert(std::endian::native == std::endian::little, "the codecs assume a little-endian host");

Bytes parse_fill(const Json& value, DType dtype, const std::string& where) {
  Bytes out;
  bool good = false;
  if (value.is_null()) {
    out.assign(item_size(dtype), 0);
    return out;
  }
  switch (dtype) {
    case DType::b1:
      good = value.is_boolean() || (value.is_number_integer() && (value == 0 || value == 1));
      if (good) put(out, static_cast<std::uint8_t>(value == true || value == 1));
      break;
    case DType::i1: good = put_integer<std::int8_t>(out, value); break;
    case DType::i2: good = put_integer<std::int16_t>(out, value); break;
    case DType::i4: good = put_integer<std::int32_t>(out, value); break;
    case DType::i8: good = put_integer<std::int64_t>(out, value); break;
    case DType::u1: good = put_integer<std::uint8_t>(out, value); break;
    case DType::u2: good = put_integer<std::uint16_t>(out, value); break;
    case DType::u4: good = put_integer<std::uint32_t>(out, value); break;
    case DType::u8: good = put_integer<std::uint64_t>(out, value); break;
    case DType::f2: case DType::f4: case DType::f8: good = put_float(out, value, dtype); break;
    case DType::str: break;
  }
  if (!good) throw data_error("{}: fill_value {} is no {}", where, value.dump(), dtype_name(dtype));
  return out;
}

Json dump_fill(const Bytes& fill, DType dtype) {
  if (dtype == DType::b1) return fill[0] != 0;
  if (dtype == DType::u8) {
    std::uint64_t v;
    std::memcpy(&v, fill.data(), 8);
    return v;
  }
  if (dtype == DType::f2 || dtype == DType::f4 || dtype == DType::f8) {
    double v;
    convert_elements(dtype, fill.data(), DType::f8, &v, 1);
    if (std::isnan(v)) return "NaN";
    if (std::isinf(v)) return v > 0 ? "Infinity" : "-Infinity";
    return v;
  }
  std::int64_t v;
  convert_elements(dtype, fill.data(), DType::i8, &v, 1);
  return v;
}

std::string chunk_key(const ArrayMeta& meta, const Shape& index) {
  std::string key;
  if (meta.format == 3 && meta.key_prefix) {
    key = "c";
    for (const std::int64_t i : index) key += meta.separator + std::to_string(i);
    return key;
  }
  if (index.empty()) return "0";
  for (std::size_t k = 0; k < index.size(); ++k) {
    if (k > 0) key += meta.separator;
    key += std::to_string(index[k]);
  }
  return key;
}

ArrayMeta meta_of(const ArraySpec& spec, int zarr_format, const std::string& where) {
  ArrayMeta meta;
  meta.format = zarr_format;
  meta.shape = spec.shape;
  meta.dtype = spec.dtype;
  meta.inner = spec.chunks;
  if (meta.inner.empty())
    for (const std::int64_t extent : spec.shape) meta.inner.push_back(std::max<std::int64_t>(1, extent));
  meta.grid = spec.shards.empty() ? meta.inner : spec.shards;
  for (const std::int64_t extent : spec.shape)
    if (extent < 0) throw data_error("{}: shape [{}] holds a negative extent", where, fmt::join(spec.shape, ", "));
  for (const Shape* chunk : {&meta.inner, &meta.grid})
    for (const std::int64_t extent : *chunk)
      if (extent < 1) throw data_error("{}: chunks [{}] hold an extent below 1", where, fmt::join(*chunk, ", "));
  meta.sharded = !spec.shards.empty();
  if (spec.dtype == DType::str) {
    meta.string_kind = StringKind::vlen;
    meta.codecs.vlen_utf8 = true;
    meta.item = 0;
  } else {
    meta.item = item_size(spec.dtype);
    meta.fill.resize(meta.item);
    convert_elements(DType::f8, &spec.fill, spec.dtype, meta.fill.data(), 1);
  }
  if (zarr_format == 2) {  // no shards there: the unit of writing is the chunk
    meta.inner = meta.grid;
    meta.sharded = false;
    meta.separator = '.';
  }
  ByteCodec codec;
  const std::size_t typesize = std::max<std::size_t>(1, meta.item);
  switch (spec.codec) {
    case Codec::raw: break;
    case Codec::zstd:
      codec.kind = ByteCodec::Kind::zstd;
      codec.level = spec.level.value_or(1);
      codec.checksum = true;
      meta.codecs.bytes = {codec};
      break;
    case Codec::gzip:
      codec.kind = ByteCodec::Kind::gzip;
      codec.level = spec.level.value_or(5);
      meta.codecs.bytes = {codec};
      break;
    case Codec::blosc_lz4: case Codec::blosc_zstd:
      codec.kind = ByteCodec::Kind::blosc;
      codec.compressor = spec.codec == Codec::blosc_lz4 ? "lz4" : "zstd";
      codec.level = spec.level.value_or(spec.codec == Codec::blosc_lz4 ? 5 : 1);
      codec.shuffle = typesize > 1 ? 1 : 2;
      codec.typesize = typesize;
      meta.codecs.bytes = {codec};
      break;
  }
  ByteCodec sum;
  sum.kind = ByteCodec::Kind::crc32c;
  if (spec.crc32c && zarr_format == 3) meta.codecs.bytes.push_back(sum);
  if (meta.sharded) meta.index_codecs.bytes = {sum};
  if (!spec.dimension_names.empty() && spec.dimension_names.size() != spec.shape.size())
    throw data_error("{}: {} dimension names for {} axes", where, spec.dimension_names.size(), spec.shape.size());
  meta.dimension_names = spec.dimension_names;
  Json attributes = spec.attributes ? *spec.attributes : Json::object();
  attributes["units"] = spec.units;
  attributes["long_name"] = spec.long_name;
  meta.attributes = std::make_shared<const Json>(std::move(attributes));
  check_sizes(meta, meta.sharded ? "chunk_shape" : "chunks", where);
  return meta;
}

}  // namespace me2::store
