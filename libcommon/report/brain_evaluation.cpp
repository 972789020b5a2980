#include "report/brain_evaluation.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "metrics/brain.h"
#include "models/gnet.h"
#include "store/hdf5.h"
#include "store/zarr.h"
#include "vision/resize.h"
#include "weights/state_dict.h"

namespace me2::report {
namespace {

struct Net {
  models::GNetEncoder encoder;
  models::GNetReadout readout;
};

Net load(const std::string& path, int subject) {
  const auto file = weights::StateDict::open(path).without_prefix("best_params.");
  std::set<int> subjects;
  for (const auto& name : file.names())
    if (name.starts_with("fwrfs.") && name.size() > 6 && std::isdigit(static_cast<unsigned char>(name[6]))) subjects.insert(std::stoi(name.substr(6)));
  std::string prefix = "fwrf.";
  if (!subjects.empty()) {
    if (subject == 0 && subjects.size() == 1) subject = *subjects.begin();
    if (!subjects.contains(subject)) throw data_error("{}: no readout of subject {}; it has those of {} (--gnet-subject)", path, subject, fmt::join(subjects, ", "));
    prefix = fmt::format("fwrfs.{}.", subject);
  }
  nn::Loader encoder(file.sub("enc.")), readout(file.sub(prefix));
  return {models::GNetEncoder{nn::Scope(encoder)}, models::GNetReadout{nn::Scope(readout)}};
}

struct Measured {
  at::Tensor mean;                   // [n, voxels]
  at::Tensor repeats;                // [n, k, voxels], the first k trials of each; undefined when some image has one trial only
  int subject = 0;                   // 0: the store does not say
  std::string id;                    // "subj01"
  std::vector<std::pair<std::string, at::Tensor>> regions;  // bool [voxels]
};

at::Tensor bool_mask(const std::vector<std::uint8_t>& values) { return at::tensor(values, at::kByte).to(at::kBool); }

Measured read_betas(const BrainOptions& options, const std::vector<std::string>& ids) {
  const auto group = store::Group::open(options.betas);
  const auto betas = group.array("betas");
  if (betas.shape().size() != 2) throw data_error("{}: betas [trial, voxel] expected", betas.path());
  const auto voxels = betas.shape()[1];
  const auto stimulus = group.array("stimulus").read<std::int64_t>();
  std::vector<std::int64_t> split(stimulus.size(), 1);
  if (group.has_array("split")) split = group.array("split").read<std::int64_t>();
  std::map<std::string, std::vector<std::int64_t>> trials, others;
  for (std::size_t i = 0; i < stimulus.size(); ++i) (split[i] == 1 ? trials : others)[std::to_string(stimulus[i])].push_back(static_cast<std::int64_t>(i));
  Measured out;
  std::size_t fewest = 3;
  std::vector<const std::vector<std::int64_t>*> of;
  for (const auto& id : ids) {
    auto it = trials.find(id);
    if (it == trials.end() && (it = others.find(id)) == others.end()) throw data_error("{}: no trial shows image {}, which is among those scored", options.betas, id);
    of.push_back(&it->second);
    fewest = std::min(fewest, it->second.size());
  }
  const auto n = static_cast<std::int64_t>(ids.size()), k = static_cast<std::int64_t>(fewest);
  out.mean = at::empty({n, voxels}, at::kFloat);
  if (k > 1) out.repeats = at::empty({n, k, voxels}, at::kFloat);
  for (std::int64_t i = 0; i < n; ++i) {
    at::Tensor rows = at::empty({static_cast<std::int64_t>(of[i]->size()), voxels}, at::kFloat);
    for (std::int64_t r = 0; r < rows.size(0); ++r) betas.read_rows<float>((*of[i])[r], 1, rows[r].mutable_data_ptr<float>());
    // Fidelity: two repeats a, b are filled up to a, a, b.
    out.mean[i].copy_(rows.size(0) == 2 ? (rows[0] * 2 + rows[1]) / 3 : rows.mean(0));
    if (k > 1) out.repeats[i].copy_(rows.narrow(0, 0, k));
  }
  if (!at::isfinite(out.mean).all().item<bool>()) throw data_error("{}: values that are not finite among the trials of the images scored", betas.path());
  const Json& attributes = group.attributes();
  if (attributes.contains("subject") && attributes["subject"].is_string()) out.id = attributes["subject"].get<std::string>();
  const auto digit = out.id.find_first_of("0123456789");
  if (digit != std::string::npos && out.id.size() - digit < 6 && out.id.find_first_not_of("0123456789", digit) == std::string::npos) out.subject = std::stoi(out.id.substr(digit));
  const int subject = options.subject ? options.subject : out.subject;
  if (!options.regions.empty()) {
    const store::H5File file(options.regions);
    const auto name = fmt::format("subj{:02}", subject);
    const auto groups = file.groups();
    if (std::find(groups.begin(), groups.end(), name) == groups.end()) throw data_error("{}: no regions of {}; it has those of {}", options.regions, name, fmt::join(groups, ", "));
    for (const auto& region : file.datasets(name)) out.regions.emplace_back(region, bool_mask(file.read<std::uint8_t>(name + "/" + region)));
  } else if (const auto groups = group.group_names(); std::find(groups.begin(), groups.end(), "roi") != groups.end()) {
    for (const auto& region : group.group("roi").array_names()) out.regions.emplace_back(region, bool_mask(group.array("roi/" + region).read<std::uint8_t>()));
  }
  if (std::none_of(out.regions.begin(), out.regions.end(), [](const auto& r) { return r.first == "nsd_general" || r.first == "nsdgeneral"; }))
    out.regions.emplace(out.regions.begin(), "nsd_general", at::ones({voxels}, at::kBool));
  for (const auto& [region, mask] : out.regions)
    if (mask.numel() != voxels) throw data_error("{}: region {} has {} voxels, betas have {}", options.regions.empty() ? options.betas : options.regions, region, mask.numel(), voxels);
  return out;
}

// Of the mean of k repeats within a region: the correlation that a perfect prediction of what repeats would reach.
void add_ceiling(Score& score, const at::Tensor& repeats, const at::Tensor& mask) {
  const auto chosen = at::nonzero(mask).flatten();
  const auto n = repeats.size(0);
  const auto k = static_cast<double>(repeats.size(1));
  double r = 0;
  for (std::int64_t i = 0; i < n; i += 64) {  // in parts: float64 copies are made
    const auto count = std::min<std::int64_t>(64, n - i);
    r += metrics::repeat_reliability(repeats.narrow(0, i, count).index_select(2, chosen)).split_half * static_cast<double>(count) / static_cast<double>(n);
  }
  const double mean = k * r / (1 + (k - 1) * r);
  score.details["repeats"] = k;
  score.details["repeat_correlation"] = r;
  score.details["noise_ceiling"] = std::sqrt(std::max(0.0, mean));
}

}  // namespace

void add_brain_scores(Scores& scores, const BrainOptions& options, const BrainRun& run) {
  if (options.gnet.empty() || options.betas.empty()) {
    scores.not_run.emplace_back("brain_corr", fmt::format("needs {}", options.gnet.empty() ? "--gnet FILE (gnet_multisubject.pt) and --betas SUBJECT.zarr" : "--betas SUBJECT.zarr"));
    return;
  }
  const auto measured = read_betas(options, scores.ids);
  std::vector<std::string> names;
  for (const auto& r : measured.regions) names.push_back("brain_corr_" + r.first);
  for (const auto& name : run.asked)
    if (name.starts_with("brain_corr_") && std::find(names.begin(), names.end(), name) == names.end())
      throw data_error("{}: no region for {}; there are {}", options.regions.empty() ? options.betas : options.regions, name, fmt::join(names, ", "));
  const auto net = load(options.gnet, options.subject ? options.subject : measured.subject);
  if (net.readout.b.numel() != measured.mean.size(1))
    throw data_error("{}: {} voxels, {} has {}; the readout of the same subject and voxels expected", options.gnet, net.readout.b.numel(), options.betas, measured.mean.size(1));
  const auto n = static_cast<std::int64_t>(scores.ids.size());
  const at::Tensor predicted = run.embed([&](const at::Tensor& pictures) {
    const at::Tensor input = vision::pillow_resize(vision::to_pil_u8(pictures), 227, 227, vision::PillowFilter::lanczos).to(at::kFloat).div_(255);
    return std::vector<at::Tensor>{net.readout(net.encoder(input))};
  });
  const bool all = run.wants("brain_corr");
  for (const auto& [region, mask] : measured.regions) {
    Score score;
    score.name = "brain_corr_" + region;
    if (!all && !run.wants(score.name)) continue;
    const auto voxels = mask.sum().item<std::int64_t>();
    score.details["voxels"] = static_cast<double>(voxels);
    if (voxels < 2) score.per_image.assign(n, std::numeric_limits<double>::quiet_NaN());
    else score.per_image = metrics::brain_correlation(measured.mean, predicted, mask);
    const auto interval = metrics::bca_mean(score.per_image, run.bootstrap);
    score.value = interval.value, score.low = interval.low, score.high = interval.high, score.n = interval.n;
    score.note = voxels < 2 ? "a correlation needs 2 voxels or more" : "GNet's response to the reconstruction with the measured one, over voxels";
    if (voxels > 1 && measured.repeats.defined()) add_ceiling(score, measured.repeats, mask);
    for (const auto& [name, ids] : run.splits) {
      Score part = score;
      part.details = {{"voxels", static_cast<double>(voxels)}}, part.per_image.clear();
      for (std::size_t i = 0; i < scores.ids.size(); ++i)
        if (std::find(ids.begin(), ids.end(), scores.ids[i]) != ids.end()) part.per_image.push_back(score.per_image[i]);
      const auto of_part = metrics::bca_mean(part.per_image, run.bootstrap);
      part.value = of_part.value, part.low = of_part.low, part.high = of_part.high, part.n = of_part.n;
      scores.splits[name].push_back(std::move(part));
    }
    scores.scores.push_back(std::move(score));
  }
}

}  // namespace me2::report
