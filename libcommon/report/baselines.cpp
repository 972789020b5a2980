#include "report/baselines.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "base/error.h"
#include "base/random.h"
#include "metrics/pixels.h"

namespace me2::report {
namespace {

// The scored pictures at the scoring size, by position in ids.
std::function<at::Tensor(std::int64_t)> scored_pictures(const Reconstructions& of) {
  std::vector<Keys> sets{keys_of(of.truth), keys_of(of.recon)};
  if (of.low_level) sets.push_back(keys_of(*of.low_level));
  const Joined joined = join(sets, true);
  std::map<std::string, std::size_t> at;
  for (std::size_t i = 0; i < joined.ids.size(); ++i) at.emplace(joined.ids[i], i);
  std::vector<std::int64_t> recon, low;
  for (const auto& id : of.ids) {
    recon.push_back(joined.rows[1][at.at(id)]);
    if (of.low_level) low.push_back(joined.rows[2][at.at(id)]);
  }
  return [recon, low, from = of.recon, below = of.low_level ? *of.low_level : of.recon, blend = of.blend, antialias = of.antialias](std::int64_t i) {
    at::Tensor x = metrics::to_scoring_size(from.read({recon[i]}), antialias);
    if (!low.empty()) x = x * blend + metrics::to_scoring_size(below.read({low[i]}), antialias) * (1 - blend);
    return x[0];
  };
}

}  // namespace

std::vector<std::int64_t> derangement(std::int64_t n, std::uint64_t seed) {
  std::vector<std::int64_t> order(n), out(n);
  std::iota(order.begin(), order.end(), std::int64_t{0});
  Random(seed, "shuffled baseline").shuffle(std::span<std::int64_t>(order));
  for (std::int64_t i = 0; i < n; ++i) out[order[i]] = order[(i + 1) % n];
  return out;
}

std::vector<std::int64_t> nearest_rows(const metrics::Rows& predicted, const Embeddings& train, const std::vector<std::string>& scored, std::int64_t* left_out) {
  const std::set<std::string> without(scored.begin(), scored.end());
  std::vector<std::int64_t> kept;
  for (std::int64_t i = 0; i < train.size; ++i)
    if (train.ids.empty() || !without.contains(train.ids[i])) kept.push_back(i);
  if (left_out) *left_out = train.size - static_cast<std::int64_t>(kept.size());
  if (kept.empty()) throw data_error("{}: every row shows an image that is scored; training images expected", train.path);
  const metrics::Rows all{train.size, train.read};
  // The larger set is the one read in blocks.
  const at::Tensor s = metrics::cosine_matrix(all, predicted).index_select(0, at::tensor(kept, at::kLong));
  const at::Tensor best = at::nan_to_num(s, -2.0).argmax(0);
  std::vector<std::int64_t> out;
  for (std::int64_t i = 0; i < predicted.size; ++i) out.push_back(kept[best[i].item<std::int64_t>()]);
  return out;
}

std::string scored_set(const ImageSet& recon, const ImageSet* low_level) { return low_level ? recon.path() + "\n" + low_level->path() : recon.path(); }

ImageSet mean_picture(const Reconstructions& of) {
  const auto picture = scored_pictures(of);
  at::Tensor sum = picture(0).to(at::kDouble);
  for (std::size_t i = 1; i < of.ids.size(); ++i) sum += picture(static_cast<std::int64_t>(i));
  const at::Tensor mean = (sum / static_cast<double>(of.ids.size())).to(at::kFloat).unsqueeze(0);
  return ImageSet::made("mean of the reconstructions", fmt::format("{}x{}", mean.size(2), mean.size(3)), of.ids,
                        [mean](const std::vector<std::int64_t>& rows) { return mean.expand({static_cast<std::int64_t>(rows.size()), -1, -1, -1}); },
                        std::vector<std::string>(of.ids.size(), "mean"));
}

ImageSet other_pictures(const Reconstructions& of, std::uint64_t seed) {
  if (of.ids.size() < 2) throw data_error("{}: the reconstruction of another image needs 2 images or more, 1 found", of.recon.path());
  const auto picture = scored_pictures(of);
  const auto other = derangement(static_cast<std::int64_t>(of.ids.size()), seed);
  std::vector<std::string> shown;
  for (const auto i : other) shown.push_back(of.ids[i]);
  const auto read = [picture, other](const std::vector<std::int64_t>& rows) {
    std::vector<at::Tensor> out;
    for (const auto row : rows) out.push_back(picture(other[row]));
    return at::stack(out);
  };
  return ImageSet::made("reconstructions of other images", "256x256", of.ids, read, std::move(shown), scored_set(of.recon, of.low_level));
}

ImageSet nearest_pictures(const std::vector<std::string>& ids, const std::string& predicted, const std::string& train_tokens, const std::string& train_images,
                          const std::string& image_array) {
  const Embeddings brain = open_embeddings(predicted, ""), train = open_embeddings(train_tokens, "");
  const auto images = ImageSet::open(train_images, image_array);
  const auto [names, repeats] = group_repeats(brain);
  std::vector<std::vector<std::int64_t>> rows;
  if (names.empty()) {
    if (repeats.size() != ids.size()) throw data_error("{}: {} rows without names, {} images scored", brain.path, repeats.size(), ids.size());
    rows = repeats;
  } else {
    std::map<std::string, std::size_t> at;
    for (std::size_t i = 0; i < names.size(); ++i) at.emplace(names[i], i);
    for (const auto& id : ids) {
      const auto it = at.find(id);
      if (it == at.end()) throw data_error("{}: no prediction of image {}, which is among those scored", brain.path, id);
      rows.push_back(repeats[it->second]);
    }
  }
  std::map<std::string, std::int64_t> of_id;
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(images.keys().size()); ++i) of_id.emplace(images.keys()[i], i);
  std::vector<std::int64_t> chosen;
  for (const auto row : nearest_rows(averaged(brain, rows, std::numeric_limits<std::size_t>::max()), train, ids)) {
    if (train.ids.empty() || images.keys().empty()) {
      if (train.size != images.size()) throw data_error("{}: {} images, {} rows in {}; without names they must be as many", images.path(), images.size(), train.size, train.path);
      chosen.push_back(row);
      continue;
    }
    const auto it = of_id.find(train.ids[row]);
    if (it == of_id.end()) throw data_error("{}: no image {}, which {} has tokens of", images.path(), train.ids[row], train.path);
    chosen.push_back(it->second);
  }
  std::vector<std::string> shown;  // several images may have the same nearest one
  for (const auto row : chosen) shown.push_back(std::to_string(row));
  const auto read = [images, chosen](const std::vector<std::int64_t>& rows) {
    std::vector<std::int64_t> at;
    for (const auto row : rows) at.push_back(chosen[row]);
    return images.read(at);
  };
  return ImageSet::made("nearest training images", images.shape(), ids, read, std::move(shown));
}

}  // namespace me2::report
