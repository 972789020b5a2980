// Zarr v2 metadata: .zarray, .zattrs.
// Source: the Zarr storage specification version 2; numcodecs for the codecs' members.
#include "base/error.h"
#include "base/json.h"
#include "store/zarr_meta.h"

namespace me2::store {
namespace {

const Json& member(const Json& object, const char* name, const std::string& where) {
  const auto it = object.find(name);
  if (it == object.end()) throw data_error("{}/.zarray: member {} is missing", where, name);
  return *it;
}

std::int64_t integer(const Json& object, const char* name, std::int64_t otherwise, std::int64_t low, std::int64_t high, const std::string& where) {
  const auto it = object.find(name);
  if (it == object.end() || it->is_null()) return otherwise;
  if (!it->is_number_integer() || *it < low || *it > high)
    throw data_error("{}/.zarray: {} is {}, an integer from {} to {} expected", where, name, it->dump(), low, high);
  return it->get<std::int64_t>();
}

void parse_dtype(const Json& value, ArrayMeta& meta, const std::string& where) {
  const auto refuse = [&] { return data_error("{}/.zarray: dtype {} is not supported", where, value.dump()); };
  if (!value.is_string()) throw refuse();
  const std::string& text = value.get_ref<const std::string&>();
  if (text.size() < 2 || std::string_view("<>|=").find(text[0]) == std::string_view::npos) throw refuse();
  meta.codecs.big_endian = text[0] == '>';
  const char kind = text[1];
  if (text.substr(1) == "O") {
    meta.dtype = DType::str;
    meta.string_kind = StringKind::vlen;
    meta.item = 0;
    return;
  }
  const std::string digits = text.substr(2);
  if (digits.empty() || digits.size() > 7 || digits.find_first_not_of("0123456789") != std::string::npos) throw refuse();
  const std::int64_t n = std::stoll(digits);
  if (kind == 'U' || kind == 'S') {
    if (n < 1) throw refuse();
    meta.dtype = DType::str;
    meta.string_kind = kind == 'U' ? StringKind::ucs4 : StringKind::bytes;
    meta.string_width = n;
    meta.item = static_cast<std::size_t>(kind == 'U' ? n * 4 : n);
    return;
  }
  for (const DType dtype : {DType::b1, DType::i1, DType::i2, DType::i4, DType::i8, DType::u1, DType::u2, DType::u4, DType::u8, DType::f2,
                            DType::f4, DType::f8}) {
    const char letter = dtype == DType::b1 ? 'b' : dtype_name(dtype)[0];
    if (letter == kind && n == static_cast<std::int64_t>(item_size(dtype))) {
      meta.dtype = dtype;
      meta.item = item_size(dtype);
      if (text[0] == '|' && meta.item > 1) throw refuse();
      return;
    }
  }
  throw refuse();
}

ByteCodec parse_compressor(const Json& value, std::size_t item, const std::string& where) {
  if (!value.is_object() || !value.contains("id") || !value["id"].is_string())
    throw data_error("{}/.zarray: compressor is {}, an object with a member id expected", where, value.dump());
  const std::string id = value["id"];
  ByteCodec codec;
  if (id == "zstd") {
    codec.kind = ByteCodec::Kind::zstd;
    codec.level = static_cast<int>(integer(value, "level", 0, -131072, 22, where));
    codec.checksum = value.value("checksum", Json(false)) == true;
  } else if (id == "gzip" || id == "zlib") {
    codec.kind = id == "gzip" ? ByteCodec::Kind::gzip : ByteCodec::Kind::zlib;
    codec.level = static_cast<int>(integer(value, "level", 1, -1, 9, where));
  } else if (id == "blosc") {
    codec.kind = ByteCodec::Kind::blosc;
    codec.level = static_cast<int>(integer(value, "clevel", 5, 0, 9, where));
    codec.blocksize = static_cast<std::size_t>(integer(value, "blocksize", 0, 0, kMaxChunkBytes / 2, where));
    codec.typesize = std::min<std::size_t>(std::max<std::size_t>(item, 1), 255);
    const Json cname = value.value("cname", Json("lz4"));
    if (!cname.is_string()) throw data_error("{}/.zarray: cname is {}, a string expected", where, cname.dump());
    codec.compressor = cname;
    codec.shuffle = static_cast<int>(integer(value, "shuffle", 1, -1, 2, where));
    if (codec.shuffle == -1) codec.shuffle = codec.typesize == 1 ? 2 : 1;  // numcodecs' automatic choice
  } else {
    throw data_error("{}/.zarray: codec \"{}\" is not supported (blosc, zstd, gzip and zlib are)", where, id);
  }
  return codec;
}

Json parse_attributes(const std::optional<std::string>& text, const std::string& where) {
  if (!text) return Json::object();
  Json attributes = parse_json(*text, where + "/.zattrs");
  if (!attributes.is_object()) throw data_error("{}/.zattrs: a JSON object expected", where);
  return attributes;
}

}  // namespace

ArrayMeta parse_v2(const std::string& text, const std::optional<std::string>& attributes_text, const std::string& where) {
  const Json json = parse_json(text, where + "/.zarray");
  if (!json.is_object()) throw data_error("{}/.zarray: a JSON object expected", where);
  ArrayMeta meta;
  meta.format = 2;
  const Json& format = member(json, "zarr_format", where);
  if (format != 2) throw data_error("{}/.zarray: zarr_format is {}, 2 expected", where, format.dump());
  meta.shape = parse_shape(member(json, "shape", where), "shape", false, where + "/.zarray");
  meta.grid = meta.inner = parse_shape(member(json, "chunks", where), "chunks", true, where + "/.zarray");
  parse_dtype(member(json, "dtype", where), meta, where);
  const Json order = json.value("order", Json("C"));
  if (order != "C" && order != "F") throw data_error("{}/.zarray: order is {}, \"C\" or \"F\" expected", where, order.dump());
  if (order == "F" && meta.shape.size() > 1)
    for (int k = static_cast<int>(meta.shape.size()); k-- > 0;) meta.codecs.order.push_back(k);
  const Json separator = json.value("dimension_separator", Json("."));
  if (separator != "." && separator != "/")
    throw data_error("{}/.zarray: dimension_separator is {}, \".\" or \"/\" expected", where, separator.dump());
  meta.separator = separator == "/" ? '/' : '.';

  bool strings = false;
  const Json filters = json.value("filters", Json());
  if (!filters.is_null() && !filters.is_array()) throw data_error("{}/.zarray: filters is {}, a list or null expected", where, filters.dump());
  for (const Json& filter : filters) {
    const Json id = filter.is_object() ? filter.value("id", Json()) : Json();
    if (id == "vlen-utf8" && meta.string_kind == StringKind::vlen && !strings) {
      strings = true;
      continue;
    }
    throw data_error("{}/.zarray: filter {} is not supported", where, id.is_string() ? id.dump() : filter.dump());
  }
  if (meta.string_kind == StringKind::vlen && !strings)
    throw data_error("{}/.zarray: dtype \"|O\" is not supported without the filter vlen-utf8", where);
  meta.codecs.vlen_utf8 = strings;
  const Json compressor = json.value("compressor", Json());
  if (!compressor.is_null()) meta.codecs.bytes.push_back(parse_compressor(compressor, meta.item, where));

  const Json fill = json.value("fill_value", Json());
  if (meta.dtype != DType::str) {
    meta.fill = parse_fill(fill, meta.dtype, where + "/.zarray");
  } else if (fill.is_string() && meta.string_kind != StringKind::bytes) {
    meta.fill_string = fill;
  } else if (!fill.is_null() && fill != 0 && fill != "") {
    throw data_error("{}/.zarray: fill_value {} of a string array is not supported", where, fill.dump());
  }
  check_sizes(meta, "chunks", where + "/.zarray");

  Json attributes = parse_attributes(attributes_text, where);
  if (const auto it = attributes.find("_ARRAY_DIMENSIONS"); it != attributes.end()) {
    if (it->is_array() && it->size() == meta.shape.size())
      for (const Json& name : *it) meta.dimension_names.push_back(name.is_string() ? name.get<std::string>() : "");
    attributes.erase("_ARRAY_DIMENSIONS");
  }
  meta.attributes = std::make_shared<const Json>(std::move(attributes));
  return meta;
}

std::string dump_v2(const ArrayMeta& meta) {
  Json json;
  json["zarr_format"] = 2;
  json["shape"] = meta.shape;
  json["chunks"] = meta.grid;
  const std::string endian = meta.item < 2 ? "|" : meta.codecs.big_endian ? ">" : "<";
  json["dtype"] = meta.string_kind == StringKind::vlen ? "|O" : meta.dtype == DType::b1 ? "|b1" : endian + dtype_name(meta.dtype);
  json["compressor"] = nullptr;
  if (!meta.codecs.bytes.empty()) {
    const ByteCodec& codec = meta.codecs.bytes[0];
    Json& c = json["compressor"] = Json{{"id", codec.name()}};
    if (codec.kind == ByteCodec::Kind::blosc) {
      c["cname"] = codec.compressor;
      c["clevel"] = codec.level;
      c["shuffle"] = codec.shuffle;
      c["blocksize"] = codec.blocksize;
    } else {
      c["level"] = codec.level;  // not "checksum": numcodecs of zarr-python 2.13's time has no such argument
    }
  }
  json["filters"] = nullptr;
  if (meta.string_kind == StringKind::vlen) json["filters"] = Json::array({Json{{"id", "vlen-utf8"}}});
  json["fill_value"] = meta.dtype == DType::str ? Json("") : dump_fill(meta.fill, meta.dtype);
  json["order"] = "C";
  json["dimension_separator"] = std::string(1, meta.separator);
  return json.dump(2) + "\n";
}

std::string dump_v2_attributes(const ArrayMeta& meta) {
  Json attributes = *meta.attributes;
  if (!meta.dimension_names.empty() || meta.shape.empty()) attributes["_ARRAY_DIMENSIONS"] = meta.dimension_names;
  return attributes.dump(2) + "\n";
}

}  // namespace me2::store
