#include "store/subject.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/signals.h"
#include "store/gather.h"

namespace me2::store {

namespace fs = std::filesystem;

void Trials::push(const Trials& from, std::int64_t row) {
  const auto r = static_cast<std::size_t>(row);
  stimulus.push_back(from.stimulus[r]);
  global_trial.push_back(from.global_trial[r]);
  session.push_back(from.session[r]);
  run.push_back(from.run[r]);
  if (!from.repeat.empty()) repeat.push_back(from.repeat[r]);
  split.push_back(from.split[r]);
  if (!from.behaviour.empty()) behaviour.insert(behaviour.end(), from.behaviour.begin() + row * 17, from.behaviour.begin() + (row + 1) * 17);
}

std::vector<std::int16_t> count_repeats(std::span<const std::int32_t> stimulus) {
  std::map<std::int32_t, std::int16_t> seen;
  std::vector<std::int16_t> out;
  for (const std::int32_t s : stimulus) out.push_back(++seen[s]);
  return out;
}

Json subject_counts(const Trials& trials, std::int64_t voxels, const SubjectInfo& info) {
  std::map<std::int32_t, int> shown;
  std::map<int, std::set<std::int32_t>> images;
  std::map<int, std::int64_t> by_split;
  std::set<std::int16_t> sessions;
  for (std::size_t i = 0; i < trials.stimulus.size(); ++i) {
    ++shown[trials.stimulus[i]];
    images[trials.split[i]].insert(trials.stimulus[i]);
    ++by_split[trials.split[i]];
    sessions.insert(trials.session[i]);
  }
  std::map<int, std::int64_t> repeats;
  for (const auto& [image, n] : shown) ++repeats[n];
  Json images_by_repeats = Json::object();
  for (const auto& [n, count] : repeats) images_by_repeats[std::to_string(n)] = count;
  Json dropped = Json::array();
  for (const Dropped& d : info.dropped) dropped.push_back({{"what", d.what}, {"count", d.count}, {"why", d.why}});
  Json c;
  c["trials"] = trials.size();
  c["train_trials"] = by_split[0];
  c["test_trials"] = by_split[1];
  if (by_split[2] > 0) c["validation_trials"] = by_split[2];
  c["unused_trials"] = by_split[-1];
  c["unique_images"] = shown.size();
  c["train_images"] = images[0].size();
  c["test_images"] = images[1].size();
  c["images_by_repeats"] = images_by_repeats;
  c["sessions"] = sessions.size();
  c["voxels"] = voxels;
  c["constant_voxels"] = info.constant_voxels;
  c["dropped"] = dropped;
  return c;
}

struct SubjectWriter::Impl {
  std::string partial;
  std::int64_t trials, voxels, unit_rows = 1, next = 0, done = 0;
  std::unique_ptr<PartialStore> store;
  std::optional<Array> betas;
  std::vector<float> buffer;
  std::int64_t buffered = 0;

  std::int64_t units() const { return (trials + unit_rows - 1) / unit_rows; }
  bool has(std::int64_t unit) const { return betas->has_unit({unit, 0}); }
  void write(std::int64_t count, const float* rows) {  // the rows before `next`
    betas->write_rows(next - count, count, rows);
    if (next < trials && stop_requested())
      throw Error(Exit::temp_fail, fmt::format("stopped by {}; the same command with --resume continues {}", stop_signal_name(), partial));
  }
  void flush() {
    if (const std::int64_t count = std::exchange(buffered, 0); count > 0) write(count, buffer.data());
  }
};

namespace {

// Rows of a chunk: about 256 KiB, so that one trial can be read without much else. Of a unit: about 64 MiB.
std::int64_t rows_of(std::int64_t bytes, std::int64_t row_bytes, std::int64_t rows) {
  return std::clamp<std::int64_t>(bytes / std::max<std::int64_t>(row_bytes, 1), 1, std::max<std::int64_t>(rows, 1));
}

ArraySpec betas_spec(std::int64_t trials, std::int64_t voxels, int zarr_format) {
  ArraySpec spec;
  spec.shape = {trials, voxels};
  spec.dtype = DType::f4;
  const std::int64_t row = voxels * 4, small = rows_of(256 << 10, row, trials), large = rows_of(64 << 20, row, trials) / small * small;
  const std::int64_t width = std::max<std::int64_t>(voxels, 1);
  spec.chunks = {zarr_format == 3 ? small : std::max<std::int64_t>(large, 1), width};
  if (zarr_format == 3 && large > small) spec.shards = {large, width};
  spec.codec = Codec::raw;  // z-scored noise: the best codecs save a tenth and cost most of the time
  spec.crc32c = zarr_format == 3;
  spec.dimension_names = {"trial", "voxel"};
  spec.units = "standard deviations of the training trials";
  spec.long_name = "single-trial response estimates, z-scored per voxel";
  return spec;
}

void write_small(Group& group, const std::string& name, DType dtype, const Shape& shape, const void* values, std::vector<std::string> dims,
                 const std::string& units, const std::string& long_name) {
  ArraySpec spec;
  spec.shape = shape;
  spec.dtype = dtype;
  spec.dimension_names = std::move(dims);
  spec.units = units;
  spec.long_name = long_name;
  Array a = group.create_array(name, spec);
  if (a.size() > 0) a.write_bytes({Shape(shape.size(), 0), shape}, dtype, values);
}

std::string id_text(const std::set<std::int32_t>& ids) {
  std::string text;
  for (const std::int32_t id : ids) text += fmt::format("{}\n", id);
  return text;
}

}  // namespace

SubjectWriter::SubjectWriter(const std::string& path, std::int64_t trials, std::int64_t voxels, const WriteOptions& options)
    : impl_(std::make_unique<Impl>()) {
  Impl& w = *impl_;
  w.partial = path;
  while (w.partial.size() > 1 && w.partial.back() == '/') w.partial.pop_back();
  w.partial += ".partial";
  w.trials = trials, w.voxels = voxels;
  const fs::path parent = fs::absolute(w.partial).parent_path();
  if (!fs::is_directory(parent)) throw Error(Exit::cant_create, fmt::format("{}: the folder {} does not exist", path, parent.string()));
  const ArraySpec spec = betas_spec(trials, voxels, options.zarr_format);
  w.unit_rows = spec.shards.empty() ? spec.chunks[0] : spec.shards[0];
  const Json plan{{"kind", "subject"}, {"trials", trials}, {"voxels", voxels}};
  w.store = std::make_unique<PartialStore>(path, options, plan, 0, w.units(), [&](Group& group) { group.create_array("betas", spec); });
  w.betas = w.store->group().array("betas");
  if (w.store->published()) w.done = trials;
  for (std::int64_t unit = 0; w.done < trials && w.has(unit); ++unit) w.done = std::min(trials, (unit + 1) * w.unit_rows);
  w.buffer.resize(static_cast<std::size_t>(std::min(w.unit_rows, std::max<std::int64_t>(trials, 1)) * voxels));
}

SubjectWriter::~SubjectWriter() = default;

bool SubjectWriter::published() const { return impl_->store->published(); }
void SubjectWriter::discard() { impl_->store->discard(); }
std::int64_t SubjectWriter::rows_done() const { return impl_->done; }

void SubjectWriter::append(std::int64_t count, const float* rows) {
  Impl& w = *impl_;
  if (w.next + count > w.trials) throw Error(Exit::internal, fmt::format("{}: more rows than announced", w.partial));
  while (count > 0) {
    if (w.next < w.done) {
      const std::int64_t skip = std::min(count, w.done - w.next);
      w.next += skip, count -= skip, rows += skip * w.voxels;
      continue;
    }
    const std::int64_t take = std::min(count, w.unit_rows - w.buffered);
    if (w.buffered == 0 && take == w.unit_rows) {  // a whole unit: no copy
      w.next += take;
      w.write(take, rows);
    } else {
      std::copy_n(rows, take * w.voxels, w.buffer.begin() + w.buffered * w.voxels);
      w.buffered += take;
      w.next += take;
      if (w.buffered == w.unit_rows || w.next == w.trials) w.flush();
    }
    count -= take, rows += take * w.voxels;
  }
}

void SubjectWriter::publish(const Trials& t, const Voxels& v, const SubjectInfo& info, const Json& provenance) {
  Impl& w = *impl_;
  w.flush();
  if (w.store->published()) return;
  if (w.next != w.trials || t.size() != w.trials || v.count != w.voxels)
    throw Error(Exit::internal, fmt::format("{}: {} of {} rows of {} voxels written", w.partial, w.next, w.trials, w.voxels));
  Group& g = w.store->group();
  // The small arrays are rewritten by a resumed run too: they are derived from the same configuration.
  for (const auto& name : g.array_names())
    if (name != "betas") fs::remove_all(w.partial + "/" + name);
  fs::remove_all(w.partial + "/roi");
  const std::int64_t n = w.trials, m = w.voxels;
  const std::vector<std::int16_t> repeat = t.repeat.empty() ? count_repeats(t.stimulus) : t.repeat;
  write_small(g, "stimulus", DType::i4, {n}, t.stimulus.data(), {"trial"}, "1", "row in the stimulus store, 0-based");
  write_small(g, "global_trial", DType::i4, {n}, t.global_trial.data(), {"trial"}, "1", "trial number over all sessions of the source, 0-based");
  write_small(g, "session", DType::i2, {n}, t.session.data(), {"trial"}, "1", "scanning session, 1-based");
  write_small(g, "run", DType::i2, {n}, t.run.data(), {"trial"}, "1", "run within the session, 1-based; 0 unknown");
  write_small(g, "repeat", DType::i2, {n}, repeat.data(), {"trial"}, "1", "how often the image had been shown, this time included");
  write_small(g, "split", DType::i1, {n}, t.split.data(), {"trial"}, "1", "0 train, 1 test, 2 validation, -1 unused");
  if (!t.behaviour.empty())
    write_small(g, "behaviour", DType::f4, {n, 17}, t.behaviour.data(), {"trial", "column"}, "1", "responses.tsv columns in NSD's order; NaN missing");
  if (!v.ijk.empty()) write_small(g, "voxel_ijk", DType::i4, {m, 3}, v.ijk.data(), {"voxel", "axis"}, "voxels", "place of the voxel in the volume, 0-based");
  if (v.has_affine) write_small(g, "affine", DType::f8, {4, 4}, v.affine.data(), {"row", "column"}, "mm", "voxel_ijk to scanner space");
  if (v.statistic_rows > 0) {
    const bool per_session = v.statistic_rows > 1;
    const Shape shape = per_session ? Shape{v.statistic_rows, m} : Shape{m};
    const std::vector<std::string> dims = per_session ? std::vector<std::string>{"session", "voxel"} : std::vector<std::string>{"voxel"};
    write_small(g, "beta_mean", DType::f8, shape, v.mean.data(), dims, "units of the source", "mean that was subtracted");
    write_small(g, "beta_sd", DType::f8, shape, v.sd.data(), dims, "units of the source", "standard deviation that was divided by; 1 for a constant voxel");
  }
  if (!v.roi.empty()) {
    g.create_group("roi");
    for (const auto& [name, mask] : v.roi) write_small(g, "roi/" + name, DType::b1, {m}, mask.data(), {"voxel"}, "1", "voxels of region " + name);
  }

  std::set<std::int32_t> all(t.stimulus.begin(), t.stimulus.end()), train, test;
  for (std::size_t i = 0; i < t.stimulus.size(); ++i) {
    if (t.split[i] == 0) train.insert(t.stimulus[i]);
    if (t.split[i] == 1) test.insert(t.stimulus[i]);
  }
  Json attributes = info.attributes ? *info.attributes : Json::object();
  attributes["kind"] = "subject";
  attributes["subject"] = info.id;
  attributes["source"] = info.source;
  attributes["counts"] = subject_counts(t, m, info);
  attributes["stimulus_ids"] = std::vector<std::int32_t>(all.begin(), all.end());
  attributes["stimulus_ids_sha256"] = sha256(id_text(all));  // of the decimal ids, one per line
  attributes["train_ids_sha256"] = sha256(id_text(train));
  attributes["test_ids_sha256"] = sha256(id_text(test));
  g.set_attributes(attributes);
  w.store->publish(provenance, [&] {
    for (std::int64_t unit = 0; unit < w.units(); ++unit)
      if (!w.has(unit)) return false;
    return true;
  });
}

namespace {

Group open_subject(const std::string& path) {
  std::string bare = path;
  while (bare.size() > 1 && bare.back() == '/') bare.pop_back();
  if (!fs::exists(bare)) {
    if (fs::exists(bare + ".partial")) throw missing_error("{}: not there yet: {}.partial was never finished; run its command again with --resume", bare, bare);
    throw missing_error("{}: no such store", bare);
  }
  if (bare.ends_with(".partial")) throw data_error("{}: an unfinished store; run its command again with --resume", bare);
  Group group = Group::open(bare);
  if (!group.has_array("betas"))
    throw data_error("{}: not a subject store: array betas is missing; it has {}", bare, fmt::join(group.array_names(), ", "));
  return group;
}

template <class T>
std::vector<T> column(const Group& group, const std::string& name, std::int64_t trials, bool required) {
  if (!required && !group.has_array(name)) return std::vector<T>(static_cast<std::size_t>(trials), T(0));
  const Array a = group.array(name);
  if (a.shape() != Shape{trials})
    throw data_error("{}: shape [{}] expected as betas has {} trials, [{}] found", a.path(), trials, trials, fmt::join(a.shape(), ", "));
  return a.read<T>();
}

}  // namespace

SubjectStore::SubjectStore(const std::string& path) : path_(path), group_(open_subject(path)), betas_(group_.array("betas")) {
  if (betas_.shape().size() != 2) throw data_error("{}: shape [trial, voxel] expected, [{}] found", betas_.path(), fmt::join(betas_.shape(), ", "));
  const std::int64_t n = betas_.shape()[0];
  trials_.stimulus = column<std::int32_t>(group_, "stimulus", n, true);
  trials_.split = column<std::int8_t>(group_, "split", n, true);
  trials_.session = column<std::int16_t>(group_, "session", n, false);
  trials_.run = column<std::int16_t>(group_, "run", n, false);
  if (group_.has_array("repeat")) trials_.repeat = column<std::int16_t>(group_, "repeat", n, true);
  else trials_.repeat = count_repeats(trials_.stimulus);
  if (group_.has_array("global_trial")) {
    trials_.global_trial = column<std::int32_t>(group_, "global_trial", n, true);
  } else {
    for (std::int64_t i = 0; i < n; ++i) trials_.global_trial.push_back(static_cast<std::int32_t>(i));
  }
  for (const std::int8_t s : trials_.split)
    if (s < -1 || s > 2) throw data_error("{}/split: value {} found, 0 (train), 1 (test), 2 (validation) or -1 (unused) expected", path, static_cast<int>(s));
}

std::string SubjectStore::id() const { return group_.attributes().value("subject", std::string()); }
Json SubjectStore::attributes() const { return group_.attributes(); }
Json SubjectStore::provenance() const { return group_.attributes().value("me2", Json()); }

std::vector<float> SubjectStore::behaviour() const {
  if (!group_.has_array("behaviour")) return {};
  const Array a = group_.array("behaviour");
  if (a.shape() != Shape{trials(), 17}) throw data_error("{}: shape [{}, 17] expected, [{}] found", a.path(), trials(), fmt::join(a.shape(), ", "));
  return a.read<float>();
}

std::vector<std::int64_t> SubjectStore::rows(int split) const {
  std::vector<std::int64_t> out;
  for (std::size_t i = 0; i < trials_.split.size(); ++i)
    if (trials_.split[i] == split) out.push_back(static_cast<std::int64_t>(i));
  return out;
}

void SubjectStore::read_rows(std::span<const std::int64_t> rows, float* out) const {
  gather_rows(betas_, rows, out);
}

std::vector<std::string> SubjectStore::roi_names() const {
  const auto groups = group_.group_names();
  return std::find(groups.begin(), groups.end(), "roi") == groups.end() ? std::vector<std::string>{} : group_.group("roi").array_names();
}

std::vector<std::uint8_t> SubjectStore::roi(const std::string& name) const {
  if (!group_.has_array("roi/" + name)) throw data_error("{}: region {} is missing; the store has {}", path_, name, roi_names().empty() ? "none" : fmt::format("{}", fmt::join(roi_names(), ", ")));
  const Array a = group_.array("roi/" + name);
  if (a.shape() != Shape{voxels()}) throw data_error("{}: shape [{}] expected, [{}] found", a.path(), voxels(), fmt::join(a.shape(), ", "));
  std::vector<std::uint8_t> out(static_cast<std::size_t>(voxels()));
  a.read_bytes({{0}, {voxels()}}, DType::b1, out.data());
  return out;
}

}  // namespace me2::store
