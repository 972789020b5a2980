// Zarr v3 metadata: zarr.json of arrays and groups.
// Source: the Zarr core specification version 3, with the codecs bytes, transpose, sharding_indexed, blosc, gzip, zstd, crc32c and
// the string extensions as zarr-python 3 writes them.
#include <array>
#include <initializer_list>

#include "base/error.h"
#include "base/json.h"
#include "store/zarr_meta.h"

namespace me2::store {
namespace {

constexpr std::array<std::pair<DType, const char*>, 12> kNames{{{DType::b1, "bool"}, {DType::i1, "int8"}, {DType::i2, "int16"},
    {DType::i4, "int32"}, {DType::i8, "int64"}, {DType::u1, "uint8"}, {DType::u2, "uint16"}, {DType::u4, "uint32"}, {DType::u8, "uint64"},
    {DType::f2, "float16"}, {DType::f4, "float32"}, {DType::f8, "float64"}}};

const Json& member(const Json& object, const char* name, const std::string& where) {
  const auto it = object.find(name);
  if (it == object.end()) throw data_error("{}/zarr.json: member {} is missing", where, name);
  return *it;
}

// An extension: "name", or {"name": .., "configuration": {..}}.
struct Extension {
  std::string name;
  Json configuration = Json::object();
};

Extension extension(const Json& value, const char* what, const std::string& where) {
  if (value.is_string()) return {value.get<std::string>()};
  if (!value.is_object() || !value.contains("name") || !value["name"].is_string())
    throw data_error("{}/zarr.json: {} is {}, an object with a member name expected", where, what, value.dump());
  Extension out{value["name"].get<std::string>()};
  if (const auto it = value.find("configuration"); it != value.end()) {
    if (!it->is_object()) throw data_error("{}/zarr.json: {} {}: configuration is {}, an object expected", where, what, out.name, it->dump());
    out.configuration = *it;
  }
  return out;
}

std::int64_t integer(const Extension& e, const char* name, std::int64_t otherwise, std::int64_t low, std::int64_t high, const std::string& where) {
  const auto it = e.configuration.find(name);
  if (it == e.configuration.end()) return otherwise;
  if (!it->is_number_integer() || *it < low || *it > high)
    throw data_error("{}/zarr.json: {}: {} is {}, an integer from {} to {} expected", where, e.name, name, it->dump(), low, high);
  return it->get<std::int64_t>();
}

std::string one_of(const Extension& e, const char* name, const char* otherwise, std::initializer_list<const char*> choices, const std::string& where) {
  const Json value = e.configuration.value(name, Json(otherwise));
  for (const char* choice : choices)
    if (value == choice) return choice;
  throw data_error("{}/zarr.json: {}: {} is {}, one of {} expected", where, e.name, name, value.dump(), fmt::join(choices, ", "));
}

void check_members(const Json& json, std::initializer_list<std::string_view> known, const std::string& where) {
  for (const auto& [name, value] : json.items()) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    if (value.is_object() && value.value("must_understand", Json(true)) == false) continue;
    throw data_error("{}/zarr.json: member {} is not known and must be understood", where, name);
  }
}

Json parse_node(const std::string& text, const std::string& where) {
  Json json = parse_json(text, where + "/zarr.json");
  if (!json.is_object()) throw data_error("{}/zarr.json: a JSON object expected", where);
  const Json& format = member(json, "zarr_format", where);
  if (format != 3) throw data_error("{}/zarr.json: zarr_format is {}, 3 expected", where, format.dump());
  return json;
}

std::string node_type_of(const Json& json, const std::string& where) {
  const Json& type = member(json, "node_type", where);
  if (type != "array" && type != "group") throw data_error("{}/zarr.json: node_type is {}, \"array\" or \"group\" expected", where, type.dump());
  return type;
}

Json attributes_of(const Json& json, const std::string& where) {
  Json attributes = json.value("attributes", Json::object());
  if (!attributes.is_object()) throw data_error("{}/zarr.json: attributes is no object", where);
  return attributes;
}

void parse_data_type(const Json& value, ArrayMeta& meta, const std::string& where) {
  const Extension type = extension(value, "data_type", where);
  for (const auto& [dtype, name] : kNames)
    if (type.name == name) {
      meta.dtype = dtype;
      meta.item = item_size(dtype);
      return;
    }
  meta.dtype = DType::str;
  meta.item = 0;
  if (type.name == "string") {
    meta.string_kind = StringKind::vlen;
  } else if (type.name == "fixed_length_utf32" || type.name == "null_terminated_bytes") {
    meta.string_kind = type.name == "fixed_length_utf32" ? StringKind::ucs4 : StringKind::bytes;
    const std::int64_t bytes = integer(type, "length_bytes", 0, 1, 1 << 24, where);
    if (bytes == 0 || (meta.string_kind == StringKind::ucs4 && bytes % 4 != 0))
      throw data_error("{}/zarr.json: data_type {}: length_bytes is {}", where, type.name, bytes);
    meta.item = static_cast<std::size_t>(bytes);
    meta.string_width = meta.string_kind == StringKind::ucs4 ? bytes / 4 : bytes;
  } else {
    throw data_error("{}/zarr.json: data_type \"{}\" is not supported", where, type.name);
  }
}

ByteCodec byte_codec(const Extension& e, std::size_t item, const std::string& where) {
  ByteCodec codec;
  if (e.name == "zstd") {
    codec.kind = ByteCodec::Kind::zstd;
    codec.level = static_cast<int>(integer(e, "level", 0, -131072, 22, where));
    codec.checksum = e.configuration.value("checksum", Json(false)) == true;
  } else if (e.name == "gzip") {
    codec.kind = ByteCodec::Kind::gzip;
    codec.level = static_cast<int>(integer(e, "level", 5, 0, 9, where));
  } else if (e.name == "crc32c") {
    codec.kind = ByteCodec::Kind::crc32c;
  } else if (e.name == "blosc") {
    codec.kind = ByteCodec::Kind::blosc;
    codec.compressor = one_of(e, "cname", "zstd", {"lz4", "lz4hc", "blosclz", "zstd", "snappy", "zlib"}, where);
    codec.level = static_cast<int>(integer(e, "clevel", 5, 0, 9, where));
    const std::string shuffle = one_of(e, "shuffle", "noshuffle", {"noshuffle", "shuffle", "bitshuffle"}, where);
    codec.shuffle = shuffle == "noshuffle" ? 0 : shuffle == "shuffle" ? 1 : 2;
    codec.typesize = static_cast<std::size_t>(integer(e, "typesize", static_cast<std::int64_t>(std::max<std::size_t>(1, item)), 1, 255, where));
    codec.blocksize = static_cast<std::size_t>(integer(e, "blocksize", 0, 0, kMaxChunkBytes / 2, where));
  } else {
    throw data_error("{}/zarr.json: codec \"{}\" is not supported", where, e.name);
  }
  return codec;
}

bool is_big_endian(const Extension& e, const std::string& where) { return one_of(e, "endian", "little", {"little", "big"}, where) == "big"; }

// "transpose" after what `order` holds already: stored axis k of the result is axis order[k] of the array.
void add_transpose(const Extension& e, std::size_t axes, std::vector<int>& order, const std::string& where) {
  const Json& given = e.configuration.value("order", Json());
  const auto refuse = [&] { return data_error("{}/zarr.json: transpose: order is {}, a permutation of {} axes expected", where, given.dump(), axes); };
  if (!given.is_array() || given.size() != axes) throw refuse();
  std::vector<int> before = order, after;
  if (before.empty())
    for (std::size_t k = 0; k < axes; ++k) before.push_back(static_cast<int>(k));
  std::vector<bool> seen(axes);
  for (const Json& axis : given) {
    if (!axis.is_number_integer() || axis < 0 || axis >= axes || seen[axis.get<std::size_t>()]) throw refuse();
    seen[axis.get<std::size_t>()] = true;
    after.push_back(before[axis.get<std::size_t>()]);
  }
  order = after;
}

CodecChain parse_index_codecs(const Json& list, const std::string& where) {
  CodecChain chain;
  bool serialized = false;
  if (!list.is_array()) throw data_error("{}/zarr.json: index_codecs is {}, a list expected", where, list.dump());
  for (const Json& entry : list) {
    const Extension e = extension(entry, "index codec", where);
    if (e.name == "bytes" && !serialized) {
      chain.big_endian = is_big_endian(e, where);
      serialized = true;
    } else if (e.name == "crc32c" && serialized) {
      chain.bytes.push_back(byte_codec(e, 8, where));
    } else {
      throw data_error("{}/zarr.json: index codec \"{}\" is not supported there (bytes, then crc32c, are)", where, e.name);
    }
  }
  if (!serialized) throw data_error("{}/zarr.json: index_codecs lack the codec bytes", where);
  return chain;
}

void parse_codecs(const Json& list, ArrayMeta& meta, bool inside_shard, const std::string& where) {
  if (!list.is_array()) throw data_error("{}/zarr.json: codecs is {}, a list expected", where, list.dump());
  bool serialized = false;
  for (const Json& entry : list) {
    const Extension e = extension(entry, "codec", where);
    const auto need = [&](bool holds, const char* what) {
      if (!holds) throw data_error("{}/zarr.json: codecs: {} {}", where, e.name, what);
    };
    if (e.name == "transpose") {
      need(!serialized, "comes after the codec that makes bytes");
      add_transpose(e, meta.shape.size(), meta.codecs.order, where);
    } else if (e.name == "bytes") {
      need(!serialized, "is a second codec that makes bytes");
      need(meta.string_kind != StringKind::vlen, "cannot store strings");
      meta.codecs.big_endian = is_big_endian(e, where);
      serialized = true;
    } else if (e.name == "vlen-utf8") {
      need(!serialized, "is a second codec that makes bytes");
      need(meta.string_kind == StringKind::vlen, "stores strings only");
      meta.codecs.vlen_utf8 = serialized = true;
    } else if (e.name == "sharding_indexed") {
      need(!serialized, "is a second codec that makes bytes");
      need(!inside_shard, "inside sharding_indexed is not supported");
      need(meta.codecs.order.empty(), "after transpose is not supported");
      meta.inner = parse_shape(member(e.configuration, "chunk_shape", where), "chunk_shape", true, where + "/zarr.json");
      if (meta.inner.size() != meta.shape.size())
        throw data_error("{}/zarr.json: shape has {} axes but the inner chunk_shape has {}", where, meta.shape.size(), meta.inner.size());
      parse_codecs(member(e.configuration, "codecs", where), meta, true, where);
      meta.index_codecs = parse_index_codecs(member(e.configuration, "index_codecs", where), where);
      meta.index_at_start = one_of(e, "index_location", "end", {"start", "end"}, where) == "start";
      meta.sharded = serialized = true;
    } else {
      const ByteCodec codec = byte_codec(e, meta.item, where);
      if (!serialized) throw data_error("{}/zarr.json: codecs: no codec that makes bytes (\"bytes\") before {}", where, e.name);
      need(!meta.sharded || inside_shard, "after sharding_indexed is not supported");
      meta.codecs.bytes.push_back(codec);
    }
  }
  if (!serialized) throw data_error("{}/zarr.json: codecs: no codec that makes bytes", where);
}

Json dump_codec(const ByteCodec& codec) {
  Json configuration = Json::object();
  switch (codec.kind) {
    case ByteCodec::Kind::zstd: configuration = {{"level", codec.level}, {"checksum", codec.checksum}}; break;
    case ByteCodec::Kind::gzip: case ByteCodec::Kind::zlib: configuration = {{"level", codec.level}}; break;
    case ByteCodec::Kind::crc32c: return {{"name", "crc32c"}};
    case ByteCodec::Kind::blosc: {
      constexpr const char* kShuffle[] = {"noshuffle", "shuffle", "bitshuffle"};
      configuration = {{"typesize", codec.typesize}, {"cname", codec.compressor}, {"clevel", codec.level},
                       {"shuffle", kShuffle[codec.shuffle]}, {"blocksize", codec.blocksize}};
    }
  }
  return {{"name", codec.name()}, {"configuration", configuration}};
}

Json dump_chain(const CodecChain& chain, std::size_t item) {
  Json codecs = Json::array();
  if (chain.vlen_utf8) {
    codecs.push_back({{"name", "vlen-utf8"}});
  } else {
    Json bytes{{"name", "bytes"}};
    if (item > 1) bytes["configuration"] = {{"endian", "little"}};
    codecs.push_back(bytes);
  }
  for (const ByteCodec& codec : chain.bytes) codecs.push_back(dump_codec(codec));
  return codecs;
}

}  // namespace

std::string v3_node_type(const std::string& text, const std::string& where) { return node_type_of(parse_node(text, where), where); }

Json parse_v3_group(const std::string& text, const std::string& where) {
  const Json json = parse_node(text, where);
  if (node_type_of(json, where) != "group") throw data_error("{} is an array, a group was expected", where);
  check_members(json, {"zarr_format", "node_type", "attributes", "consolidated_metadata"}, where);
  return attributes_of(json, where);
}

ArrayMeta parse_v3(const std::string& text, const std::string& where) {
  const Json json = parse_node(text, where);
  if (node_type_of(json, where) != "array") throw data_error("{} is a group, an array was expected", where);
  check_members(json, {"zarr_format", "node_type", "shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "codecs", "attributes",
                       "dimension_names", "storage_transformers"}, where);
  if (const auto it = json.find("storage_transformers"); it != json.end() && !(it->is_array() && it->empty()))
    throw data_error("{}/zarr.json: storage_transformers are not supported", where);
  ArrayMeta meta;
  meta.shape = parse_shape(member(json, "shape", where), "shape", false, where + "/zarr.json");
  parse_data_type(member(json, "data_type", where), meta, where);

  const Extension grid = extension(member(json, "chunk_grid", where), "chunk_grid", where);
  if (grid.name != "regular") throw data_error("{}/zarr.json: chunk_grid \"{}\" is not supported (regular is)", where, grid.name);
  meta.grid = meta.inner = parse_shape(member(grid.configuration, "chunk_shape", where), "chunk_shape", true, where + "/zarr.json");
  if (meta.grid.size() != meta.shape.size())
    throw data_error("{}/zarr.json: shape has {} axes but chunk_shape has {}", where, meta.shape.size(), meta.grid.size());

  const Extension keys = extension(member(json, "chunk_key_encoding", where), "chunk_key_encoding", where);
  if (keys.name != "default" && keys.name != "v2")
    throw data_error("{}/zarr.json: chunk_key_encoding \"{}\" is not supported (default and v2 are)", where, keys.name);
  meta.key_prefix = keys.name == "default";
  meta.separator = one_of(keys, "separator", meta.key_prefix ? "/" : ".", {"/", "."}, where)[0];

  parse_codecs(member(json, "codecs", where), meta, false, where);
  const Json& fill = member(json, "fill_value", where);
  if (meta.dtype != DType::str) {
    if (fill.is_null()) throw data_error("{}/zarr.json: fill_value is null", where);
    meta.fill = parse_fill(fill, meta.dtype, where + "/zarr.json");
  } else if (fill.is_string() && (meta.string_kind != StringKind::bytes || fill == "")) {
    meta.fill_string = fill;
  } else {
    throw data_error("{}/zarr.json: fill_value {} of a string array is not supported", where, fill.dump());
  }
  if (const auto it = json.find("dimension_names"); it != json.end() && !it->is_null()) {
    if (!it->is_array() || it->size() != meta.shape.size())
      throw data_error("{}/zarr.json: dimension_names is {}, {} names expected", where, it->dump(), meta.shape.size());
    for (const Json& name : *it) {
      if (!name.is_string() && !name.is_null()) throw data_error("{}/zarr.json: dimension_names holds {}", where, name.dump());
      meta.dimension_names.push_back(name.is_string() ? name.get<std::string>() : "");
    }
  }
  check_sizes(meta, "chunk_shape", where + "/zarr.json");
  meta.attributes = std::make_shared<const Json>(attributes_of(json, where));
  return meta;
}

std::string dump_v3(const ArrayMeta& meta) {
  Json json{{"zarr_format", 3}, {"node_type", "array"}, {"shape", meta.shape}};
  for (const auto& [dtype, name] : kNames)
    if (dtype == meta.dtype) json["data_type"] = name;
  if (meta.dtype == DType::str) json["data_type"] = "string";
  json["chunk_grid"] = {{"name", "regular"}, {"configuration", {{"chunk_shape", meta.grid}}}};
  json["chunk_key_encoding"] = {{"name", "default"}, {"configuration", {{"separator", "/"}}}};
  json["fill_value"] = meta.dtype == DType::str ? Json("") : dump_fill(meta.fill, meta.dtype);
  if (meta.sharded) {
    const Json configuration{{"chunk_shape", meta.inner}, {"codecs", dump_chain(meta.codecs, meta.item)},
                             {"index_codecs", dump_chain(meta.index_codecs, 8)}, {"index_location", "end"}};
    json["codecs"] = Json::array({Json{{"name", "sharding_indexed"}, {"configuration", configuration}}});
  } else {
    json["codecs"] = dump_chain(meta.codecs, meta.item);
  }
  json["attributes"] = *meta.attributes;
  if (!meta.dimension_names.empty()) json["dimension_names"] = meta.dimension_names;
  return json.dump(2) + "\n";
}

}  // namespace me2::store
