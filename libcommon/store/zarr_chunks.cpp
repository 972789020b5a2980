// Geometry of boxes and chunks, and single chunks between file and memory.
#include <algorithm>
#include <cstring>

#include "store/convert.h"
#include "store/zarr_impl.h"

namespace me2::store {

Shape inner_counts(const ArrayMeta& meta) {
  Shape counts(meta.grid.size());
  for (std::size_t k = 0; k < counts.size(); ++k) counts[k] = meta.grid[k] / meta.inner[k];
  return counts;
}

Shape unravel(std::int64_t i, const Shape& counts) {
  Shape index(counts.size());
  for (std::size_t k = counts.size(); k-- > 0;) {
    index[k] = i % counts[k];
    i /= counts[k];
  }
  return index;
}

Box intersection(const Box& a, const Box& b) {
  Box out = a;
  for (std::size_t k = 0; k < a.start.size(); ++k) {
    out.start[k] = std::max(a.start[k], b.start[k]);
    out.count[k] = std::max<std::int64_t>(0, std::min(a.start[k] + a.count[k], b.start[k] + b.count[k]) - out.start[k]);
  }
  return out;
}

Box grid_range(const Box& box, const Shape& chunk) {
  Box out = box;
  for (std::size_t k = 0; k < chunk.size(); ++k) {
    out.start[k] = box.start[k] / chunk[k];
    out.count[k] = (box.start[k] + box.count[k] - 1) / chunk[k] - out.start[k] + 1;
  }
  return out;
}

void for_each_run(const Box& chunk, const Box& box, const Box& piece, const std::function<void(std::int64_t, std::int64_t, std::int64_t)>& f) {
  const std::size_t axes = piece.count.size();
  std::size_t outer = axes;  // axes before this are walked one by one
  std::int64_t length = 1;
  while (outer > 0) {
    --outer;
    length *= piece.count[outer];
    if (piece.count[outer] != chunk.count[outer] || piece.count[outer] != box.count[outer]) break;
  }
  std::int64_t in_chunk = 0, in_box = 0, chunk_stride = 1, box_stride = 1;
  Shape chunk_strides(axes), box_strides(axes);
  for (std::size_t k = axes; k-- > 0;) {
    chunk_strides[k] = chunk_stride;
    box_strides[k] = box_stride;
    in_chunk += (piece.start[k] - chunk.start[k]) * chunk_stride;
    in_box += (piece.start[k] - box.start[k]) * box_stride;
    chunk_stride *= chunk.count[k];
    box_stride *= box.count[k];
  }
  Shape at(outer, 0);
  for (;;) {
    f(in_chunk, in_box, length);
    std::size_t k = outer;
    while (k > 0) {
      --k;
      in_chunk += chunk_strides[k];
      in_box += box_strides[k];
      if (++at[k] < piece.count[k]) break;
      in_chunk -= at[k] * chunk_strides[k];
      in_box -= at[k] * box_strides[k];
      at[k] = 0;
      if (k == 0) return;
    }
    if (outer == 0) return;
  }
}

namespace {

// stored[...] has axis k of `order` as its k-th axis. to_stored: from row-major `plain` into `stored`; else the other way.
void permute(const Shape& chunk, const std::vector<int>& order, std::size_t item, std::uint8_t* plain, std::uint8_t* stored, bool to_stored) {
  const std::size_t axes = chunk.size();
  Shape plain_strides(axes);
  std::int64_t n = 1;
  for (std::size_t k = axes; k-- > 0;) {
    plain_strides[k] = n;
    n *= chunk[k];
  }
  Shape at(axes, 0);
  std::int64_t element = 0;  // of plain
  for (std::int64_t i = 0; i < n; ++i) {
    std::uint8_t* a = plain + static_cast<std::size_t>(element) * item;
    std::uint8_t* b = stored + static_cast<std::size_t>(i) * item;
    if (to_stored) std::memcpy(b, a, item);
    else std::memcpy(a, b, item);
    for (std::size_t k = axes; k-- > 0;) {
      const auto axis = static_cast<std::size_t>(order[k]);
      element += plain_strides[axis];
      if (++at[k] < chunk[axis]) break;
      element -= at[k] * plain_strides[axis];
      at[k] = 0;
    }
  }
}

std::size_t chunk_bytes(const ArrayMeta& meta) { return static_cast<std::size_t>(element_count(meta.inner)) * meta.item; }

std::size_t swap_width(const ArrayMeta& meta) { return meta.codecs.big_endian && meta.dtype != DType::str ? meta.item : 1; }

ByteSpan read_encoded(const ReadFile& file, Extent extent) {
  thread_local Scratch scratch;
  std::uint8_t* to = scratch.get(extent.size);
  file.read(extent.offset, to, extent.size);
  return {to, extent.size};
}

void decode_bytes(const ArrayMeta& meta, const ReadFile& file, Extent extent, std::uint8_t* to) {
  const std::size_t bytes = chunk_bytes(meta);
  if (meta.codecs.bytes.empty()) {
    if (extent.size != bytes) throw data_error("{} bytes found, {} expected", extent.size, bytes);
    file.read(extent.offset, to, bytes);
  } else {
    meta.codecs.decode(read_encoded(file, extent), {to, bytes});
  }
}

}  // namespace

void decode_chunk(const ArrayMeta& meta, const ReadFile& file, Extent extent, std::uint8_t* to) {
  const std::size_t elements = static_cast<std::size_t>(element_count(meta.inner));
  if (meta.codecs.order.empty()) {
    decode_bytes(meta, file, extent, to);
  } else {
    thread_local Scratch scratch;
    std::uint8_t* stored = scratch.get(chunk_bytes(meta));
    decode_bytes(meta, file, extent, stored);
    permute(meta.inner, meta.codecs.order, meta.item, to, stored, false);
  }
  swap_bytes(to, swap_width(meta), elements);
  if (meta.dtype == DType::b1)
    for (std::size_t i = 0; i < elements; ++i) to[i] = to[i] != 0;
}

void encode_chunk(const ArrayMeta& meta, const std::uint8_t* chunk, Bytes& out) {
  const std::size_t bytes = chunk_bytes(meta);
  if (meta.codecs.order.empty() && swap_width(meta) == 1) return meta.codecs.encode({chunk, bytes}, out);
  thread_local Scratch scratch;
  std::uint8_t* stored = scratch.get(bytes);
  if (meta.codecs.order.empty()) std::memcpy(stored, chunk, bytes);
  else permute(meta.inner, meta.codecs.order, meta.item, const_cast<std::uint8_t*>(chunk), stored, true);
  swap_bytes(stored, swap_width(meta), static_cast<std::size_t>(element_count(meta.inner)));
  meta.codecs.encode({stored, bytes}, out);
}

namespace {

std::vector<std::string> permute_strings(const ArrayMeta& meta, std::span<const std::string> values, bool to_stored) {
  std::vector<std::uint32_t> plain(values.size()), stored(values.size());
  for (std::size_t i = 0; i < plain.size(); ++i) plain[i] = static_cast<std::uint32_t>(i);
  permute(meta.inner, meta.codecs.order, 4, reinterpret_cast<std::uint8_t*>(plain.data()), reinterpret_cast<std::uint8_t*>(stored.data()), true);
  std::vector<std::string> out(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) (to_stored ? out[i] : out[stored[i]]) = to_stored ? values[stored[i]] : values[i];
  return out;
}

}  // namespace

std::vector<std::string> decode_string_chunk(const ArrayMeta& meta, const ReadFile& file, Extent extent) {
  const std::size_t elements = static_cast<std::size_t>(element_count(meta.inner));
  std::vector<std::string> values;
  if (meta.string_kind == StringKind::vlen) {
    constexpr std::size_t kMost = std::size_t{1} << 30;
    values = decode_vlen_utf8(meta.codecs.decode_up_to(read_encoded(file, extent), kMost), elements);
  } else {
    const std::size_t bytes = chunk_bytes(meta);
    if (!expansion_is_possible(extent.size, bytes)) throw data_error("{} bytes cannot decode to the {} expected", extent.size, bytes);
    Bytes raw(bytes);
    decode_bytes(meta, file, extent, raw.data());
    const auto width = static_cast<std::size_t>(meta.string_width);
    values = meta.string_kind == StringKind::ucs4 ? decode_ucs4(raw, width, meta.codecs.big_endian) : decode_fixed_bytes(raw, width);
  }
  return meta.codecs.order.empty() ? values : permute_strings(meta, values, false);
}

Bytes encode_string_chunk(const ArrayMeta& meta, std::span<const std::string> given) {
  std::vector<std::string> permuted;
  if (!meta.codecs.order.empty()) permuted = permute_strings(meta, given, true), given = permuted;
  const auto width = static_cast<std::size_t>(meta.string_width);
  const Bytes raw = meta.string_kind == StringKind::vlen   ? encode_vlen_utf8(given)
                    : meta.string_kind == StringKind::ucs4 ? encode_ucs4(given, width, meta.codecs.big_endian)
                                                           : encode_fixed_bytes(given, width);
  Bytes out;
  meta.codecs.encode(raw, out);
  return out;
}

void check_box(const Array::Impl& array, const Box& box) {
  const Shape& shape = array.meta.shape;
  bool good = box.start.size() == shape.size() && box.count.size() == shape.size();
  for (std::size_t k = 0; good && k < shape.size(); ++k)
    good = box.start[k] >= 0 && box.count[k] >= 0 && box.start[k] <= shape[k] && box.count[k] <= shape[k] - box.start[k];
  if (!good)
    throw data_error("{}: elements from [{}], [{}] of them, were asked for; the shape is [{}]", array.shown, fmt::join(box.start, ", "),
                     fmt::join(box.count, ", "), fmt::join(shape, ", "));
}

}  // namespace me2::store
