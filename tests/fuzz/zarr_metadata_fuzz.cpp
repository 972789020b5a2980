// zarr.json, .zarray and .zattrs as anyone may have written them: parsed, or refused with an Error; and what was parsed is
// consistent enough to ask for chunk keys. The first byte chooses the format.
#include <cstdint>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "store/zarr_impl.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace me2::store;
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    if (data[0] % 3 == 2) {
      me2::store::parse_v3_group(text, "fuzz");
      return 0;
    }
    const ArrayMeta meta = data[0] % 3 ? parse_v3(text, "fuzz") : parse_v2(text, std::nullopt, "fuzz");
    chunk_key(meta, Shape(meta.shape.size(), 0));
    const Shape counts = inner_counts(meta);
    unravel(element_count(counts) - 1, counts);
    if (meta.dtype != DType::str && meta.fill.size() != meta.item) __builtin_trap();
    if (meta.codecs.order.empty() && meta.string_kind == StringKind::none) {
      if (meta.format == 3) parse_v3(dump_v3(meta), "again");
      else parse_v2(dump_v2(meta), dump_v2_attributes(meta), "again");
    }
  } catch (const me2::Error&) {
  }
  return 0;
}
