#include "store/stage.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/signals.h"

namespace me2::store {
namespace {

constexpr std::int64_t kMebi = std::int64_t{1} << 20;

std::string without_slashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

Group open_finished(const std::string& path) {
  if (without_slashes(path).ends_with(".partial"))
    throw data_error("{}: is an unfinished store; run the command that writes it again with --resume", path);
  return Group::open(path);
}

std::int64_t row_bytes(const StageArray& array) {
  std::int64_t n = 1;
  for (const std::int64_t extent : array.row_shape) n *= extent;
  return std::max<std::int64_t>(1, n * static_cast<std::int64_t>(array.dtype == DType::str ? 64 : item_size(array.dtype)));
}

// Small enough that --resume and --shard have something to skip and divide, large enough for fewer than 200 files in all.
std::int64_t choose_rows_per_unit(const StageSpec& spec) {
  const auto rows = static_cast<std::int64_t>(spec.stimulus.size());
  std::int64_t largest = 1;
  for (const StageArray& array : spec.arrays) largest = std::max(largest, row_bytes(array));
  constexpr std::int64_t kFiles = 180, kRows = 256;
  const std::int64_t units = std::max<std::int64_t>(1, kFiles / static_cast<std::int64_t>(std::max<std::size_t>(1, spec.arrays.size())));
  const std::int64_t by_files = (rows + units - 1) / units;
  const std::int64_t by_size = std::clamp<std::int64_t>(64 * kMebi / largest, 1, kRows);
  std::int64_t chosen = std::max(by_files, by_size);
  if (chosen > 8) chosen = (chosen + 7) / 8 * 8;  // divides into chunks of several sizes
  return std::clamp<std::int64_t>(chosen, 1, std::max<std::int64_t>(1, rows));
}

// Rows of a chunk: the unit itself when small, else about 1 MiB of them that divide it.
std::int64_t rows_per_chunk(std::int64_t unit, std::int64_t bytes) {
  if (unit * bytes <= kMebi) return unit;
  std::int64_t target = std::clamp<std::int64_t>(kMebi / bytes, 1, unit);
  if (bytes >= 16 << 10) target = std::min<std::int64_t>(target, 8);  // so that one row costs little more than itself
  while (unit % target != 0) --target;
  return target;
}

ArraySpec layout(const StageArray& array, std::int64_t rows, std::int64_t unit) {
  ArraySpec spec;
  spec.dtype = array.dtype;
  spec.shape = {rows};
  spec.dimension_names = {"sample"};
  spec.units = array.units;
  spec.long_name = array.long_name;
  const std::int64_t chunk = array.dtype == DType::str ? unit : rows_per_chunk(unit, row_bytes(array));
  spec.chunks = {chunk};
  if (chunk != unit) spec.shards = {unit};
  for (std::size_t k = 0; k < array.row_shape.size(); ++k) {
    const std::int64_t extent = array.row_shape[k];
    spec.shape.push_back(extent);
    spec.chunks.push_back(std::max<std::int64_t>(1, extent));
    if (!spec.shards.empty()) spec.shards.push_back(std::max<std::int64_t>(1, extent));
    spec.dimension_names.push_back(k < array.dimension_names.size() ? array.dimension_names[k] : fmt::format("{}_{}", array.name.substr(array.name.rfind('/') + 1), k));
  }
  return spec;
}

}  // namespace

// ---- reading

StageReader::StageReader(const std::string& path) : path_(path), group_(open_finished(path)) {
  const Array stimulus = array("stimulus");
  if (stimulus.shape().size() != 1) throw data_error("{}: has shape [{}], one axis expected", stimulus.path(), fmt::join(stimulus.shape(), ", "));
  stimulus_ = stimulus.read<std::int32_t>();
}

std::int64_t StageReader::samples() const { return static_cast<std::int64_t>(stimulus_.size()); }
const std::vector<std::int32_t>& StageReader::stimulus() const { return stimulus_; }
bool StageReader::has(const std::string& array) const { return group_.has_array(array); }

Array StageReader::array(const std::string& name) const {
  if (!group_.has_array(name)) {
    const Json attributes = group_.attributes();
    const std::string kind = attributes.contains("kind") && attributes["kind"].is_string() ? attributes["kind"].get<std::string>() : "";
    const std::vector<std::string> names = group_.array_names();
    throw data_error("{}: no array \"{}\": a store from another stage{}, which holds {}", path_, name, kind.empty() ? "" : fmt::format(" (of kind \"{}\")", kind),
                     names.empty() ? "no arrays" : fmt::format("{}", fmt::join(names, ", ")));
  }
  const Array found = group_.array(name);
  if (name != "stimulus" && (found.shape().empty() || (!stimulus_.empty() && found.shape()[0] != samples() && !found.dimension_names().empty() && found.dimension_names()[0] == "sample")))
    throw data_error("{}: shape [{}] does not begin with the {} samples of stimulus", found.path(), fmt::join(found.shape(), ", "), samples());
  return found;
}

Json StageReader::attributes() const { return group_.attributes(); }
Json StageReader::provenance() const {
  const Json& attributes = group_.attributes();
  return attributes.contains("me2") ? attributes["me2"] : Json();
}

// ---- writing

struct StageWriter::Impl {
  StageSpec spec;
  WriteOptions options;
  std::int64_t rows = 0, per_unit = 1, units = 0, first_unit = 0, end_unit = 0;
  std::unique_ptr<PartialStore> store;
  std::map<std::string, Array> arrays;

  struct Pending {  // rows of one unit, until all are there
    std::vector<std::uint8_t> bytes;
    std::vector<std::string> strings;
    std::vector<bool> there;
    std::int64_t missing = 0;
  };
  std::map<std::pair<std::string, std::int64_t>, Pending> pending;
  std::map<std::int64_t, int> arrays_done;  // by unit, of those written by this object

  RowRange range(std::int64_t unit) const { return {unit * per_unit, std::min(per_unit, rows - unit * per_unit)}; }
  bool has(const Array& array, std::int64_t unit) const {
    Shape index(array.shape().size(), 0);
    index[0] = unit;
    return array.size() == 0 || array.has_unit(index);
  }
  bool is_done(std::int64_t unit) const {
    return std::all_of(arrays.begin(), arrays.end(), [&](const auto& a) { return has(a.second, unit); });
  }
  bool all_done() const {
    for (std::int64_t unit = 0; unit < units; ++unit)
      if (!is_done(unit)) return false;
    return true;
  }
  const Array& find(const std::string& name) const {
    const auto it = arrays.find(name);
    if (it == arrays.end()) throw Error(Exit::internal, fmt::format("array \"{}\" was not announced for the store", name));
    return it->second;
  }
  std::int64_t unit_of(const RowRange& r) const {
    const std::int64_t unit = r.first / per_unit;
    const RowRange whole = range(unit);
    if (r.count < 1 || unit < first_unit || unit >= end_unit || r.first + r.count > whole.first + whole.count)
      throw Error(Exit::internal, fmt::format("rows {}..{} are no part of one unit of this process", r.first, r.first + r.count - 1));
    return unit;
  }
  [[noreturn]] void stop() const {
    throw Error(Exit::temp_fail, fmt::format("stopped by {}; the same command with --resume continues {}.partial", stop_signal_name(), without_slashes(path)));
  }
  void finished(std::int64_t unit) {
    if (++arrays_done[unit] < static_cast<int>(arrays.size())) return;
    if (!stop_requested()) return;
    for (std::int64_t other = first_unit; other < end_unit; ++other)
      if (!is_done(other)) stop();
  }
  std::string path;
};

StageWriter::StageWriter(const std::string& path, const StageSpec& spec, const WriteOptions& options) : impl_(std::make_unique<Impl>()) {
  Impl& s = *impl_;
  s.spec = spec;
  s.options = options;
  s.path = path;
  s.rows = static_cast<std::int64_t>(spec.stimulus.size());
  s.per_unit = std::clamp<std::int64_t>(options.rows_per_unit > 0 ? options.rows_per_unit : choose_rows_per_unit(spec), 1, std::max<std::int64_t>(1, s.rows));
  s.units = (s.rows + s.per_unit - 1) / s.per_unit;
  if (options.shard_index < 1 || options.shard_index > options.shard_count)
    throw usage_error("--shard {}/{}: I from 1 to N expected", options.shard_index, options.shard_count);
  if (options.shard_count > std::max<std::int64_t>(1, s.units))
    throw usage_error("--shard {}/{}: would cut a unit of writing: {} rows in units of {} can be divided among {} processes at most", options.shard_index,
                      options.shard_count, s.rows, s.per_unit, std::max<std::int64_t>(1, s.units));
  s.first_unit = s.units * (options.shard_index - 1) / options.shard_count;
  s.end_unit = s.units * options.shard_index / options.shard_count;

  Json plan{{"kind", spec.kind}, {"rows", s.rows}, {"rows_per_unit", s.per_unit}, {"stimulus_sha256", sha256({reinterpret_cast<const char*>(spec.stimulus.data()), spec.stimulus.size() * 4})}};
  for (const StageArray& array : spec.arrays) plan["arrays"][array.name] = {{"dtype", dtype_name(array.dtype)}, {"row_shape", array.row_shape}};
  s.store = std::make_unique<PartialStore>(path, options, plan, s.first_unit, s.end_unit - s.first_unit, [&](Group& group) {
    Json attributes = spec.attributes ? *spec.attributes : Json::object();
    attributes["kind"] = spec.kind;
    group.set_attributes(attributes);
    if (spec.stimulus_is_array) {
      ArraySpec stimulus;
      stimulus.shape = {s.rows};
      stimulus.dtype = DType::i4;
      stimulus.dimension_names = {"sample"};
      stimulus.units = "1";
      stimulus.long_name = "row in the stimulus store";
      group.create_array("stimulus", stimulus).write(spec.stimulus.data());
    }
    if (spec.build) spec.build(group);
    for (const StageArray& array : spec.arrays) group.create_array(array.name, layout(array, s.rows, s.per_unit));
  });
  for (const StageArray& array : spec.arrays) s.arrays.emplace(array.name, s.store->group().array(array.name));
}

StageWriter::~StageWriter() = default;
std::int64_t StageWriter::rows_per_unit() const { return impl_->per_unit; }
std::int64_t StageWriter::units() const { return impl_->units; }

std::vector<RowRange> StageWriter::pending() const {
  std::vector<RowRange> out;
  if (impl_->store->published()) return out;
  for (std::int64_t unit = impl_->first_unit; unit < impl_->end_unit; ++unit)
    if (!impl_->is_done(unit)) out.push_back(impl_->range(unit));
  return out;
}

void StageWriter::write_bytes(const std::string& name, const RowRange& rows, DType from, const void* values) {
  Impl& s = *impl_;
  const Array& found = s.find(name);
  Array array = found;
  const std::int64_t unit = s.unit_of(rows);
  const RowRange whole = s.range(unit);
  if (array.dtype() == DType::f2 && from == DType::u2) from = DType::f2;  // f2 travels as its bits
  const auto put = [&](const void* data) {
    Box box{Shape(array.shape().size(), 0), array.shape()};
    box.start[0] = whole.first;
    box.count[0] = whole.count;
    array.write_bytes(box, from, data);
    s.finished(unit);
  };
  if (rows.count == whole.count) return put(values);
  const std::size_t row = static_cast<std::size_t>(array.size() / array.shape()[0]) * item_size(from);
  Impl::Pending& held = s.pending[{name, unit}];
  if (held.there.empty()) {
    held.bytes.resize(row * static_cast<std::size_t>(whole.count));
    held.there.resize(static_cast<std::size_t>(whole.count));
    held.missing = whole.count;
  }
  if (held.bytes.size() != row * held.there.size()) throw Error(Exit::internal, fmt::format("{}: rows of one unit come in two types", name));
  const auto first = static_cast<std::size_t>(rows.first - whole.first);
  std::memcpy(held.bytes.data() + first * row, values, static_cast<std::size_t>(rows.count) * row);
  for (std::size_t i = first; i < first + static_cast<std::size_t>(rows.count); ++i) held.missing -= !held.there[i], held.there[i] = true;
  if (held.missing > 0) return stop_overdue() ? s.stop() : void();
  const auto bytes = std::move(held.bytes);
  s.pending.erase({name, unit});
  put(bytes.data());
}

void StageWriter::write_strings(const std::string& name, const RowRange& rows, std::span<const std::string> values) {
  Impl& s = *impl_;
  Array array = s.find(name);
  const std::int64_t unit = s.unit_of(rows);
  const RowRange whole = s.range(unit);
  const std::size_t per_row = array.shape()[0] ? static_cast<std::size_t>(array.size() / array.shape()[0]) : 0;
  if (values.size() != per_row * static_cast<std::size_t>(rows.count))
    throw Error(Exit::internal, fmt::format("{}: {} strings for {} rows", name, values.size(), rows.count));
  const auto put = [&](std::span<const std::string> all) {
    Box box{Shape(array.shape().size(), 0), array.shape()};
    box.start[0] = whole.first;
    box.count[0] = whole.count;
    array.write_strings(box, all);
    s.finished(unit);
  };
  if (rows.count == whole.count) return put(values);
  Impl::Pending& held = s.pending[{name, unit}];
  if (held.there.empty()) {
    held.strings.resize(per_row * static_cast<std::size_t>(whole.count));
    held.there.resize(static_cast<std::size_t>(whole.count));
    held.missing = whole.count;
  }
  const auto first = static_cast<std::size_t>(rows.first - whole.first);
  std::copy(values.begin(), values.end(), held.strings.begin() + static_cast<std::ptrdiff_t>(first * per_row));
  for (std::size_t i = first; i < first + static_cast<std::size_t>(rows.count); ++i) held.missing -= !held.there[i], held.there[i] = true;
  if (held.missing > 0) return stop_overdue() ? s.stop() : void();
  const auto strings = std::move(held.strings);
  s.pending.erase({name, unit});
  put(strings);
}

bool StageWriter::publish(const Json& provenance) {
  return impl_->store->publish(provenance, [&] { return impl_->all_done(); });
}

}  // namespace me2::store
