#include "train/training_data.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include <ATen/ATen.h>

#include "base/error.h"
#include "base/json.h"
#include "store/zarr.h"

namespace me2::train {
namespace {

std::string split_array(const store::Group& group, SplitChoice choice) {
  if (choice == SplitChoice::stored) return "split";
  const std::string name = choice == SplitChoice::new_test ? "new_test" : "test";
  if (group.has_array("split_" + name)) return "split_" + name;
  const Json& attributes = group.attributes();
  if (attributes.contains("split") && attributes["split"].is_string() && attributes["split"] == name) return "split";
  throw data_error("{}: --split {}: the store has no array split_{} and was not made with that split (me2-preprocess --split {} makes it)",
                   group.path(), name, name, name);
}

}  // namespace

SubjectTrials::SubjectTrials(const std::string& path, const std::string& name, const SubjectSelection& selection) : path_(path), name_(name) {
  const auto group = store::Group::open(path);
  if (!group.has_array("betas") || !group.has_array("split"))
    throw data_error("{}: a subject store expected (arrays betas, stimulus, session, split); it holds {}", path, fmt::join(group.array_names(), ", "));
  if (name_.empty()) {
    const Json& attributes = group.attributes();
    name_ = attributes.contains("subject") && attributes["subject"].is_string() ? attributes["subject"].get<std::string>()
                                                                                : std::filesystem::path(path).stem().string();
  }
  const auto betas = group.array("betas");
  const auto trials = betas.shape().at(0);
  voxels_ = betas.shape().at(1);
  const auto stimulus = group.array("stimulus").read<std::int32_t>();
  const auto session = group.array("session").read<std::int16_t>();
  const auto split = group.array(split_array(group, selection.split)).read<std::int8_t>();
  if (static_cast<std::int64_t>(stimulus.size()) != trials || static_cast<std::int64_t>(session.size()) != trials || static_cast<std::int64_t>(split.size()) != trials)
    throw data_error("{}: betas has {} trials, stimulus {}, session {}, split {}", path, trials, stimulus.size(), session.size(), split.size());
  const std::int64_t last = session.empty() ? 0 : *std::max_element(session.begin(), session.end());
  if (selection.sessions > last) throw data_error("{}: --sessions {}: the store has {} sessions", path, selection.sessions, last);
  for (std::int64_t i = 0; i < trials; ++i) {
    const bool chosen = selection.sessions <= 0 || session[i] <= selection.sessions;
    session_trials_ += chosen;
    if ((split[i] == 0 && chosen) || split[i] == 1) {
      (split[i] == 0 ? train_ : test_).push_back(static_cast<std::int64_t>(rows_.size()));
      stimulus_.push_back(stimulus[i]);
      rows_.push_back(i);
    }
  }
  if (train_.empty()) throw data_error("{}: no training trial{}", path, selection.sessions > 0 ? fmt::format(" in the first {} sessions", selection.sessions) : "");
  if (!selection.keep) return;
  betas_ = at::empty({static_cast<std::int64_t>(rows_.size()), voxels_}, selection.half ? at::kHalf : at::kFloat);
  read_columns(0, voxels_, [&](std::int64_t at_row, const at::Tensor& values) { betas_.narrow(0, at_row, values.size(0)).copy_(values); });
}

void SubjectTrials::read_columns(std::int64_t first_column, std::int64_t columns, const std::function<void(std::int64_t, const at::Tensor&)>& take) const {
  const auto betas = store::Group::open(path_).array("betas");
  const auto trials = betas.shape().at(0);
  const std::int64_t block = std::max<std::int64_t>(1, (std::int64_t{64} << 20) / (columns * 4));
  std::size_t next = 0;
  for (std::int64_t first = 0; first < trials && next < rows_.size(); first += block) {
    const auto count = std::min(block, trials - first);
    if (rows_[next] >= first + count) continue;
    const at::Tensor part = at::empty({count, columns}, at::kFloat);
    betas.read_bytes({{first, first_column}, {count, columns}}, store::DType::f4, part.mutable_data_ptr<float>());
    std::vector<std::int64_t> inside;
    const auto at_row = static_cast<std::int64_t>(next);
    for (; next < rows_.size() && rows_[next] < first + count; ++next) inside.push_back(rows_[next] - first);
    const at::Tensor chosen = part.index_select(0, at::tensor(inside, at::kLong));
    if (!chosen.isfinite().all().item<bool>()) throw data_error("{}: array betas: a value in rows {} to {} is not finite", path_, first, first + count - 1);
    take(at_row, chosen);
  }
}

at::Tensor SubjectTrials::mean_columns(const std::vector<std::vector<std::int64_t>>& groups, std::int64_t first, std::int64_t count) const {
  std::vector<std::int64_t> group_of(rows_.size(), -1);
  const at::Tensor sizes = at::empty({static_cast<std::int64_t>(groups.size()), 1}, at::kFloat);
  for (std::size_t g = 0; g < groups.size(); ++g) {
    for (const auto row : groups[g]) group_of.at(static_cast<std::size_t>(row)) = static_cast<std::int64_t>(g);
    sizes[static_cast<std::int64_t>(g)] = static_cast<float>(groups[g].size());
  }
  at::Tensor out = at::zeros({sizes.size(0), count}, at::kFloat);
  read_columns(first, count, [&](std::int64_t at_row, const at::Tensor& values) {
    std::vector<std::int64_t> from, to;
    for (std::int64_t i = 0; i < values.size(0); ++i)
      if (const auto g = group_of[static_cast<std::size_t>(at_row + i)]; g >= 0) from.push_back(i), to.push_back(g);
    if (!from.empty()) out.index_add_(0, at::tensor(to, at::kLong), values.index_select(0, at::tensor(from, at::kLong)));
  });
  return out.div_(sizes);
}

at::Tensor SubjectTrials::betas(const std::vector<std::int64_t>& rows) const {
  return betas_.index_select(0, at::tensor(rows, at::kLong)).to(at::kFloat);
}

std::vector<std::int64_t> SubjectTrials::hold_out(double share, std::uint64_t seed) {
  std::set<std::int32_t> images;
  for (const auto row : train_) images.insert(stimulus_[row]);
  std::vector<std::int32_t> order(images.begin(), images.end());
  Random random(seed, "holdout/" + name_);
  random.shuffle(std::span<std::int32_t>(order));
  const auto count = std::max<std::size_t>(1, static_cast<std::size_t>(share * static_cast<double>(order.size())));
  const std::set<std::int32_t> out(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(std::min(count, order.size())));
  std::vector<std::int64_t> kept, held;
  for (const auto row : train_) (out.contains(stimulus_[row]) ? held : kept).push_back(row);
  if (kept.empty()) throw data_error("{}: --holdout {} leaves no training trial of {}", path_, share, train_.size());
  train_ = kept;
  return held;
}

struct Targets::Source {
  store::Array array;
  std::vector<std::int64_t> shape;  // of one row
  bool half;
  at::Tensor all;                   // [samples, ...] when kept in memory
  at::Tensor read(std::int64_t first, std::int64_t count) const {
    std::vector<std::int64_t> sizes = shape;
    sizes.insert(sizes.begin(), count);
    at::Tensor out = at::empty(sizes, half ? at::kHalf : at::kFloat);
    store::Box box{store::Shape(sizes.size(), 0), sizes};
    box.start[0] = first;
    array.read_bytes(box, half ? store::DType::f2 : store::DType::f4, out.data_ptr());
    return out;
  }
};

Targets::Targets(const std::string& path, bool lowlevel, bool augmented, std::int64_t keep) : path_(path) {
  const auto group = store::Group::open(path);
  if (!group.has_array("clip_tokens") || !group.has_array("stimulus"))
    throw data_error("{}: a target store expected (arrays stimulus, clip_tokens); it holds {}", path, fmt::join(group.array_names(), ", "));
  const auto stimulus = group.array("stimulus").read<std::int32_t>();
  for (std::size_t i = 0; i < stimulus.size(); ++i) row_.emplace(stimulus[i], static_cast<std::int64_t>(i));
  std::vector<std::string> names{"clip_tokens"};
  if (lowlevel)
    for (const char* name : {"vae_latent", "cnx_feature", "cnx_feature_aug"})
      if (group.has_array(name)) names.push_back(name);
  if (augmented)
    for (const auto& name : std::vector<std::string>(names))
      if (group.has_array(name + "_augmented")) names.push_back(name + "_augmented");
  std::int64_t left = keep;
  for (const auto& name : names) {
    const auto array = group.array(name);
    if (array.shape().empty() || array.shape()[0] != static_cast<std::int64_t>(stimulus.size()))
      throw data_error("{}: array {} has shape [{}], stimulus has {} rows", path, name, fmt::join(array.shape(), ", "), stimulus.size());
    auto source = std::make_shared<Source>(Source{array, {array.shape().begin() + 1, array.shape().end()}, array.dtype() == store::DType::f2, {}});
    const std::int64_t bytes = array.size() * (source->half ? 2 : 4);
    if (bytes <= left) {
      left -= bytes;
      source->all = source->read(0, array.shape()[0]);
    }
    arrays_[name] = source;
  }
  for (const auto& [name, source] : arrays_) {
    if (!name.ends_with("_augmented") || !arrays_.contains(name.substr(0, name.size() - 10))) continue;
    const auto clean = row_shape(name.substr(0, name.size() - 10)), &all = source->shape;
    if (all.size() != clean.size() + 1 || all[0] < 1 || !std::equal(clean.begin(), clean.end(), all.begin() + 1))
      throw data_error("{}: array {} has rows [{}], variants of [{}] expected", path, name, fmt::join(all, ", "), fmt::join(clean, ", "));
    if (arrays_.contains("clip_tokens_augmented") && all[0] != row_shape("clip_tokens_augmented")[0])
      throw data_error("{}: array {} has {} variants, clip_tokens_augmented {}", path, name, all[0], row_shape("clip_tokens_augmented")[0]);
  }
  const auto shape = row_shape("clip_tokens");
  if (shape.size() != 2) throw data_error("{}: array clip_tokens has shape [{}], [sample, T, D] expected", path, fmt::join(group.array("clip_tokens").shape(), ", "));
  tokens_ = shape[0];
  width_ = shape[1];
  if (!augmented) return;
  require_variants("clip_tokens");
  if (arrays_.contains("vae_latent")) require_variants("vae_latent");
}

std::vector<std::int64_t> Targets::row_shape(const std::string& array) const { return arrays_.at(array)->shape; }

void Targets::require(const std::vector<std::int32_t>& stimulus, const std::string& by) const {
  std::set<std::int32_t> missing;
  for (const auto s : stimulus)
    if (!row_.contains(s)) missing.insert(s);
  if (missing.empty()) return;
  throw data_error("{}: no row for stimulus {}{}, which {} was shown", path_, *missing.begin(),
                   missing.size() > 1 ? fmt::format(" and {} others", missing.size() - 1) : "", by);
}

void Targets::require_variants(const std::string& array) const {
  if (!arrays_.contains(array + "_augmented"))
    throw data_error("{}: --image-aug: array {}_augmented [sample, variant, ...] is missing (me2-embed images --augmented makes it)", path_, array);
}

at::Tensor Targets::get(const std::string& array, const std::vector<std::int32_t>& stimulus) const {
  const Source& source = *arrays_.at(array);
  if (source.all.defined()) {
    std::vector<std::int64_t> rows;
    for (const auto s : stimulus) rows.push_back(row_.at(s));
    return source.all.index_select(0, at::tensor(rows, at::kLong)).to(at::kFloat);
  }
  std::vector<at::Tensor> rows;
  for (const auto s : stimulus) rows.push_back(source.read(row_.at(s), 1));
  return at::cat(rows).to(at::kFloat);
}

bool Targets::half() const { return arrays_.at("clip_tokens")->half; }

at::Tensor Targets::token_columns(const std::vector<std::int32_t>& stimulus, std::int64_t first, std::int64_t count) const {
  const Source& source = *arrays_.at("clip_tokens");
  std::vector<std::int64_t> rows;
  for (const auto s : stimulus) rows.push_back(row_.at(s));
  if (source.all.defined()) return source.all.flatten(1).narrow(1, first, count).index_select(0, at::tensor(rows, at::kLong));
  const auto type = source.half ? at::kHalf : at::kFloat;
  const std::int64_t first_token = first / width_, tokens = (first + count - 1) / width_ - first_token + 1;
  at::Tensor out = at::empty({static_cast<std::int64_t>(rows.size()), count}, type);
  const std::int64_t most = std::max<std::int64_t>(1, (std::int64_t{64} << 20) / (tokens * width_ * 4));
  for (std::size_t i = 0; i < rows.size();) {  // neighbours in the store are read at once
    std::size_t end = i + 1;
    while (end < rows.size() && rows[end] == rows[end - 1] + 1 && static_cast<std::int64_t>(end - i) < most) ++end;
    const auto run = static_cast<std::int64_t>(end - i);
    at::Tensor part = at::empty({run, tokens * width_}, type);
    source.array.read_bytes({{rows[i], first_token, 0}, {run, tokens, width_}}, source.half ? store::DType::f2 : store::DType::f4, part.mutable_data_ptr());
    out.narrow(0, static_cast<std::int64_t>(i), run).copy_(part.narrow(1, first - first_token * width_, count));
    i = end;
  }
  return out;
}

std::vector<std::int64_t> Targets::draw_variants(const std::string& array, std::size_t samples, double clean, Random& random) const {
  const auto variants = static_cast<std::uint64_t>(arrays_.at(array + "_augmented")->shape[0]);
  std::vector<std::int64_t> out(samples);
  for (auto& variant : out) variant = random.uniform() < clean ? 0 : 1 + static_cast<std::int64_t>(random.below(variants));
  return out;
}

at::Tensor Targets::variants(const std::string& array, const std::vector<std::int32_t>& stimulus, const std::vector<std::int64_t>& variants) const {
  const Source& source = *arrays_.at(array + "_augmented");
  std::vector<at::Tensor> rows;
  for (std::size_t i = 0; i < stimulus.size(); ++i) {
    if (variants[i] == 0) {
      rows.push_back(get(array, {stimulus[i]}));
    } else {
      const auto row = row_.at(stimulus[i]);
      const at::Tensor all = source.all.defined() ? source.all.narrow(0, row, 1) : source.read(row, 1);
      rows.push_back(all.select(1, variants[i] - 1).to(at::kFloat));
    }
  }
  return at::cat(rows);
}

std::vector<std::int64_t> epoch_order(const SubjectTrials& trials, std::int64_t batches, std::int64_t size, Repeated repeated,
                                      std::uint64_t seed, std::int64_t epoch) {
  const auto& stimulus = trials.stimulus();
  if (repeated != Repeated::allow) {
    std::set<std::int32_t> images;
    for (const auto row : trials.train()) images.insert(stimulus[row]);
    if (static_cast<std::int64_t>(images.size()) < size)
      throw data_error("{}: {} training images cannot fill a batch of {} of this subject without repeating one: lower --batch-size, or --repeated-images allow",
                       trials.path(), images.size(), size);
  }
  Random random(seed, fmt::format("order/{}/{}", trials.name(), epoch));
  std::vector<std::int64_t> out, stream, waiting;
  std::size_t next = 0;
  std::int64_t skipped = 0;
  const auto pull = [&] {
    if (next == stream.size()) {
      stream = trials.train();
      random.shuffle(std::span<std::int64_t>(stream));
      next = 0;
    }
    return stream[next++];
  };
  while (static_cast<std::int64_t>(out.size()) < batches * size) {
    std::vector<std::int64_t> batch, again;
    std::set<std::int32_t> images;
    bool repeats = false;
    for (const auto row : waiting) {  // deferred ones first
      if (static_cast<std::int64_t>(batch.size()) < size && images.insert(stimulus[row]).second) batch.push_back(row);
      else again.push_back(row);
    }
    while (static_cast<std::int64_t>(batch.size()) < size) {
      const auto row = pull();
      if (images.insert(stimulus[row]).second || repeated == Repeated::allow) batch.push_back(row);
      else if (repeated == Repeated::defer) again.push_back(row);
      else {
        repeats = true;
        batch.push_back(row);
      }
    }
    waiting = std::move(again);
    if (repeats) {
      if (++skipped > 1000 * (batches + 1))
        throw data_error("{}: nearly every batch of {} holds an image twice: lower --batch-size, or --repeated-images defer", trials.path(), size);
      continue;
    }
    out.insert(out.end(), batch.begin(), batch.end());
  }
  return out;
}

}  // namespace me2::train
