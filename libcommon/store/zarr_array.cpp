// Array: boxes of elements to and from chunks, several at a time.
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>

#include "base/json.h"
#include "store/convert.h"
#include "store/parallel.h"
#include "store/zarr_impl.h"

namespace me2::store {
namespace {

constexpr std::int64_t kBytesWorthThreads = 512 << 10;
constexpr std::int64_t kFilesAtOnce = 32;

int threads_for(std::int64_t bytes) { return bytes >= kBytesWorthThreads ? store_threads() : 1; }

Box whole(const Shape& shape) { return {Shape(shape.size(), 0), shape}; }

Shape added(const Shape& a, const Shape& b, const Shape& scale) {
  Shape out = a;
  for (std::size_t k = 0; k < a.size(); ++k) out[k] += b[k] * scale[k];
  return out;
}

void fill_run(const ArrayMeta& meta, DType as, std::uint8_t* to, std::int64_t n) {
  std::uint8_t one[8];
  convert_elements(meta.dtype, meta.fill.data(), as, one, 1);
  const std::size_t item = item_size(as);
  if (n == 0) return;
  if (std::all_of(one, one + item, [&](std::uint8_t b) { return b == one[0]; })) {
    std::memset(to, one[0], static_cast<std::size_t>(n) * item);
    return;
  }
  std::memcpy(to, one, item);
  for (std::size_t done = item, all = static_cast<std::size_t>(n) * item; done < all;) {
    const std::size_t step = std::min(done, all - done);
    std::memcpy(to + done, to, step);
    done += step;
  }
}

// ---- reading

struct ReadCall {
  const Array::Impl& array;
  const Box& box;
  DType as;
  std::uint8_t* out;

  void place(const Unit& unit, std::int64_t inner) const {
    const ArrayMeta& meta = array.meta;
    const Box chunk{added(unit.origin, unravel(inner, inner_counts(meta)), meta.inner), meta.inner};
    const Box piece = intersection(chunk, box);
    const std::int64_t elements = volume(piece), all = element_count(meta.inner);
    if (elements == 0) return;
    const std::size_t item = meta.item, out_item = item_size(as);
    const std::optional<Extent> extent = unit.find(inner);
    if (!extent) {
      for_each_run(chunk, box, piece, [&](std::int64_t, std::int64_t to, std::int64_t n) { fill_run(meta, as, out + static_cast<std::size_t>(to) * out_item, n); });
      return;
    }
    const std::size_t bytes = static_cast<std::size_t>(all) * item;
    if (!expansion_is_possible(extent->size, bytes)) throw data_error("{} bytes cannot decode to the {} expected", extent->size, bytes);
    std::int64_t run_to = -1, runs = 0, run_length = 0;
    for_each_run(chunk, box, piece, [&](std::int64_t, std::int64_t to, std::int64_t n) {
      if (runs++ == 0) run_to = to, run_length = n;
    });
    if (elements == all && runs == 1 && as == meta.dtype) {  // straight to its place
      decode_chunk(meta, *unit.file, *extent, out + static_cast<std::size_t>(run_to) * out_item);
      return;
    }
    constexpr std::int64_t kRunWorthReading = 4096;
    if (meta.codecs.stored_as_is() && meta.dtype != DType::b1 && elements < all && run_length * static_cast<std::int64_t>(item) >= kRunWorthReading) {
      if (extent->size != bytes) throw data_error("{} bytes found, {} expected", extent->size, bytes);
      thread_local Scratch scratch;
      for_each_run(chunk, box, piece, [&](std::int64_t from, std::int64_t to, std::int64_t n) {
        std::uint8_t* const target = out + static_cast<std::size_t>(to) * out_item;
        const std::size_t run_bytes = static_cast<std::size_t>(n) * item;
        std::uint8_t* const raw = as == meta.dtype ? target : scratch.get(run_bytes);
        unit.file->read(extent->offset + static_cast<std::uint64_t>(from) * item, raw, run_bytes);
        if (as != meta.dtype) convert_elements(meta.dtype, raw, as, target, static_cast<std::size_t>(n));
      });
      return;
    }
    thread_local Scratch scratch;
    std::uint8_t* const decoded = scratch.get(bytes);
    decode_chunk(meta, *unit.file, *extent, decoded);
    for_each_run(chunk, box, piece, [&](std::int64_t from, std::int64_t to, std::int64_t n) {
      convert_elements(meta.dtype, decoded + static_cast<std::size_t>(from) * item, as, out + static_cast<std::size_t>(to) * out_item, static_cast<std::size_t>(n));
    });
  }
};

// The inner chunks of a unit that touch the box, as row-major numbers.
std::vector<std::int64_t> inner_chunks(const ArrayMeta& meta, const Shape& unit_origin, const Box& box) {
  const Shape counts = inner_counts(meta);
  Box local = intersection({unit_origin, meta.grid}, box);
  for (std::size_t k = 0; k < unit_origin.size(); ++k) local.start[k] -= unit_origin[k];
  const Box range = grid_range(local, meta.inner);
  std::vector<std::int64_t> out;
  for (std::int64_t i = 0, n = volume(range); i < n; ++i) {
    const Shape at = added(range.start, unravel(i, range.count), Shape(counts.size(), 1));
    std::int64_t number = 0;
    for (std::size_t k = 0; k < counts.size(); ++k) number = number * counts[k] + at[k];
    out.push_back(number);
  }
  return out;
}

// ---- writing

// Gives the encoded bytes of one inner chunk; `old`: the chunk as it is in the file now, where there is one.
struct ChunkSource {
  std::function<ByteSpan(const Box& chunk, const Unit& old, std::int64_t inner, Bytes& buffer)> encode;
};

void write_unit(const Array::Impl& array, const Box& box, const Unit& old, NewFile& file, int threads, const ChunkSource& source) {
  const ArrayMeta& meta = array.meta;
  if (!meta.sharded) {
    Bytes buffer;
    const ByteSpan bytes = in_chunk(array, old.key, -1, [&] { return source.encode({old.origin, meta.grid}, old, 0, buffer); });
    file.write(0, bytes.data(), bytes.size());
    return;
  }
  const Shape counts = inner_counts(meta);
  const std::int64_t n = element_count(counts);
  const std::size_t index_bytes = shard_index_bytes(meta.index_codecs, static_cast<std::size_t>(n));
  ShardIndex index(static_cast<std::size_t>(n));
  // Chunks are encoded by several threads but laid down in ascending order, so that the bytes do not depend on the threads.
  std::mutex mutex;
  std::condition_variable next;
  std::int64_t turn = 0;
  std::uint64_t end = meta.index_at_start ? index_bytes : 0;
  bool stopped = false;
  parallel_for(n, threads, [&](std::int64_t i) {
    Bytes buffer;
    ByteSpan bytes;
    bool present = true;
    try {
      const Box chunk{added(old.origin, unravel(i, counts), meta.inner), meta.inner};
      if (volume(intersection(chunk, box)) > 0) {
        bytes = in_chunk(array, old.key, i, [&] { return source.encode(chunk, old, i, buffer); });
      } else if (const std::optional<Extent> kept = old.find(i)) {
        buffer.resize(kept->size);
        old.file->read(kept->offset, buffer.data(), kept->size);
        bytes = buffer;
      } else {
        present = false;
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      stopped = true;
      next.notify_all();
      throw;
    }
    std::uint64_t offset;
    {
      std::unique_lock lock(mutex);
      next.wait(lock, [&] { return turn == i || stopped; });
      if (stopped) return;
      offset = end;
      if (present) {
        index[static_cast<std::size_t>(i)] = Extent{offset, bytes.size()};
        end += bytes.size();
      }
      ++turn;
      next.notify_all();
    }
    if (present) {
      try {
        file.write(offset, bytes.data(), bytes.size());
      } catch (...) {
        const std::lock_guard lock(mutex);
        stopped = true;
        next.notify_all();
        throw;
      }
    }
  });
  const Bytes encoded = encode_shard_index(index, meta.index_codecs);
  file.write(meta.index_at_start ? 0 : end, encoded.data(), encoded.size());
}

void write_units(const Array::Impl& array, const Box& box, std::int64_t bytes, const ChunkSource& source) {
  const Box range = grid_range(box, array.meta.grid);
  const std::int64_t n = volume(range);
  const int threads = threads_for(bytes);
  std::vector<std::string> written;
  for (std::int64_t first = 0; first < n; first += kFilesAtOnce) {
    const std::int64_t count = std::min(kFilesAtOnce, n - first);
    std::vector<std::optional<NewFile>> files(static_cast<std::size_t>(count));
    const bool many = count >= threads;
    parallel_for(count, many ? threads : 1, [&](std::int64_t i) {
      const Shape at = added(range.start, unravel(first + i, range.count), Shape(range.start.size(), 1));
      // What is there already is read only when the box leaves a part of the unit as it is.
      Unit old{chunk_key(array.meta, at), at, std::nullopt, nullptr};
      for (std::size_t k = 0; k < at.size(); ++k) old.origin[k] *= array.meta.grid[k];
      const Box inside = intersection({old.origin, array.meta.grid}, whole(array.meta.shape));
      if (volume(intersection(inside, box)) < volume(inside)) old = open_unit(array, at);
      auto& file = files[static_cast<std::size_t>(i)].emplace(array.files->writable(array.file_of(old.key)));
      write_unit(array, box, old, file, many ? 1 : threads, source);
      file.start_writeback();
    });
    // fsync waits for the disk, not the processor; many at once share its journal's commits.
    parallel_for(count, fsync_wanted() ? std::max(threads, kSyncsAtOnce) : 1, [&](std::int64_t i) { files[static_cast<std::size_t>(i)]->commit(); });
    for (const auto& file : files) written.push_back(file->path());
  }
  sync_folders(array.files->full(array.relative), written);
}

Error string_error(const Array::Impl& array, bool strings) {
  return data_error("{}: holds {}, {} were expected", array.shown, strings ? "strings" : dtype_name(array.meta.dtype), strings ? "numbers" : "strings");
}

}  // namespace

const std::string& Array::path() const { return impl_->shown; }
const Shape& Array::shape() const { return impl_->meta.shape; }
const Shape& Array::chunks() const { return impl_->meta.inner; }
const Shape& Array::write_unit() const { return impl_->meta.grid; }
DType Array::dtype() const { return impl_->meta.dtype; }
const std::vector<std::string>& Array::dimension_names() const { return impl_->meta.dimension_names; }
const Json& Array::attributes() const { return *impl_->meta.attributes; }
std::int64_t Array::size() const { return element_count(impl_->meta.shape); }

bool Array::has_unit(const Shape& grid_index) const {
  return impl_->files->open(impl_->file_of(chunk_key(impl_->meta, grid_index))).has_value();
}

void Array::check_memory(std::size_t item) const {
  // An array may announce any size and store nothing; what could never be held is refused before memory is asked for.
  const std::int64_t pages = ::sysconf(_SC_PHYS_PAGES), page = ::sysconf(_SC_PAGE_SIZE);
  std::int64_t bytes = 0;
  if (__builtin_mul_overflow(size(), static_cast<std::int64_t>(item), &bytes) || bytes > pages * page)
    throw data_error("{}: shape [{}] does not fit into this machine's memory", path(), fmt::join(shape(), ", "));
}

void Array::read_bytes(const Box& box, DType as, void* out) const {
  const Impl& array = *impl_;
  if (array.meta.dtype == DType::str || as == DType::str) throw string_error(array, true);
  check_box(array, box);
  if (volume(box) == 0) return;
  const ReadCall call{array, box, as, static_cast<std::uint8_t*>(out)};
  const Box range = grid_range(box, array.meta.grid);
  const std::int64_t files = volume(range);
  const int threads = threads_for(volume(box) * static_cast<std::int64_t>(array.meta.item));
  const auto unit_at = [&](std::int64_t i) { return open_unit(array, added(range.start, unravel(i, range.count), Shape(range.start.size(), 1))); };
  if (!array.meta.sharded) {
    parallel_for(files, threads, [&](std::int64_t i) {
      const Unit unit = unit_at(i);
      in_chunk(array, unit.key, 0, [&] { call.place(unit, 0); });
    });
    return;
  }
  for (std::int64_t first = 0; first < files; first += kFilesAtOnce) {
    std::vector<Unit> units;
    std::vector<std::pair<std::size_t, std::int64_t>> work;
    for (std::int64_t i = first; i < std::min(first + kFilesAtOnce, files); ++i) {
      units.push_back(unit_at(i));
      for (const std::int64_t inner : inner_chunks(array.meta, units.back().origin, box)) work.emplace_back(units.size() - 1, inner);
    }
    parallel_for(static_cast<std::int64_t>(work.size()), threads, [&](std::int64_t i) {
      const Unit& unit = units[work[static_cast<std::size_t>(i)].first];
      const std::int64_t inner = work[static_cast<std::size_t>(i)].second;
      in_chunk(array, unit.key, inner, [&] { call.place(unit, inner); });
    });
  }
}

void Array::write_bytes(const Box& box, DType from, const void* in) {
  const Impl& array = *impl_;
  const ArrayMeta& meta = array.meta;
  if (meta.dtype == DType::str || from == DType::str) throw string_error(array, true);
  check_box(array, box);
  if (volume(box) == 0) return;
  const auto* values = static_cast<const std::uint8_t*>(in);
  const std::size_t item = meta.item, from_item = item_size(from);
  const std::size_t all = static_cast<std::size_t>(element_count(meta.inner));
  ChunkSource source;
  source.encode = [&](const Box& chunk, const Unit& old, std::int64_t inner, Bytes& buffer) -> ByteSpan {
    const Box piece = intersection(chunk, box);
    std::int64_t runs = 0, run_from = 0;
    for_each_run(chunk, box, piece, [&](std::int64_t, std::int64_t at, std::int64_t) {
      if (runs++ == 0) run_from = at;
    });
    const std::uint8_t* plain = nullptr;
    thread_local Scratch scratch;
    if (static_cast<std::size_t>(volume(piece)) == all && runs == 1 && from == meta.dtype) {
      plain = values + static_cast<std::size_t>(run_from) * from_item;
    } else {
      std::uint8_t* const built = scratch.get(all * item);
      const Box inside = intersection(chunk, whole(meta.shape));
      if (const std::optional<Extent> extent = old.find(inner); extent && volume(piece) < volume(inside)) {
        if (!expansion_is_possible(extent->size, all * item)) throw data_error("{} bytes cannot decode to the {} expected", extent->size, all * item);
        decode_chunk(meta, *old.file, *extent, built);
      } else if (static_cast<std::size_t>(volume(piece)) < all) {
        fill_run(meta, meta.dtype, built, static_cast<std::int64_t>(all));
      }
      for_each_run(chunk, box, piece, [&](std::int64_t to, std::int64_t at, std::int64_t n) {
        convert_elements(from, values + static_cast<std::size_t>(at) * from_item, meta.dtype, built + static_cast<std::size_t>(to) * item, static_cast<std::size_t>(n));
      });
      plain = built;
    }
    if (meta.codecs.stored_as_is()) return {plain, all * item};
    encode_chunk(meta, plain, buffer);
    return buffer;
  };
  write_units(array, box, volume(box) * static_cast<std::int64_t>(item), source);
}

std::vector<std::string> Array::read_strings() const { return read_strings(whole(shape())); }

std::vector<std::string> Array::read_strings(const Box& box) const {
  const Impl& array = *impl_;
  const ArrayMeta& meta = array.meta;
  if (meta.dtype != DType::str) throw string_error(array, false);
  check_box(array, box);
  check_memory(sizeof(std::string));
  std::vector<std::string> out(static_cast<std::size_t>(volume(box)), meta.fill_string);
  if (out.empty()) return out;
  const Box range = grid_range(box, meta.grid);
  for (std::int64_t i = 0, n = volume(range); i < n; ++i) {
    const Unit unit = open_unit(array, added(range.start, unravel(i, range.count), Shape(range.start.size(), 1)));
    for (const std::int64_t inner : inner_chunks(meta, unit.origin, box)) {
      const std::optional<Extent> extent = unit.find(inner);
      if (!extent) continue;
      const std::vector<std::string> values = in_chunk(array, unit.key, inner, [&] { return decode_string_chunk(meta, *unit.file, *extent); });
      const Box chunk{added(unit.origin, unravel(inner, inner_counts(meta)), meta.inner), meta.inner};
      for_each_run(chunk, box, intersection(chunk, box), [&](std::int64_t from, std::int64_t to, std::int64_t length) {
        std::copy_n(values.begin() + from, length, out.begin() + to);
      });
    }
  }
  return out;
}

void Array::write_strings(std::span<const std::string> values) { write_strings(whole(shape()), values); }

void Array::write_strings(const Box& box, std::span<const std::string> values) {
  const Impl& array = *impl_;
  const ArrayMeta& meta = array.meta;
  if (meta.dtype != DType::str) throw string_error(array, false);
  check_box(array, box);
  if (static_cast<std::int64_t>(values.size()) != volume(box))
    throw data_error("{}: {} strings given for {} elements", array.shown, values.size(), volume(box));
  if (values.empty()) return;
  ChunkSource source;
  source.encode = [&](const Box& chunk, const Unit& old, std::int64_t inner, Bytes& buffer) -> ByteSpan {
    std::vector<std::string> built(static_cast<std::size_t>(element_count(meta.inner)), meta.fill_string);
    const Box piece = intersection(chunk, box);
    if (const std::optional<Extent> extent = old.find(inner); extent && volume(piece) < volume(intersection(chunk, whole(meta.shape))))
      built = decode_string_chunk(meta, *old.file, *extent);
    for_each_run(chunk, box, piece, [&](std::int64_t to, std::int64_t from, std::int64_t n) {
      std::copy_n(values.begin() + from, n, built.begin() + to);
    });
    buffer = encode_string_chunk(meta, built);
    return buffer;
  };
  write_units(array, box, 0, source);
}

}  // namespace me2::store
