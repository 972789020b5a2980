// What .zarray (v2) and zarr.json (v3) say about one array, in one form.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "store/codec.h"
#include "store/zarr.h"

namespace me2::store {

enum class StringKind { none, vlen, ucs4, bytes };

struct ArrayMeta {
  int format = 3;
  Shape shape;
  Shape grid;   // of one file: the chunk, or the shard
  Shape inner;  // the unit of reading; the same as grid when not sharded
  DType dtype = DType::f4;
  StringKind string_kind = StringKind::none;
  std::int64_t string_width = 0;  // characters (ucs4) or bytes
  std::size_t item = 4;           // bytes of one stored element; 0 for vlen strings
  Bytes fill;                     // one element, native order; empty for strings
  std::string fill_string;
  bool key_prefix = true;         // v3 "default" keys start with "c"
  char separator = '/';
  CodecChain codecs;              // of an inner chunk
  bool sharded = false;
  CodecChain index_codecs;
  bool index_at_start = false;
  std::vector<std::string> dimension_names;  // empty, or one per axis ("" where it has none)
  std::shared_ptr<const Json> attributes;    // without _ARRAY_DIMENSIONS
};

// Both throw Exit::data naming `where` (STORE/x) and the member that is wrong. `attributes`: .zattrs, where there is one.
ArrayMeta parse_v2(const std::string& text, const std::optional<std::string>& attributes, const std::string& where);
ArrayMeta parse_v3(const std::string& text, const std::string& where);
std::string dump_v2(const ArrayMeta& meta);             // .zarray
std::string dump_v2_attributes(const ArrayMeta& meta);  // .zattrs
std::string dump_v3(const ArrayMeta& meta);             // zarr.json

// Of a group. Throws like the above; checks must_understand.
Json parse_v3_group(const std::string& text, const std::string& where);  // its attributes
std::string v3_node_type(const std::string& text, const std::string& where);  // "array" or "group"

ArrayMeta meta_of(const ArraySpec& spec, int zarr_format, const std::string& where);

std::string chunk_key(const ArrayMeta& meta, const Shape& index);
std::int64_t element_count(const Shape& shape);  // of a shape that was checked

// Shared by the two parsers.
Shape parse_shape(const Json& value, const char* member, bool positive, const std::string& where);
void check_sizes(const ArrayMeta& meta, const char* chunk_member, const std::string& where);
Bytes parse_fill(const Json& value, DType dtype, const std::string& where);
Json dump_fill(const Bytes& fill, DType dtype);

}  // namespace me2::store
