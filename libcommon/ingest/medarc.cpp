#include "ingest/medarc.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <set>

#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "ingest/stimuli.h"
#include "store/hdf5.h"
#include "store/npy.h"
#include "store/tar.h"

namespace me2::ingest {
namespace {

namespace fs = std::filesystem;
using store::H5File;
using store::Trials;

constexpr std::size_t kColumns = 17;
using Behaviour = std::array<double, kColumns>;

struct Record {
  Behaviour row;
  std::int8_t split = -1;
  bool in_tar = false;  // else known only as another trial's neighbour
};

class Release {
 public:
  Release(const std::string& dir, const std::string& id) : dir_(dir), id_(id) {
    betas_path = dir + "/betas_all_" + id + "_fp32_renorm.hdf5";
    if (!fs::exists(betas_path)) throw missing_error("{}: no such file; the release of {} was expected in {}", betas_path, id, dir);
  }

  // Tars 0.tar, 1.tar, ... of a split; a gap is an error.
  std::vector<std::string> tars(const std::string& split) const {
    const fs::path folder = fs::path(dir_) / "wds" / id_ / split;
    if (!fs::is_directory(folder)) throw missing_error("{}: no such folder; the tars of split {} were expected there", folder.string(), split);
    std::set<long> numbers;
    for (const auto& entry : fs::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      if (name.ends_with(".tar") && name.size() > 4 && name.size() < 13 && name.find_first_not_of("0123456789") == name.size() - 4) numbers.insert(std::stol(name));
    }
    std::vector<std::string> out;
    for (const long n : numbers) {
      if (n != static_cast<long>(out.size())) throw missing_error("{}/{}.tar: no such file, though {}.tar is there", folder.string(), out.size(), n);
      out.push_back((folder / (std::to_string(n) + ".tar")).string());
    }
    if (out.empty()) throw missing_error("{}: no tar files 0.tar, 1.tar, ...", folder.string());
    return out;
  }

  std::string betas_path;

 private:
  std::string dir_, id_;
};

std::vector<Behaviour> rows_of(const store::WebSample& sample, const std::string& field, const std::string& tar, bool required) {
  const auto* bytes = sample.find(field);
  const std::string where = fmt::format("{}: sample {}: {}", tar, sample.key, field);
  if (!bytes) {
    if (required) throw data_error("{}: this member is missing", where);
    return {};
  }
  const store::NpyArray a = store::parse_npy(*bytes, where);
  if (a.shape.size() != 2 || a.shape[1] != static_cast<std::int64_t>(kColumns))
    throw data_error("{}: shape [n, 17] expected, [{}] found", where, fmt::join(a.shape, ", "));
  const auto values = a.as<double>();
  std::vector<Behaviour> out(static_cast<std::size_t>(a.shape[0]));
  for (std::size_t i = 0; i < out.size(); ++i) std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(i * kColumns), kColumns, out[i].begin());
  return out;
}

std::int64_t whole(double value, std::int64_t low, std::int64_t high, const char* what, const std::string& where) {
  if (!(value >= static_cast<double>(low) && value <= static_cast<double>(high)) || value != std::floor(value))
    throw data_error("{}: {} is {}, a whole number from {} to {} expected", where, what, value, low, high);
  return static_cast<std::int64_t>(value);
}

using Records = std::map<std::int64_t, Record>;  // by global trial

// Reads one tar. With split < 0 nothing is claimed: only neighbours are learnt.
void read_tar(const std::string& tar, int split, std::int64_t rows, Records& records) {
  store::WebdatasetReader reader(tar);
  store::WebSample sample;
  while (reader.next(sample)) {
    const std::string where = fmt::format("{}: sample {}", tar, sample.key);
    const auto own = rows_of(sample, "behav.npy", tar, true);
    if (own.size() != 1) throw data_error("{}: behav.npy: 1 row expected, {} found", where, own.size());
    const std::int64_t trial = whole(own[0][5], 0, rows - 1, "global trial (column 5)", where);
    whole(own[0][0], 0, std::numeric_limits<std::int32_t>::max(), "image index (column 0)", where);
    whole(own[0][2], 1, 10000, "session (column 2)", where);
    for (const char* field : {"past_behav.npy", "future_behav.npy", "olds_behav.npy"})
      for (const Behaviour& other : rows_of(sample, field, tar, false))
        if (other[5] >= 0 && other[5] < static_cast<double>(rows) && other[5] == std::floor(other[5]) && other[0] >= 0 && other[2] >= 1)
          records.emplace(static_cast<std::int64_t>(other[5]), Record{other});
    Record& r = records[trial];
    if (r.in_tar && split >= 0) throw data_error("{}: duplicate trial: global trial {} is already in the {} set", where, trial, r.split == 1 ? "test" : "training");
    r.row = own[0];
    if (split >= 0) r.in_tar = true, r.split = static_cast<std::int8_t>(split);
  }
}

float behaviour_value(double value, std::size_t column) {  // columns 8 to 15 hold -1 where the source had no value
  return column >= 8 && column <= 15 && value == -1 ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(value);
}

}  // namespace

Json import_medarc(const MedarcOptions& options, const Context& context) {
  const std::string dir = options.release, id = subject_id(options.subject);
  if (!fs::is_directory(dir)) throw missing_error("{}: no such folder; the MindEye2 release was expected", dir);
  refuse_overlap(dir, options.output.path);
  if (options.sessions < 0) throw usage_error("--sessions {}: 0 or more expected", options.sessions);
  const Release release(dir, id);
  const H5File betas(release.betas_path);
  const auto shape = betas.shape("betas");
  if (shape.size() != 2 || shape[1] < 1) throw data_error("{}: dataset betas: shape [trials, voxels] expected, [{}] found", release.betas_path, fmt::join(shape, ", "));
  const std::int64_t rows = shape[0];
  std::int64_t width = shape[1];

  const auto train_tars = release.tars("train");
  const auto taken = options.sessions == 0 ? train_tars.size() : static_cast<std::size_t>(options.sessions);
  if (taken > train_tars.size()) throw usage_error("--sessions {}: the release has {} training tars of {}", options.sessions, train_tars.size(), id);
  Records records;
  for (std::size_t i = 0; i < taken; ++i) read_tar(train_tars[i], 0, rows, records);
  const std::string split = options.split == MedarcSplit::test ? "test" : "new_test";
  for (const auto& tar : release.tars(split)) read_tar(tar, 1, rows, records);

  // Trials of no tar that was read (the shared trials that only new_test holds) are known from their neighbours' records.
  store::SubjectInfo info;
  info.id = id;
  info.source = "medarc";
  Trials trials;
  std::int64_t later = 0, last_session = 0;
  for (const auto& [trial, r] : records) last_session = std::max(last_session, static_cast<std::int64_t>(r.row[2]));
  for (const auto& [trial, r] : records) {
    if (!r.in_tar && r.row[2] > static_cast<double>(taken)) {
      ++later;
      continue;
    }
    trials.global_trial.push_back(static_cast<std::int32_t>(trial));
    trials.stimulus.push_back(static_cast<std::int32_t>(r.row[0]));
    trials.session.push_back(static_cast<std::int16_t>(r.row[2]));
    trials.run.push_back(static_cast<std::int16_t>(r.row[3]));
    trials.split.push_back(r.split);
    for (std::size_t c = 0; c < kColumns; ++c) trials.behaviour.push_back(behaviour_value(r.row[c], c));
  }
  if (const std::int64_t left_out = rows - trials.size(); left_out > 0)
    info.dropped.push_back({"trials", left_out, fmt::format("neither in the first {} sessions nor in the {} set", taken, split)});

  // The design file knows every trial's image, so it also gives repeats and checks the tars.
  const std::string design = dir + "/COCO_73k_subj_indices.hdf5";
  if (fs::exists(design)) {
    const H5File file(design);
    const auto images = file.read<std::int64_t>(id);
    if (static_cast<std::int64_t>(images.size()) != rows)
      throw data_error("{}: dataset {}: {} trials expected as in {}, {} found", design, id, rows, release.betas_path, images.size());
    const std::vector<std::int32_t> all(images.begin(), images.end());
    const auto repeats = store::count_repeats(all);
    for (std::size_t i = 0; i < trials.stimulus.size(); ++i) {
      const auto t = static_cast<std::size_t>(trials.global_trial[i]);
      if (all[t] != trials.stimulus[i])
        throw data_error("{}: dataset {}: trial {} shows image {}, but its tar says {}", design, id, t, all[t], trials.stimulus[i]);
      trials.repeat.push_back(repeats[t]);
    }
  } else {
    log_warning("{}: no such file; repeats are counted over the trials in the store only", design);
    trials.repeat = store::count_repeats(trials.stimulus);
  }
  const std::string shared = dir + "/shared1000.npy";
  if (fs::exists(shared)) {
    const auto is_shared = store::read_npy(shared).as<std::uint8_t>();
    for (std::size_t i = 0; i < trials.stimulus.size(); ++i) {
      const auto s = static_cast<std::size_t>(trials.stimulus[i]);
      if (s >= is_shared.size()) throw data_error("{}: {} images, but trial {} shows image {}", shared, is_shared.size(), trials.global_trial[i], s);
      if (trials.split[i] >= 0 && (is_shared[s] != 0) != (trials.split[i] == 1))
        throw data_error("{}: image {} is {}shared, but trial {} is in the {} set", shared, s, is_shared[s] ? "" : "not ", trials.global_trial[i],
                         trials.split[i] == 1 ? "test" : "training");
    }
  }
  check_disjoint(trials, dir);
  if (std::count(trials.split.begin(), trials.split.end(), 0) == 0) throw data_error("{}: an empty split: no training trials for {}", dir, id);
  if (std::count(trials.split.begin(), trials.split.end(), 1) == 0) throw data_error("{}: an empty split: no {} trials for {}", dir, split, id);

  store::Voxels voxels;
  const std::string masks = dir + "/brain_region_masks.hdf5";
  if (fs::exists(masks)) {
    const H5File file(masks);
    if (file.has(id))
      for (const auto& name : file.datasets(id)) {
        const auto mask = file.read<std::uint8_t>(id + "/" + name);
        if (static_cast<std::int64_t>(mask.size()) != width)
          throw data_error("{}: dataset {}/{}: {} voxels, but betas have {}: mask and betas are of different shape", masks, id, name, mask.size(), width);
        voxels.roi.emplace_back(name, mask);
      }
  } else {
    log_warning("{}: no such file; the store gets no regions", masks);
  }

  Json attributes;
  attributes["test_set"] = split;
  attributes["train_sessions"] = taken;
  if (last_session > 0 && rows % last_session == 0) attributes["trials_per_session"] = rows / last_session;
  attributes["betas_digest"] = quick_digest(release.betas_path);
  attributes["normalised"] = "as released: per voxel and session, by the statistics of the non-shared trials";
  info.attributes = &attributes;

  if (context.dry_run) return store::subject_counts(trials, width, info);

  // Streamed. --nan drop looks through the betas first: what is left decides the store's shape.
  const int writing_pass = options.nan == NanRule::drop ? 1 : 0;
  std::vector<std::uint8_t> drop_voxel(static_cast<std::size_t>(width), 0);
  for (int pass = 0;; ++pass) {
    std::vector<std::int64_t> kept;
    for (std::size_t v = 0; v < drop_voxel.size(); ++v)
      if (!drop_voxel[v]) kept.push_back(static_cast<std::int64_t>(v));
    const auto out_width = static_cast<std::int64_t>(kept.size());
    std::optional<store::SubjectWriter> writer;
    if (pass == writing_pass) writer.emplace(options.output.path, trials.size(), out_width, context.write);
    BetaCheck check(width);
    std::vector<std::int64_t> bad(static_cast<std::size_t>(trials.size()), 0);
    const std::int64_t block = std::clamp<std::int64_t>((32 << 20) / (width * 4), 1, std::max<std::int64_t>(1, trials.size()));
    std::vector<float> buffer(static_cast<std::size_t>(block * width)), packed;
    Progress progress("trials", trials.size());
    std::int64_t bad_trials = 0;
    for (std::int64_t i = 0; i < trials.size();) {
      std::int64_t n = 0;  // consecutive rows are read together
      while (n < block && i + n < trials.size()) {
        std::int64_t m = 1;
        while (n + m < block && i + n + m < trials.size() &&
               trials.global_trial[static_cast<std::size_t>(i + n + m)] == trials.global_trial[static_cast<std::size_t>(i + n + m - 1)] + 1)
          ++m;
        betas.read_rows("betas", trials.global_trial[static_cast<std::size_t>(i + n)], m, store::DType::f4, buffer.data() + n * width);
        n += m;
      }
      for (std::int64_t k = 0; k < n; ++k) {
        const std::int64_t before = check.bad_values();
        if (!check.row(buffer.data() + k * width)) {
          bad[static_cast<std::size_t>(i + k)] = check.bad_values() - before;
          ++bad_trials;
        }
      }
      if (writer && (bad_trials == 0 || pass > 0)) {
        const float* rows_out = buffer.data();
        if (out_width != width) {
          packed.resize(static_cast<std::size_t>(n * out_width));
          for (std::int64_t k = 0; k < n; ++k)
            for (std::int64_t v = 0; v < out_width; ++v) packed[static_cast<std::size_t>(k * out_width + v)] = buffer[static_cast<std::size_t>(k * width + kept[static_cast<std::size_t>(v)])];
          rows_out = packed.data();
        }
        writer->append(n, rows_out);
      }
      i += n;
      progress.advance(n);
    }
    if (pass == 0 && !writer && bad_trials == 0) continue;
    if (bad_trials > 0 && pass == 0) {
      if (writer) writer->discard();
      if (options.nan == NanRule::error)
        throw data_error("{}: dataset betas holds NaN: {}; --nan drop leaves them out", release.betas_path, nan_summary(trials.session, bad));
      drop_voxel = check.never_seen();
      const auto gone = std::count(drop_voxel.begin(), drop_voxel.end(), 1);
      if (gone > 0) info.dropped.push_back({"voxels", gone, "NaN in every trial"});
      Trials left;
      for (std::int64_t i = 0; i < trials.size(); ++i)
        if (bad[static_cast<std::size_t>(i)] <= gone) left.push(trials, i);
      if (left.size() < trials.size())
        info.dropped.push_back({"trials", trials.size() - left.size(), fmt::format("NaN betas ({})", nan_summary(trials.session, bad))});
      trials = left;
      if (trials.size() == 0 || gone == width) throw data_error("{}: dataset betas: nothing is left once NaN are dropped", release.betas_path);
      for (auto& [name, mask] : voxels.roi) {
        std::vector<std::uint8_t> m;
        for (std::size_t v = 0; v < mask.size(); ++v)
          if (!drop_voxel[v]) m.push_back(mask[v]);
        mask = m;
      }
      continue;
    }
    info.constant_voxels = check.constant_voxels();
    voxels.count = out_width;
    if (options.stimuli) attributes["stimuli"] = fs::path(options.stimuli->path).filename().string();
    writer->publish(trials, voxels, info, *context.provenance);
    break;
  }
  Json counts = store::subject_counts(trials, voxels.count, info);
  if (options.stimuli) {
    StimuliOptions images;
    images.input.path = dir + "/coco_images_224_float16.hdf5";
    images.output = *options.stimuli;
    counts["stimuli"] = import_stimuli(images, context);
  }
  return counts;
}

}  // namespace me2::ingest
