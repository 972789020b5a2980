#include "ingest/nsd.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "ingest/normalise.h"
#include "store/convert.h"
#include "store/extent.h"
#include "store/hdf5.h"
#include "store/matlab.h"
#include "store/nifti.h"
#include "store/npy.h"
#include "store/table.h"

namespace me2::ingest {
namespace {

namespace fs = std::filesystem;
using store::H5File;

struct Layout {
  std::string root, outer, roi_dir, betas_dir, responses, design_mat, stim_info, coco_indices, shared1000, ncsnr;
};

std::string first_there(std::initializer_list<std::string> candidates) {
  for (const auto& c : candidates)
    if (fs::exists(c)) return c;
  return "";
}

Layout find_layout(const NsdOptions& options, const std::string& id) {
  Layout l;
  l.outer = options.root;
  l.root = fs::is_directory(l.outer + "/nsddata") ? l.outer : l.outer + "/nsd";
  if (!fs::is_directory(l.root + "/nsddata")) throw missing_error("{}: no folder nsddata in it (nor in nsd/); the NSD release was expected", l.outer);
  const std::string space = "/func1pt8mm", pp = l.root + "/nsddata/ppdata/" + id, bb = l.root + "/nsddata_betas/ppdata/" + id + space;
  l.roi_dir = pp + space + "/roi";
  std::string name = options.betas_name;
  if (name.empty()) name = fs::is_directory(bb + "/betas_fithrf_GLMdenoise_RR") ? "betas_fithrf_GLMdenoise_RR" : "betas_fithrf";
  l.betas_dir = bb + "/" + name;
  if (!fs::is_directory(l.betas_dir)) throw missing_error("{}: no such folder; the session betas of {} were expected there", l.betas_dir, id);
  l.ncsnr = first_there({l.betas_dir + "/ncsnr.nii.gz", pp + space + "/" + name + "/ncsnr.nii.gz"});
  l.responses = pp + "/behav/responses.tsv";
  l.design_mat = first_there({l.root + "/nsddata/experiments/nsd/nsd_expdesign.mat"});
  l.stim_info = first_there({l.root + "/nsddata/experiments/nsd/nsd_stim_info_merged.csv"});
  l.coco_indices = first_there({l.outer + "/COCO_73k_subj_indices.hdf5", l.root + "/COCO_73k_subj_indices.hdf5"});
  l.shared1000 = first_there({l.outer + "/shared1000.npy", l.root + "/shared1000.npy"});
  return l;
}

// 0-based image of every trial of the whole experiment, from the design file or the prepared index file; both must agree.
std::vector<std::int32_t> images_of(const Layout& l, int subject, const std::string& id) {
  std::vector<std::int32_t> out;
  if (!l.design_mat.empty()) {
    const auto order = store::read_mat(l.design_mat, "masterordering"), image = store::read_mat(l.design_mat, "subjectim");
    if (image.shape.size() != 2 || subject > image.shape[0]) throw data_error("{}: subjectim has {} subjects, subject {} asked for", l.design_mat, image.shape[0], subject);
    for (std::size_t t = 0; t < order.values.size(); ++t) {
      const double slot = order.values[t];
      if (!(slot >= 1 && slot <= static_cast<double>(image.shape[1])) || slot != std::floor(slot))
        throw data_error("{}: masterordering: trial {} is {}, a slot from 1 to {} expected", l.design_mat, t, slot, image.shape[1]);
      out.push_back(static_cast<std::int32_t>(image.at(subject - 1, static_cast<std::int64_t>(slot) - 1)) - 1);
    }
  }
  if (!l.coco_indices.empty()) {
    const auto raw = H5File(l.coco_indices).read<std::int64_t>(id);
    for (std::size_t t = 0; t < std::min(raw.size(), out.size()); ++t)
      if (raw[t] != out[t]) throw data_error("{}: dataset {}: trial {} shows image {}, but {} says {}", l.coco_indices, id, t, raw[t], l.design_mat, out[t]);
    if (out.empty()) out.assign(raw.begin(), raw.end());
  }
  if (out.empty()) throw missing_error("{}: neither nsddata/experiments/nsd/nsd_expdesign.mat nor COCO_73k_subj_indices.hdf5 is there", l.root);
  return out;
}

std::function<bool(std::int32_t)> shared_rule(const Layout& l) {
  std::vector<std::uint8_t> flag;
  if (!l.shared1000.empty()) flag = store::read_npy(l.shared1000).as<std::uint8_t>();
  if (!l.design_mat.empty()) {
    const auto shared = store::read_mat(l.design_mat, "sharedix"), image = store::read_mat(l.design_mat, "subjectim");
    // sharedix counts either slots of subjectim, where all subjects then have the same image, or images themselves.
    bool slots = image.shape.size() == 2;
    for (const double v : shared.values) {
      if (!(v >= 1 && v < 1e7) || v != std::floor(v)) throw data_error("{}: sharedix holds {}, a 1-based number expected", l.design_mat, v);
      slots = slots && v <= static_cast<double>(image.shape[1]);
      for (std::int64_t k = 1; slots && k < image.shape[0]; ++k)
        slots = image.at(k, static_cast<std::int64_t>(v) - 1) == image.at(0, static_cast<std::int64_t>(v) - 1);
    }
    std::vector<std::uint8_t> second(flag.size(), 0);
    for (const double v : shared.values) {
      const double number = slots ? image.at(0, static_cast<std::int64_t>(v) - 1) : v;
      if (!(number >= 1 && number < 1e7)) throw data_error("{}: subjectim holds {}, a 1-based image number expected", l.design_mat, number);
      const auto at = static_cast<std::size_t>(number) - 1;
      if (at >= second.size()) second.resize(at + 1, 0);
      second[at] = 1;
    }
    for (std::size_t i = 0; i < flag.size(); ++i)
      if (flag[i] != second[i]) throw data_error("{}: image {} is {}shared, but {} says otherwise", l.shared1000, i, flag[i] ? "" : "not ", l.design_mat);
    flag = second;
  } else if (flag.empty() && !l.stim_info.empty()) {
    const auto table = store::Table::read(l.stim_info);
    const auto id = table.need("nsdId"), shared = table.need("shared1000");
    for (std::int64_t r = 0; r < table.rows(); ++r) {
      const auto i = static_cast<std::size_t>(table.integer(r, id));
      if (i >= flag.size()) flag.resize(i + 1, 0);
      flag[i] = table.text(r, shared) == "True" || table.text(r, shared) == "1";
    }
  }
  if (flag.empty()) throw missing_error("{}: none of shared1000.npy, nsd_expdesign.mat, nsd_stim_info_merged.csv is there: the shared images are unknown", l.root);
  return [flag = std::move(flag)](std::int32_t image) { return image >= 0 && static_cast<std::size_t>(image) < flag.size() && flag[static_cast<std::size_t>(image)]; };
}

struct Selection {
  std::vector<std::int64_t> flat;  // ascending, z fastest
  store::Voxels voxels;
  store::Shape volume;
};

Selection select_voxels(const NsdOptions& options, const Layout& l, std::vector<store::Dropped>& dropped) {
  const std::string mask_path = options.mask ? options.mask->path : l.roi_dir + "/nsdgeneral.nii.gz";
  const auto mask = store::read_nifti_volume(mask_path);
  std::optional<double> threshold = options.ncsnr;
  if (!threshold && options.variant == NsdVariant::notebook) threshold = 0.15;
  std::vector<double> ceiling;
  if (threshold) {
    if (l.ncsnr.empty()) throw missing_error("{}/ncsnr.nii.gz: no such file; --ncsnr and --variant notebook need the noise ceilings", l.betas_dir);
    auto volume = store::read_nifti_volume(l.ncsnr);
    if (volume.header.shape != mask.header.shape)
      throw data_error("{}: shape [{}], but the mask {} has [{}]", l.ncsnr, fmt::join(volume.header.shape, ", "), mask_path, fmt::join(mask.header.shape, ", "));
    ceiling = std::move(volume.values);
  }
  Selection s;
  s.volume = {mask.header.x(), mask.header.y(), mask.header.z()};
  std::int64_t low = 0;
  for (std::size_t i = 0; i < mask.values.size(); ++i) {
    if (options.mask ? !(mask.values[i] > 0) : mask.values[i] != 1) continue;
    // Fidelity: the float32 ceilings are compared as float64, so 0.15f passes a threshold of 0.15; NaN fails.
    if (threshold && !(ceiling[i] >= *threshold)) {
      ++low;
      continue;
    }
    s.flat.push_back(static_cast<std::int64_t>(i));
  }
  if (low > 0) dropped.push_back({"voxels", low, fmt::format("noise-ceiling SNR below {} or NaN", *threshold)});
  if (s.flat.empty() && low > 0) throw data_error("{}: none of the {} voxels of {} reaches a noise-ceiling SNR of {} (ncsnr)", l.ncsnr, low, mask_path, *threshold);
  if (s.flat.empty()) throw data_error("{}: no voxel is left in the mask", mask_path);
  s.voxels.count = static_cast<std::int64_t>(s.flat.size());
  const std::int64_t ny = s.volume[1], nz = s.volume[2];
  for (const std::int64_t f : s.flat)
    for (const std::int64_t c : {f / (ny * nz), f / nz % ny, f % nz}) s.voxels.ijk.push_back(static_cast<std::int32_t>(c));
  s.voxels.has_affine = true;
  s.voxels.affine = mask.header.affine;

  const auto add = [&](const std::string& name, const std::string& path, const std::function<bool(double)>& keep) {
    const auto region = store::read_nifti_volume(path);
    if (region.header.shape != mask.header.shape)
      throw data_error("{}: shape [{}], but the mask {} has [{}]", path, fmt::join(region.header.shape, ", "), mask_path, fmt::join(mask.header.shape, ", "));
    std::vector<std::uint8_t> m;
    for (const std::int64_t f : s.flat) m.push_back(keep(region.values[static_cast<std::size_t>(f)]));
    s.voxels.roi.emplace_back(name, std::move(m));
  };
  // The regions of the MindEye2 release, from NSD's retinotopic labels 1..7 = V1v V1d V2v V2d V3v V3d hV4.
  if (const std::string labels = l.roi_dir + "/prf-visualrois.nii.gz"; fs::exists(labels)) {
    s.voxels.roi.emplace_back("nsd_general", std::vector<std::uint8_t>(s.flat.size(), 1));
    add("V1", labels, [](double v) { return v == 1 || v == 2; });
    add("V2", labels, [](double v) { return v == 3 || v == 4; });
    add("V3", labels, [](double v) { return v == 5 || v == 6; });
    add("V4", labels, [](double v) { return v == 7; });
    add("higher_vis", labels, [](double v) { return !(v >= 1 && v <= 7); });
  }
  for (const auto& word : options.roi) {
    const std::size_t eq = word.find('=');
    if (eq == std::string::npos || eq == 0) throw usage_error("--roi {}: NAME=FILE expected", word);
    add(word.substr(0, eq), word.substr(eq + 1), [](double v) { return v > 0; });
  }
  return s;
}

// One session's betas at the selected voxels, [trial, voxel], unscaled integers or floats as float64.
std::vector<double> read_session(const Layout& l, const Selection& s, int session, NsdSource source, std::int64_t& trials) {
  const std::string stem = fmt::format("{}/betas_session{:02}", l.betas_dir, session);
  const bool has_hdf5 = fs::exists(stem + ".hdf5");
  const bool hdf5 = source == NsdSource::hdf5 || (source == NsdSource::automatic && has_hdf5);
  const std::size_t width = s.flat.size();
  std::vector<double> out;
  if (hdf5) {
    const H5File file(stem + ".hdf5");
    const auto shape = file.shape("betas");
    const store::Shape want{s.volume[2], s.volume[1], s.volume[0]};
    if (shape.size() != 4 || store::Shape(shape.begin() + 1, shape.end()) != want)
      throw data_error("{}: dataset betas: shape [trials, {}] expected as the mask's axes reversed, [{}] found: mask and betas are of different shape", file.path(),
                       fmt::join(want, ", "), fmt::join(shape, ", "));
    trials = shape[0];
    std::vector<std::size_t> at;  // x runs fastest here
    for (const std::int64_t f : s.flat) {
      const std::int64_t z = f % s.volume[2], y = f / s.volume[2] % s.volume[1], x = f / (s.volume[2] * s.volume[1]);
      at.push_back(static_cast<std::size_t>((z * s.volume[1] + y) * s.volume[0] + x));
    }
    const store::DType dtype = file.dtype("betas");
    const std::int64_t block = 4, row = file.row_size("betas");
    std::vector<std::int16_t> small(dtype == store::DType::i2 ? static_cast<std::size_t>(block * row) : 0);
    std::vector<double> large(dtype == store::DType::i2 ? 0 : static_cast<std::size_t>(block * row));
    for (std::int64_t t = 0; t < trials; t += block) {
      const std::int64_t n = std::min(block, trials - t);
      if (dtype == store::DType::i2) file.read_rows("betas", t, n, dtype, small.data());
      else file.read_rows("betas", t, n, store::DType::f8, large.data());
      for (std::int64_t k = 0; k < n; ++k)
        for (const std::size_t a : at) out.push_back(dtype == store::DType::i2 ? small[static_cast<std::size_t>(k * row) + a] : large[static_cast<std::size_t>(k * row) + a]);
    }
    return out;
  }
  const std::string path = first_there({stem + ".nii.gz", stem + ".nii"});
  if (path.empty()) throw missing_error("{}.nii.gz: no such file (nor .hdf5)", stem);
  store::NiftiFile file(path);
  const auto& h = file.header();
  if (store::Shape{h.x(), h.y(), h.z()} != s.volume)
    throw data_error("{}: shape [{}], but the mask has [{}]: mask and betas are of different shape", path, fmt::join(h.shape, ", "), fmt::join(s.volume, ", "));
  trials = h.volumes();
  out.resize(static_cast<std::size_t>(trials) * width);
  for (std::int64_t t = 0; file.next(); ++t) file.gather(s.flat, out.data() + static_cast<std::size_t>(t) * width);
  return out;
}

struct Responses {  // responses.tsv, by global trial
  std::vector<std::array<double, 17>> rows;
  std::vector<std::int64_t> line;
};

// To the release's 17 columns: image, subject, session, run, trial, global trial, time, ISOLD .. BUTTON, is_shared1000.
Responses read_responses(const std::string& path) {
  Responses r;
  if (!fs::exists(path)) {
    log_warning("{}: no such file; the store gets no behaviour and no runs", path);
    return r;
  }
  const auto table = store::Table::read(path);
  const char* names[] = {"73KID", "SUBJECT", "SESSION", "RUN", "TRIAL", "", "TIME", "ISOLD", "ISCORRECT", "RT", "CHANGEMIND",
                         "ISOLDCURRENT", "ISCORRECTCURRENT", "TOTAL1", "TOTAL2", "BUTTON"};
  std::vector<std::size_t> column;
  for (const char* name : names) column.push_back(*name ? table.need(name) : 0);
  for (std::int64_t i = 0; i < table.rows(); ++i) {
    std::array<double, 17> row{};
    for (std::size_t c = 0; c < column.size(); ++c)
      if (*names[c]) row[c] = table.number(i, column[c]);
    row[0] = static_cast<double>(table.integer(i, column[0]) - 1);
    row[5] = static_cast<double>(i);
    row[6] = std::trunc(row[6]);
    if (i > 0 && (row[2] < r.rows.back()[2])) throw data_error("{}: line {}: session {} after session {}; trials in order expected", path, table.line(i), row[2], r.rows.back()[2]);
    if (i > 0 && row[2] == r.rows.back()[2] && row[3] == r.rows.back()[3] && row[4] == r.rows.back()[4])
      throw data_error("{}: line {}: duplicate trial: session {}, run {}, trial {} is also in the line before", path, table.line(i), row[2], row[3], row[4]);
    r.rows.push_back(row);
    r.line.push_back(table.line(i));
  }
  return r;
}

}  // namespace

Json import_nsd(const NsdOptions& options, const Context& context) {
  if (!fs::is_directory(options.root)) throw missing_error("{}: no such folder; the NSD release was expected", options.root);
  refuse_overlap(options.root, options.output.path);
  const std::string id = subject_id(options.subject);
  const Layout layout = find_layout(options, id);
  store::SubjectInfo info;
  info.id = id;
  info.source = "nsd";
  Selection selection = select_voxels(options, layout, info.dropped);
  const auto images = images_of(layout, options.subject, id);
  const auto is_shared = shared_rule(layout);
  const Responses responses = read_responses(layout.responses);

  int sessions = 0;
  while (!first_there({fmt::format("{}/betas_session{:02}.hdf5", layout.betas_dir, sessions + 1), fmt::format("{}/betas_session{:02}.nii.gz", layout.betas_dir, sessions + 1),
                       fmt::format("{}/betas_session{:02}.nii", layout.betas_dir, sessions + 1)}).empty())
    ++sessions;
  if (sessions == 0) throw missing_error("{}: no betas_session01.hdf5 or .nii.gz", layout.betas_dir);
  if (options.sessions < 0 || options.sessions > sessions) throw usage_error("--sessions {}: {} sessions are there", options.sessions, sessions);
  if (options.sessions > 0) sessions = options.sessions;
  for (const int s : options.statistics_sessions)
    if (s < 1 || s > sessions) throw usage_error("--statistics-sessions {}: sessions 1 to {} are taken", s, sessions);
  const bool release = options.variant == NsdVariant::release, pooled = !options.statistics_sessions.empty();
  const std::size_t width = selection.flat.size();

  const auto first_of = [&](int session, std::int64_t trials) { return static_cast<std::int64_t>(session - 1) * trials; };
  const auto counts_for_statistics = [&](std::int64_t trial) { return !release || !is_shared(images[static_cast<std::size_t>(trial)]); };
  std::int64_t per_session = 0;
  const auto load = [&](int session) {
    std::int64_t n = 0;
    auto data = read_session(layout, selection, session, options.source, n);
    if (per_session == 0) per_session = n;
    if (n != per_session) throw data_error("{}/betas_session{:02}: {} trials, but session 1 has {}", layout.betas_dir, session, n, per_session);
    if (first_of(session, n) + n > static_cast<std::int64_t>(images.size()))
      throw data_error("{}/betas_session{:02}: trials up to {}, but the design has {}", layout.betas_dir, session, first_of(session, n) + n, images.size());
    return data;
  };

  // The trial table needs the number of trials per session: from the first session's header.
  store::Trials trials;
  auto data = load(1);
  for (std::int64_t t = 0; t < per_session * sessions; ++t) {
    if (t >= static_cast<std::int64_t>(images.size())) throw data_error("{}: {} sessions of {} trials, but the design has {} trials", layout.betas_dir, sessions, per_session, images.size());
    const std::int32_t image = images[static_cast<std::size_t>(t)];
    trials.stimulus.push_back(image);
    trials.global_trial.push_back(static_cast<std::int32_t>(t));
    trials.session.push_back(static_cast<std::int16_t>(t / per_session + 1));
    trials.split.push_back(is_shared(image));
    std::int16_t run = 0;
    if (!responses.rows.empty()) {
      if (t >= static_cast<std::int64_t>(responses.rows.size()))
        throw data_error("{}: {} trials, but the betas have {}", layout.responses, responses.rows.size(), per_session * sessions);
      auto row = responses.rows[static_cast<std::size_t>(t)];
      if (row[0] != image || row[2] != static_cast<double>(t / per_session + 1))
        throw data_error("{}: line {}: image {} in session {}, but the design says image {} in session {}", layout.responses, responses.line[static_cast<std::size_t>(t)], row[0],
                         row[2], image, t / per_session + 1);
      row[16] = is_shared(image);
      run = static_cast<std::int16_t>(row[3]);
      for (const double v : row) trials.behaviour.push_back(static_cast<float>(v));
    }
    trials.run.push_back(run);
  }
  trials.repeat = store::count_repeats(trials.stimulus);
  check_disjoint(trials, layout.root);
  if (std::count(trials.split.begin(), trials.split.end(), 0) == 0) throw data_error("{}: an empty split: every trial shows a shared image, so none is left for training", layout.root);
  if (std::count(trials.split.begin(), trials.split.end(), 1) == 0) log_warning("no shared image was shown in these sessions: the test set is empty");

  Json attributes;
  attributes["variant"] = release ? "release" : "notebook";
  attributes["trials_per_session"] = per_session;
  attributes["voxel_selection"] = {{"mask", options.mask ? options.mask->path : "nsdgeneral == 1"}};
  if (options.ncsnr || !release) attributes["voxel_selection"]["ncsnr_at_least"] = options.ncsnr.value_or(0.15);
  attributes["normalised"] = pooled ? fmt::format("per voxel, by the {} of sessions {}", release ? "non-shared trials" : "trials", fmt::join(options.statistics_sessions, ", "))
                                    : fmt::format("per voxel and session, by the session's {}", release ? "non-shared trials" : "trials");
  info.attributes = &attributes;
  if (context.dry_run) return store::subject_counts(trials, selection.voxels.count, info);

  store::Voxels& voxels = selection.voxels;
  voxels.statistic_rows = pooled ? 1 : sessions;
  std::optional<H5File> released;
  double worst = 0, total = 0;
  std::int64_t worst_trial = 0, worst_voxel = 0;
  if (options.compare) {
    released.emplace(options.compare->path);
    const auto shape = released->shape("betas");
    if (shape.size() != 2 || shape[1] != voxels.count || shape[0] < per_session * sessions)
      throw data_error("{}: dataset betas: shape [{}, {}] expected, [{}] found", options.compare->path, per_session * sessions, voxels.count, fmt::join(shape, ", "));
  }

  // int16 betas cannot be NaN; float ones are looked through before anything is averaged or written.
  const auto holds_floats = [&](int session) {
    const std::string stem = fmt::format("{}/betas_session{:02}", layout.betas_dir, session);
    const bool hdf5 = fs::exists(stem + ".hdf5") && options.source != NsdSource::nifti;
    return (hdf5 ? H5File(stem + ".hdf5").dtype("betas") : store::NiftiFile(first_there({stem + ".nii.gz", stem + ".nii"})).header().dtype) > store::DType::u8;
  };
  std::vector<std::int64_t> nan_values(static_cast<std::size_t>(trials.size()), 0);
  for (int session = 1; session <= sessions; ++session) {
    if (!holds_floats(session)) continue;
    const auto values = load(session);
    for (std::size_t i = 0; i < values.size(); ++i) nan_values[static_cast<std::size_t>(first_of(session, per_session)) + i / width] += !std::isfinite(values[i]);
  }
  store::Trials written;
  for (std::int64_t i = 0; i < trials.size(); ++i)
    if (nan_values[static_cast<std::size_t>(i)] == 0) written.push(trials, i);
  if (written.size() < trials.size()) {
    const std::string summary = nan_summary(trials.session, nan_values);
    if (options.nan == NanRule::error) throw data_error("{}: NaN betas: {}; --nan drop leaves their trials out", layout.betas_dir, summary);
    info.dropped.push_back({"trials", trials.size() - written.size(), "NaN betas (" + summary + ")"});
    if (written.size() == 0) throw data_error("{}: no trial without NaN betas is left", layout.betas_dir);
  }
  const auto moments_of = [&](int session, const std::vector<double>& values, Moments& m) {
    for (std::int64_t t = 0; t < per_session; ++t)
      if (const auto trial = first_of(session, per_session) + t; counts_for_statistics(trial) && nan_values[static_cast<std::size_t>(trial)] == 0)
        m.add(values.data() + static_cast<std::size_t>(t) * width);
  };
  Moments shared(width);
  for (const int s : options.statistics_sessions) moments_of(s, load(s), shared);
  if (pooled) shared.finish();

  store::SubjectWriter writer(options.output.path, written.size(), voxels.count, context.write);
  BetaCheck check(voxels.count);
  Progress progress("sessions", sessions);
  std::vector<float> row(width), theirs(released ? width : 0);
  for (int session = 1; session <= sessions; ++session) {
    if (session > 1) data = load(session);
    Moments own(width);
    moments_of(session, data, own);
    own.finish();
    const Moments& m = pooled ? shared : own;
    if (!pooled || session == 1) {
      voxels.mean.insert(voxels.mean.end(), m.mean.begin(), m.mean.end());
      voxels.sd.insert(voxels.sd.end(), m.sd.begin(), m.sd.end());
    }
    for (std::int64_t t = 0; t < per_session; ++t) {
      const std::int64_t trial = first_of(session, per_session) + t;
      if (nan_values[static_cast<std::size_t>(trial)] > 0) continue;
      const double* raw = data.data() + static_cast<std::size_t>(t) * width;
      for (std::size_t v = 0; v < width; ++v) {
        const double z = (raw[v] - m.mean[v]) / m.sd[v];
        // Fidelity: the notebook casts to float16; one rounding, then exact in float32.
        row[v] = release ? static_cast<float>(z) : store::half_to_float(store::double_to_half(z));
      }
      check.row(row.data());
      writer.append(1, row.data());
      if (!released) continue;
      released->read_rows("betas", trial, 1, store::DType::f4, theirs.data());
      for (std::size_t v = 0; v < width; ++v) {
        const double d = std::abs(static_cast<double>(row[v]) - theirs[v]);
        total += d;
        if (!(d <= worst)) worst = d, worst_trial = trial, worst_voxel = static_cast<std::int64_t>(v);
      }
    }
    progress.advance();
  }
  info.constant_voxels = check.constant_voxels();
  writer.publish(written, voxels, info, *context.provenance);
  Json counts = store::subject_counts(written, voxels.count, info);
  if (released)
    counts["compare"] = {{"file", options.compare->path}, {"largest_difference", worst}, {"trial", worst_trial}, {"voxel", worst_voxel},
                         {"mean_difference", total / static_cast<double>(written.size() * voxels.count)}};
  return counts;
}

}  // namespace me2::ingest
