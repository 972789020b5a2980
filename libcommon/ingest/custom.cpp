#include "ingest/custom.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <numeric>
#include <set>
#include <span>

#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "ingest/events.h"
#include "ingest/glm.h"
#include "ingest/matrix.h"
#include "ingest/normalise.h"
#include "ingest/trial_betas.h"

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

// Split-half reliability per voxel: over training images shown at least twice, Pearson correlation of the mean of the odd with the
// mean of the even showings.
std::vector<double> reliability(const TrialBetas& d, const store::Trials& t) {
  std::map<std::int32_t, std::vector<std::int64_t>> shown;
  for (std::int64_t i = 0; i < t.size(); ++i)
    if (t.split[static_cast<std::size_t>(i)] == 0) shown[t.stimulus[static_cast<std::size_t>(i)]].push_back(i);
  std::vector<const std::vector<std::int64_t>*> images;
  for (const auto& [image, rows] : shown)
    if (rows.size() >= 2) images.push_back(&rows);
  if (images.size() < 3) throw data_error("reliability: {} training images were shown at least twice; 3 or more are needed", images.size());
  const auto width = static_cast<std::size_t>(d.voxels());
  std::vector<float> b(width);
  const double n = static_cast<double>(images.size());
  std::vector<double> sx(width), sy(width), sxx(width), syy(width), sxy(width), out(width);
  std::vector<double> odd(width), even(width);
  for (const auto* rows : images) {
    std::fill(odd.begin(), odd.end(), 0);
    std::fill(even.begin(), even.end(), 0);
    const double n_odd = static_cast<double>((rows->size() + 1) / 2), n_even = static_cast<double>(rows->size() / 2);
    for (std::size_t k = 0; k < rows->size(); ++k) {
      d.read((*rows)[k], b.data());
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

Moments moments(const TrialBetas& d, const std::vector<std::int64_t>& rows) {
  Moments m(static_cast<std::size_t>(d.voxels()));
  std::vector<float> row(m.mean.size());
  for (const std::int64_t r : rows) {
    d.read(r, row.data());
    m.add(row.data());
  }
  m.finish();
  return m;
}

void zscore(std::span<float> row, const double* mean, const double* sd) {
  for (std::size_t v = 0; v < row.size(); ++v) row[v] = static_cast<float>((row[v] - mean[v]) / sd[v]);
}

// What reading the betas (or the BOLD series) of every file found out.
struct Found {
  Matrix first;                        // of the first file: volume, affine
  std::vector<std::int64_t> bad, never;  // values that are not finite, by trial and by voxel
};

void take(TrialBetas& data, Found& found, std::size_t event, const float* row) {
  data.write(static_cast<std::int64_t>(event), row);
  for (std::size_t v = 0; v < found.never.size(); ++v)
    if (!std::isfinite(row[v])) ++found.bad[event], ++found.never[v];
}

// Every event's row of betas, a few at a time, or its estimate from the run's BOLD series, a run at a time.
Found read_trials(const CustomOptions& o, const std::vector<std::string>& files, const VoxelMask& mask, const std::vector<Event>& events, std::int64_t ignored, TrialBetas& data) {
  Found found;
  found.bad.resize(events.size());
  const bool single = o.events.size() == 1;  // one table over all betas files
  const auto in_total = static_cast<std::int64_t>(events.size()) + ignored;
  const std::string& table = o.events[0].path;
  std::int64_t next_row = 0;
  std::size_t used = 0;
  Progress progress("files", static_cast<std::int64_t>(files.size()));
  for (std::size_t k = 0; k < files.size(); ++k) {
    const auto begin = [&](const Matrix& m) {
      if (k == 0) {
        found.first = m;
        found.first.values.clear();
        found.never.resize(static_cast<std::size_t>(m.voxels));
        data.set_size(static_cast<std::int64_t>(events.size()), m.voxels);
      } else if (m.voxels != data.voxels()) {
        throw data_error("{}: {} voxels, but {} has {}", files[k], m.voxels, files[0], data.voxels());
      }
    };
    std::vector<std::size_t> own;  // events of this file; rows ascend with them
    for (std::size_t i = 0; i < events.size(); ++i)
      if ((single && !o.betas.empty()) || events[i].table == static_cast<int>(k)) own.push_back(i);
    if (o.betas.empty()) {
      Matrix m = read_matrix(files[k], mask);
      begin(m);
      std::vector<Event> run;
      for (const std::size_t i : own) run.push_back(events[i]);
      if (!run.empty()) {
        const std::int64_t width = m.voxels;
        const auto betas = estimate_run(o, files[k], m, run);
        for (std::size_t i = 0; i < own.size(); ++i) take(data, found, own[i], betas.data() + static_cast<std::int64_t>(i) * width);
        used += own.size();
      }
    } else {
      std::size_t next = 0;
      const std::int64_t before = single ? next_row : 0;
      while (next < own.size() && events[own[next]].row < before) ++next;
      MatrixSink sink;
      sink.begin = [&](const Matrix& m) {
        begin(m);
        next_row += m.rows;
        if (single && next_row > in_total)  // rows of betas that no event names
          throw data_error("{}: {} lines of trials, but the betas have {} rows: which trial is which is unknown", table, in_total, next_row);
        for (const std::size_t i : own)
          if (const Event& e = events[i]; !single && e.row >= m.rows)
            throw data_error("{}: line {}: trial {}, but {} has {} rows of betas", o.events[static_cast<std::size_t>(e.table)].path, e.line, e.row + 1, files[k], m.rows);
      };
      sink.rows = [&](std::int64_t first, std::int64_t count, const float* rows) {
        for (; next < own.size() && events[own[next]].row - before < first + count; ++next, ++used)
          take(data, found, own[next], rows + (events[own[next]].row - before - first) * data.voxels());
        return next < own.size() || single;
      };
      scan_matrix(files[k], mask, sink);
    }
    progress.advance();
  }
  if (used != events.size()) throw data_error("{}: {} trials, but the betas have {} rows", table, events.size(), next_row);
  return found;
}

// --nan: ends with an error, or leaves out voxels without any value, then trials with a gap.
void drop_nan(const CustomOptions& o, const std::string& file, const Found& found, TrialBetas& data, store::Trials& trials, store::SubjectInfo& info) {
  if (std::none_of(found.bad.begin(), found.bad.end(), [](auto n) { return n > 0; })) return;
  const std::string summary = nan_summary(trials.session, found.bad);
  if (o.nan == NanRule::error) throw data_error("{}: NaN betas: {}; --nan drop leaves them out", file, summary);
  std::vector<std::uint8_t> keep;
  std::int64_t gone = 0;
  for (const std::int64_t n : found.never) keep.push_back(n < trials.size()), gone += !keep.back();
  data.keep_voxels(keep);
  if (gone > 0) info.dropped.push_back({"voxels", gone, "NaN in every trial"});
  store::Trials left;
  std::vector<std::int64_t> rows;
  for (std::int64_t i = 0; i < trials.size(); ++i)
    if (found.bad[static_cast<std::size_t>(i)] <= gone) left.push(trials, i), rows.push_back(i);
  data.keep_trials(rows);
  if (left.size() < trials.size()) info.dropped.push_back({"trials", trials.size() - left.size(), "NaN betas (" + summary + ")"});
  trials = left;
  if (trials.size() == 0 || data.voxels() == 0) throw data_error("{}: nothing is left once NaN betas are dropped", file);
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
  const auto folder = context.dry_run ? std::filesystem::temp_directory_path() : std::filesystem::absolute(o.output.path).lexically_normal();
  TrialBetas data(context.dry_run ? folder.string() : (folder.has_filename() ? folder : folder.parent_path()).parent_path().string(), o.output.path);
  const Found found = read_trials(o, files, mask, events, ignored, data);
  drop_nan(o, files[0], found, data, trials, info);
  const auto train_of = [&](const std::vector<std::int64_t>& rows) {
    std::vector<std::int64_t> out;
    for (const std::int64_t r : rows)
      if (trials.split[static_cast<std::size_t>(r)] == 0) out.push_back(r);
    return out;
  };
  std::vector<std::int64_t> all(static_cast<std::size_t>(trials.size()));
  std::iota(all.begin(), all.end(), 0);
  if (train_of(all).empty()) throw data_error("{}: an empty split: no training trial is left", o.events[0].path);

  std::vector<float> row(static_cast<std::size_t>(data.voxels()));
  if (o.zscore_runs)
    for (const auto& [run, rows] : grouped<std::pair<int, int>>(trials, [](const store::Trials& t, std::size_t i) { return std::pair<int, int>(t.session[i], t.run[i]); })) {
      const Moments m = moments(data, rows);
      for (const std::int64_t r : rows) {
        data.read(r, row.data());
        zscore(row, m.mean.data(), m.sd.data());
        data.write(r, row.data());
      }
    }

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
    data.keep_voxels(keep);
    row.resize(static_cast<std::size_t>(data.voxels()));
    if (gone > 0) info.dropped.push_back({"voxels", gone, "not reliable enough over repeated training images"});
  }

  store::Voxels voxels;
  voxels.count = data.voxels();
  BetaCheck check(data.voxels());
  for (std::int64_t i = 0; i < trials.size(); ++i) {
    data.read(i, row.data());
    check.row(row.data());
  }
  info.constant_voxels = check.constant_voxels();
  std::vector<std::int64_t> statistic(all.size(), 0);  // which row of the statistics a trial is normalised by
  const auto add_statistics = [&](const std::vector<std::int64_t>& rows, const std::vector<std::int64_t>& from) {
    const Moments m = moments(data, from);
    for (const std::int64_t r : rows) statistic[static_cast<std::size_t>(r)] = voxels.statistic_rows;
    ++voxels.statistic_rows;
    voxels.mean.insert(voxels.mean.end(), m.mean.begin(), m.mean.end());
    voxels.sd.insert(voxels.sd.end(), m.sd.begin(), m.sd.end());
  };
  if (o.normalise == Normalise::train) add_statistics(all, train_of(all));
  if (o.normalise == Normalise::session)
    for (const auto& [session, rows] : grouped<int>(trials, [](const store::Trials& t, std::size_t i) { return static_cast<int>(t.session[i]); })) {
      const auto from = train_of(rows);
      if (from.empty()) throw data_error("{}: session {} has no training trials to normalise by; use --normalise train", o.events[0].path, session);
      add_statistics(rows, from);
    }

  // Places and regions: of a mask's voxels, or of the file's own volume.
  const auto& volume = mask.volume.size() == 3 ? mask.volume : found.first.volume;
  const auto flat_of = [&](std::int64_t column) { return mask.volume.empty() ? column : mask.flat[static_cast<std::size_t>(column)]; };
  const bool placed = volume.size() == 3 && (mask.volume.empty() || mask.volume.size() == 3);
  if (placed)
    for (const std::int64_t c : data.columns()) {
      const std::int64_t f = flat_of(c);
      for (const std::int64_t i : {f / (volume[1] * volume[2]), f / volume[2] % volume[1], f % volume[2]}) voxels.ijk.push_back(static_cast<std::int32_t>(i));
    }
  voxels.has_affine = mask.has_affine || found.first.has_affine;
  voxels.affine = mask.has_affine ? mask.affine : found.first.affine;
  for (const auto& word : o.roi) {
    const std::size_t eq = word.find('=');
    if (eq == std::string::npos || eq == 0) throw usage_error("--roi {}: NAME=FILE expected", word);
    const VoxelMask region = read_mask(word.substr(eq + 1));
    const auto& space = mask.volume.empty() ? found.first.volume : mask.volume;
    if (region.volume != space)
      throw data_error("{}: shape [{}], but the betas' voxels have [{}]", region.source, fmt::join(region.volume, ", "), fmt::join(space, ", "));
    const std::set<std::int64_t> in(region.flat.begin(), region.flat.end());
    std::vector<std::uint8_t> m;
    for (const std::int64_t c : data.columns()) m.push_back(in.contains(flat_of(c)));
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
  for (std::int64_t i = 0; i < trials.size(); ++i) {
    data.read(i, row.data());
    if (const auto at = statistic[static_cast<std::size_t>(i)] * data.voxels(); voxels.statistic_rows > 0) zscore(row, voxels.mean.data() + at, voxels.sd.data() + at);
    writer.append(1, row.data());
  }
  writer.publish(trials, voxels, info, *context.provenance);
  return counts;
}

}  // namespace me2::ingest
