#include "ingest/custom.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "ingest/events.h"
#include "ingest/glm.h"
#include "ingest/matrix.h"
#include "ingest/normalise.h"

namespace me2::ingest {
namespace {

// betas [event, voxel] of the events of one table.
std::vector<float> estimate_run(const CustomOptions& o, const std::string& path, Matrix& m, const std::vector<Event>& events) {
  Series s;
  s.times = m.rows;
  s.voxels = m.voxels;
  s.values = std::move(m.values);
  s.tr = o.tr.value_or(m.time_step);
  if (!(s.tr > 0)) throw usage_error("{}: the file does not say its repetition time; give --tr SECONDS", path);
  std::vector<TrialEvent> times;
  std::vector<std::uint8_t> busy(static_cast<std::size_t>(s.times), 0);
  for (const Event& e : events) {
    times.push_back(e.time);
    if (e.time.onset >= static_cast<double>(s.times) * s.tr)
      throw data_error("{}: line {}: onset {} s lies behind the end of {} ({} volumes of {} s)", o.events[static_cast<std::size_t>(e.table)].path, e.line, e.time.onset, path, s.times, s.tr);
    for (std::int64_t t = 0; t < s.times; ++t)
      if (s.time_of(t) >= e.time.onset + o.shift && s.time_of(t) < e.time.onset + o.shift + std::max(e.time.duration, s.tr)) busy[static_cast<std::size_t>(t)] = 1;
  }
  for (const float x : s.values)
    if (!std::isfinite(x)) throw data_error("{}: NaN or infinity in the BOLD series", path);
  try {
    if (o.estimate == Estimate::block) detrend(s, o.detrend);
    if (o.standardise == Standardise::run) standardise(s, {});
    if (o.standardise == Standardise::rest) {
      std::vector<std::int64_t> rest;
      for (std::int64_t t = 0; t < s.times; ++t)
        if (!busy[static_cast<std::size_t>(t)]) rest.push_back(t);
      if (rest.size() < 2) throw data_error("fewer than two volumes lie outside of all events; --standardise rest needs some");
      standardise(s, rest);
    }
    return o.estimate == Estimate::block ? block_average(s, times, o.shift) : least_squares_separate(s, times, o.drift);
  } catch (const Error& e) {
    throw Error(e.exit(), fmt::format("{}: {}", path, e.what()));
  }
}

struct Data {
  std::vector<float> betas;  // [trial, voxel]
  std::int64_t voxels = 0;
  std::vector<std::int64_t> column;  // which voxel of the mask (or file) each column is
  Matrix first;                      // of the first file: volume, affine
};

void keep_voxels(Data& d, const std::vector<std::uint8_t>& keep) {
  std::vector<std::int64_t> at, column;
  for (std::size_t v = 0; v < keep.size(); ++v)
    if (keep[v]) at.push_back(static_cast<std::int64_t>(v)), column.push_back(d.column[v]);
  const std::int64_t rows = d.voxels ? static_cast<std::int64_t>(d.betas.size()) / d.voxels : 0;
  std::size_t to = 0;
  for (std::int64_t r = 0; r < rows; ++r)
    for (const std::int64_t v : at) d.betas[to++] = d.betas[static_cast<std::size_t>(r * d.voxels + v)];
  d.betas.resize(to);
  d.voxels = static_cast<std::int64_t>(at.size());
  d.column = std::move(column);
}

// Split-half reliability per voxel: over training images shown at least twice, Pearson correlation of the mean of the odd with the
// mean of the even showings.
std::vector<double> reliability(const Data& d, const store::Trials& t) {
  std::map<std::int32_t, std::vector<std::int64_t>> shown;
  for (std::int64_t i = 0; i < t.size(); ++i)
    if (t.split[static_cast<std::size_t>(i)] == 0) shown[t.stimulus[static_cast<std::size_t>(i)]].push_back(i);
  std::vector<const std::vector<std::int64_t>*> images;
  for (const auto& [image, rows] : shown)
    if (rows.size() >= 2) images.push_back(&rows);
  if (images.size() < 3) throw data_error("reliability: {} training images were shown at least twice; 3 or more are needed", images.size());
  const auto width = static_cast<std::size_t>(d.voxels);
  const double n = static_cast<double>(images.size());
  std::vector<double> sx(width), sy(width), sxx(width), syy(width), sxy(width), out(width);
  std::vector<double> odd(width), even(width);
  for (const auto* rows : images) {
    std::fill(odd.begin(), odd.end(), 0);
    std::fill(even.begin(), even.end(), 0);
    const double n_odd = static_cast<double>((rows->size() + 1) / 2), n_even = static_cast<double>(rows->size() / 2);
    for (std::size_t k = 0; k < rows->size(); ++k) {
      const float* b = d.betas.data() + (*rows)[k] * d.voxels;
      for (std::size_t v = 0; v < width; ++v) (k % 2 ? even : odd)[v] += b[v];
    }
    for (std::size_t v = 0; v < width; ++v) {
      const double x = odd[v] / n_odd, y = even[v] / n_even;
      sx[v] += x, sy[v] += y, sxx[v] += x * x, syy[v] += y * y, sxy[v] += x * y;
    }
  }
  for (std::size_t v = 0; v < width; ++v) {
    const double vx = sxx[v] - sx[v] * sx[v] / n, vy = syy[v] - sy[v] * sy[v] / n;
    out[v] = vx > 0 && vy > 0 ? (sxy[v] - sx[v] * sy[v] / n) / std::sqrt(vx * vy) : -1;
  }
  return out;
}

template <class Key>
std::map<Key, std::vector<std::int64_t>> grouped(const store::Trials& t, Key (*key)(const store::Trials&, std::size_t)) {
  std::map<Key, std::vector<std::int64_t>> out;
  for (std::size_t i = 0; i < t.stimulus.size(); ++i) out[key(t, i)].push_back(static_cast<std::int64_t>(i));
  return out;
}

// Subtracts and divides the rows by the moments of `from` among them.
Moments zscore(Data& d, const std::vector<std::int64_t>& rows, const std::vector<std::int64_t>& from) {
  Moments m(static_cast<std::size_t>(d.voxels));
  for (const std::int64_t r : from) m.add(d.betas.data() + r * d.voxels);
  m.finish();
  for (const std::int64_t r : rows)
    for (std::size_t v = 0; v < m.mean.size(); ++v) {
      float& x = d.betas[static_cast<std::size_t>(r * d.voxels) + v];
      x = static_cast<float>((x - m.mean[v]) / m.sd[v]);
    }
  return m;
}

}  // namespace

Json import_custom(const CustomOptions& o, const Context& context) {
  if (o.betas.empty() == o.bold.empty()) throw usage_error("one of --betas and --bold is needed");
  const auto& files = o.betas.empty() ? o.bold : o.betas;
  if (o.events.empty()) throw usage_error("--events is needed: which image was shown when");
  if (o.events.size() != files.size() && !(o.events.size() == 1 && !o.betas.empty()))
    throw usage_error("{} --{} files, but {} --events files: one each is needed", files.size(), o.betas.empty() ? "bold" : "betas", o.events.size());
  for (const auto& f : files) refuse_overlap(f, o.output.path);
  for (const auto& e : o.events) refuse_overlap(e.path, o.output.path);
  if (o.images) refuse_overlap(o.images->path, o.output.path);

  store::SubjectInfo info;
  info.id = o.name;
  info.source = "custom";
  std::int64_t ignored = 0;
  const auto events = read_events(o, ignored);
  if (ignored > 0) info.dropped.push_back({"events", ignored, "without a stimulus, or ignored by name"});
  std::vector<std::string> names;
  store::Trials trials;
  trials.stimulus = stimulus_rows(o, events, names);
  trials.split = split_events(o, events, trials.stimulus, context.seed);
  for (const Event& e : events) {
    trials.global_trial.push_back(static_cast<std::int32_t>(trials.global_trial.size()));
    trials.session.push_back(static_cast<std::int16_t>(e.session));
    trials.run.push_back(static_cast<std::int16_t>(e.run));
  }
  trials.repeat = store::count_repeats(trials.stimulus);
  if (!o.shared_images) {
    try {
      check_disjoint(trials, o.events[0].path);
    } catch (const Error& e) {
      throw Error(e.exit(), fmt::format("{}; --shared-images allows it", e.what()));
    }
  }

  VoxelMask mask;
  if (o.mask) mask = read_mask(o.mask->path);
  Data data;
  std::int64_t next_row = 0;  // of a single events table over several betas files
  std::size_t used = 0;
  Progress progress("files", static_cast<std::int64_t>(files.size()));
  for (std::size_t k = 0; k < files.size(); ++k) {
    Matrix m = read_matrix(files[k], mask);
    if (k == 0) {
      data.voxels = m.voxels;
      data.first.volume = m.volume, data.first.has_affine = m.has_affine, data.first.affine = m.affine;
    } else if (m.voxels != data.voxels) {
      throw data_error("{}: {} voxels, but {} has {}", files[k], m.voxels, files[0], data.voxels);
    }
    const auto width = static_cast<std::size_t>(m.voxels);
    if (!o.betas.empty()) {
      const bool single = o.events.size() == 1;
      for (const Event& e : events) {
        const std::int64_t row = single ? e.row - next_row : e.row;
        if ((!single && e.table != static_cast<int>(k)) || row < 0 || (single && row >= m.rows)) continue;
        if (row >= m.rows)
          throw data_error("{}: line {}: trial {}, but {} has {} rows of betas", o.events[static_cast<std::size_t>(e.table)].path, e.line, row + 1, files[k], m.rows);
        data.betas.insert(data.betas.end(), m.values.begin() + static_cast<std::ptrdiff_t>(row) * m.voxels, m.values.begin() + static_cast<std::ptrdiff_t>(row + 1) * m.voxels);
        ++used;
      }
      next_row += m.rows;
    } else {
      std::vector<Event> own;
      for (const Event& e : events)
        if (e.table == static_cast<int>(k)) own.push_back(e);
      if (!own.empty()) {
        const auto betas = estimate_run(o, files[k], m, own);
        data.betas.insert(data.betas.end(), betas.begin(), betas.end());
        used += betas.size() / std::max<std::size_t>(width, 1);
      }
    }
    progress.advance();
  }
  if (used != events.size()) throw data_error("{}: {} trials, but the betas have {} rows", o.events[0].path, events.size(), next_row);
  if (!o.betas.empty()) {  // rows of betas that no event names
    std::int64_t rows = 0;
    if (o.events.size() == 1) rows = next_row;
    if (rows > static_cast<std::int64_t>(events.size()) + ignored)
      throw data_error("{}: {} lines of trials, but the betas have {} rows: which trial is which is unknown", o.events[0].path, events.size() + static_cast<std::size_t>(ignored), rows);
  }
  data.column.resize(static_cast<std::size_t>(data.voxels));
  std::iota(data.column.begin(), data.column.end(), 0);

  // NaN: voxels without any value, then trials with a gap.
  std::vector<std::int64_t> bad(events.size(), 0), never(static_cast<std::size_t>(data.voxels), 0);
  for (std::size_t i = 0; i < events.size(); ++i)
    for (std::int64_t v = 0; v < data.voxels; ++v)
      if (!std::isfinite(data.betas[i * static_cast<std::size_t>(data.voxels) + static_cast<std::size_t>(v)])) ++bad[i], ++never[static_cast<std::size_t>(v)];
  if (std::any_of(bad.begin(), bad.end(), [](auto n) { return n > 0; })) {
    const std::string summary = nan_summary(trials.session, bad);
    if (o.nan == NanRule::error) throw data_error("{}: NaN betas: {}; --nan drop leaves them out", files[0], summary);
    std::vector<std::uint8_t> keep;
    std::int64_t gone = 0;
    for (const std::int64_t n : never) keep.push_back(n < static_cast<std::int64_t>(events.size())), gone += !keep.back();
    keep_voxels(data, keep);
    if (gone > 0) info.dropped.push_back({"voxels", gone, "NaN in every trial"});
    store::Trials left;
    std::size_t to = 0;
    for (std::size_t i = 0; i < bad.size(); ++i) {
      if (bad[i] > gone) continue;
      std::copy_n(data.betas.begin() + static_cast<std::ptrdiff_t>(i) * data.voxels, data.voxels, data.betas.begin() + static_cast<std::ptrdiff_t>(to++) * data.voxels);
      left.push(trials, static_cast<std::int64_t>(i));
    }
    data.betas.resize(to * static_cast<std::size_t>(data.voxels));
    if (left.size() < trials.size()) info.dropped.push_back({"trials", trials.size() - left.size(), "NaN betas (" + summary + ")"});
    trials = left;
    if (trials.size() == 0 || data.voxels == 0) throw data_error("{}: nothing is left once NaN betas are dropped", files[0]);
  }
  const auto train_of = [&](const std::vector<std::int64_t>& rows) {
    std::vector<std::int64_t> out;
    for (const std::int64_t r : rows)
      if (trials.split[static_cast<std::size_t>(r)] == 0) out.push_back(r);
    return out;
  };
  std::vector<std::int64_t> all(static_cast<std::size_t>(trials.size()));
  std::iota(all.begin(), all.end(), 0);
  if (train_of(all).empty()) throw data_error("{}: an empty split: no training trial is left", o.events[0].path);

  if (o.zscore_runs)
    for (const auto& [run, rows] : grouped<std::pair<int, int>>(trials, [](const store::Trials& t, std::size_t i) { return std::pair<int, int>(t.session[i], t.run[i]); })) zscore(data, rows, rows);

  if (o.reliability || o.top_voxels > 0) {
    const auto r = reliability(data, trials);
    std::vector<std::size_t> order(r.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return r[a] > r[b]; });
    std::vector<std::uint8_t> keep(r.size(), 1);
    if (o.reliability)
      for (std::size_t v = 0; v < r.size(); ++v) keep[v] = r[v] >= *o.reliability;
    if (o.top_voxels > 0)
      for (std::size_t k = static_cast<std::size_t>(o.top_voxels); k < order.size(); ++k) keep[order[k]] = 0;
    const auto gone = std::count(keep.begin(), keep.end(), 0);
    if (gone == static_cast<std::ptrdiff_t>(keep.size())) throw data_error("--reliability {}: no voxel is that reliable; the best has {:.3f}", o.reliability.value_or(0), r[order[0]]);
    keep_voxels(data, keep);
    if (gone > 0) info.dropped.push_back({"voxels", gone, "not reliable enough over repeated training images"});
  }

  store::Voxels voxels;
  voxels.count = data.voxels;
  BetaCheck check(data.voxels);
  for (std::int64_t i = 0; i < trials.size(); ++i) check.row(data.betas.data() + i * data.voxels);
  info.constant_voxels = check.constant_voxels();
  if (o.normalise == Normalise::train) {
    const Moments m = zscore(data, all, train_of(all));
    voxels.statistic_rows = 1, voxels.mean = m.mean, voxels.sd = m.sd;
  } else if (o.normalise == Normalise::session) {
    for (const auto& [session, rows] : grouped<int>(trials, [](const store::Trials& t, std::size_t i) { return static_cast<int>(t.session[i]); })) {
      const auto from = train_of(rows);
      if (from.empty()) throw data_error("{}: session {} has no training trials to normalise by; use --normalise train", o.events[0].path, session);
      const Moments m = zscore(data, rows, from);
      ++voxels.statistic_rows;
      voxels.mean.insert(voxels.mean.end(), m.mean.begin(), m.mean.end());
      voxels.sd.insert(voxels.sd.end(), m.sd.begin(), m.sd.end());
    }
  }

  // Places and regions: of a mask's voxels, or of the file's own volume.
  const auto& volume = mask.volume.size() == 3 ? mask.volume : data.first.volume;
  const auto flat_of = [&](std::int64_t column) { return mask.volume.empty() ? column : mask.flat[static_cast<std::size_t>(column)]; };
  const bool placed = volume.size() == 3 && (mask.volume.empty() || mask.volume.size() == 3);
  if (placed)
    for (const std::int64_t c : data.column) {
      const std::int64_t f = flat_of(c);
      for (const std::int64_t i : {f / (volume[1] * volume[2]), f / volume[2] % volume[1], f % volume[2]}) voxels.ijk.push_back(static_cast<std::int32_t>(i));
    }
  voxels.has_affine = mask.has_affine || data.first.has_affine;
  voxels.affine = mask.has_affine ? mask.affine : data.first.affine;
  for (const auto& word : o.roi) {
    const std::size_t eq = word.find('=');
    if (eq == std::string::npos || eq == 0) throw usage_error("--roi {}: NAME=FILE expected", word);
    const VoxelMask region = read_mask(word.substr(eq + 1));
    const auto& space = mask.volume.empty() ? data.first.volume : mask.volume;
    if (region.volume != space)
      throw data_error("{}: shape [{}], but the betas' voxels have [{}]", region.source, fmt::join(region.volume, ", "), fmt::join(space, ", "));
    const std::set<std::int64_t> in(region.flat.begin(), region.flat.end());
    std::vector<std::uint8_t> m;
    for (const std::int64_t c : data.column) m.push_back(in.contains(flat_of(c)));
    voxels.roi.emplace_back(word.substr(0, eq), std::move(m));
  }

  Json attributes;
  if (!names.empty()) attributes["stimulus_names"] = names;  // by stimulus number
  Json digests = Json::object();
  for (const auto& f : files) digests[f] = std::filesystem::exists(f) ? quick_digest(f) : "";
  attributes["data_digests"] = digests;
  attributes["estimate"] = !o.betas.empty() ? "betas as given" : o.estimate == Estimate::lss ? "least squares - separate, canonical double-gamma HRF" : "block average";
  attributes["normalised"] = o.normalise == Normalise::train ? "per voxel, by the training trials" : o.normalise == Normalise::session ? "per voxel and session, by the session's training trials" : "no";
  info.attributes = &attributes;
  const Json counts = store::subject_counts(trials, voxels.count, info);
  if (context.dry_run) return counts;
  store::SubjectWriter writer(o.output.path, trials.size(), voxels.count, context.write);
  writer.append(trials.size(), data.betas.data());
  writer.publish(trials, voxels, info, *context.provenance);
  return counts;
}

}  // namespace me2::ingest
