#include "report/image_set.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <numeric>

#include "base/error.h"
#include "base/file.h"
#include "report/html.h"
#include "store/image_file.h"
#include "store/npy.h"
#include "store/zarr.h"
#include "weights/torch_file.h"

namespace me2::report {
namespace {

namespace fs = std::filesystem;

at::Tensor as_unit(const at::Tensor& x, const std::string& path, const std::vector<std::int64_t>& rows) {
  if (x.scalar_type() == at::kByte) return x.to(at::kFloat).div_(255);
  const at::Tensor y = x.to(at::kFloat);
  for (std::int64_t i = 0; i < y.size(0); ++i) {
    const at::Tensor image = y[i];
    if (!at::isfinite(image).all().item<bool>()) throw data_error("{}: image {} has pixels that are not finite", path, rows[i]);
    const float low = image.min().item<float>(), high = image.max().item<float>();
    if (low < -0.01f || high > 1.01f) throw data_error("{}: image {}: values in [0, 1] expected for floats, {} to {} found (bytes are u1)", path, rows[i], low, high);
  }
  return y.clamp(0, 1);
}

std::string number_in(const std::string& stem) {  // "sample_000017" -> "17"
  auto end = stem.size();
  while (end > 0 && !std::isdigit(static_cast<unsigned char>(stem[end - 1]))) --end;
  auto start = end;
  while (start > 0 && std::isdigit(static_cast<unsigned char>(stem[start - 1]))) --start;
  while (start + 1 < end && stem[start] == '0') ++start;
  return stem.substr(start, end - start);
}

void check_images(const std::string& path, const std::vector<std::int64_t>& shape) {
  if (shape.size() != 4 || shape[1] != 3) throw data_error("{}: images [n, 3, H, W] expected, [{}] found", path, fmt::join(shape, ", "));
}

template <class Shape>
std::string size_text(const Shape& shape) { return fmt::format("{}x{}", shape[2], shape[3]); }

}  // namespace

ImageSet ImageSet::open(const std::string& path, const std::string& array) {
  ImageSet set;
  set.path_ = path;
  const fs::path file(path);
  const bool folder = fs::is_directory(file);
  if (folder && (fs::exists(file / "zarr.json") || fs::exists(file / ".zgroup"))) {
    const auto group = store::Group::open(path);
    const auto images = group.array(array);
    check_images(images.path(), images.shape());
    set.size_ = images.shape()[0];
    set.shape_ = size_text(images.shape());
    if (group.has_array("stimulus")) {
      for (const auto id : group.array("stimulus").read<std::int64_t>()) set.keys_.push_back(std::to_string(id));
    } else {
      for (std::int64_t i = 0; i < set.size_; ++i) set.keys_.push_back(std::to_string(i));
    }
    if (group.has_array("name")) set.aliases_ = group.array("name").read_strings();
    set.read_ = [images](const std::vector<std::int64_t>& rows) {
      const auto& s = images.shape();
      const bool bytes = images.dtype() == store::DType::u1;
      at::Tensor out = at::empty({static_cast<std::int64_t>(rows.size()), s[1], s[2], s[3]}, bytes ? at::kByte : at::kFloat);
      for (std::size_t k = 0; k < rows.size();) {  // runs of neighbouring rows in one read
        std::size_t n = 1;
        while (k + n < rows.size() && rows[k + n] == rows[k] + static_cast<std::int64_t>(n)) ++n;
        at::Tensor part = out.narrow(0, static_cast<std::int64_t>(k), static_cast<std::int64_t>(n));
        store::Box box{{rows[k], 0, 0, 0}, {static_cast<std::int64_t>(n), s[1], s[2], s[3]}};
        images.read_bytes(box, bytes ? store::DType::u1 : store::DType::f4, part.mutable_data_ptr());
        k += n;
      }
      return out;
    };
  } else if (folder) {
    auto files = std::make_shared<std::vector<std::string>>();
    for (const auto& entry : fs::directory_iterator(file)) {
      auto extension = entry.path().extension().string();
      std::transform(extension.begin(), extension.end(), extension.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      if (extension == ".png" || extension == ".jpg" || extension == ".jpeg" || extension == ".webp") files->push_back(entry.path().string());
    }
    if (files->empty()) throw data_error("{}: a store or a folder of PNG or JPEG images expected", path);
    std::sort(files->begin(), files->end());
    set.size_ = static_cast<std::int64_t>(files->size());
    set.one_size_ = false;
    for (const auto& f : *files) {
      set.keys_.push_back(fs::path(f).stem().string());
      set.aliases_.push_back(number_in(set.keys_.back()));
    }
    const auto first = store::read_image(files->front());
    set.shape_ = fmt::format("{}x{}", first.height, first.width);
    set.read_ = [files](const std::vector<std::int64_t>& rows) {
      std::vector<at::Tensor> images;
      for (const auto row : rows) {
        const auto image = store::read_image((*files)[row]);
        images.push_back(at::empty({3, image.height, image.width}, at::kByte));
        std::copy(image.rgb.begin(), image.rgb.end(), images.back().mutable_data_ptr<std::uint8_t>());
      }
      return at::stack(images);
    };
  } else if (file.extension() == ".npy") {
    auto npy = std::make_shared<store::NpyFile>(path);
    const auto& shape = npy->header().shape;
    check_images(path, shape);
    set.size_ = shape[0];
    set.shape_ = size_text(shape);
    set.read_ = [npy](const std::vector<std::int64_t>& rows) {
      const auto& s = npy->header().shape;
      const bool bytes = npy->header().dtype == store::DType::u1;
      at::Tensor out = at::empty({static_cast<std::int64_t>(rows.size()), s[1], s[2], s[3]}, bytes ? at::kByte : at::kFloat);
      for (std::size_t k = 0; k < rows.size(); ++k)
        npy->read_rows(rows[k], 1, bytes ? store::DType::u1 : store::DType::f4, out[static_cast<std::int64_t>(k)].mutable_data_ptr());
      return out;
    };
  } else if (fs::is_regular_file(file) && weights::is_torch_file(path)) {
    const auto root = weights::read_torch_file(path).root;
    if (!root.numeric()) throw data_error("{}: one tensor of images [n, 3, H, W] expected", path);
    const at::Tensor images = root.tensor();
    check_images(path, images.sizes().vec());
    set.size_ = images.size(0);
    set.shape_ = size_text(images.sizes());
    set.read_ = [images](const std::vector<std::int64_t>& rows) { return images.index_select(0, at::tensor(rows, at::kLong)); };
  } else if (!fs::exists(file)) {
    throw missing_error("{}: no such file or folder", path);
  } else {
    throw data_error("{}: a store, a .npy, a .pt or a folder of images expected", path);
  }
  if (set.size_ == 0) throw data_error("{}: no images", path);
  return set;
}

ImageSet ImageSet::made(const std::string& name, const std::string& shape, const std::vector<std::string>& keys, Read read, std::vector<std::string> pictures, std::string of) {
  ImageSet set;
  set.pictures_ = std::move(pictures), set.pictures_of_ = std::move(of);
  set.path_ = name, set.shape_ = shape, set.keys_ = keys, set.read_ = std::move(read);
  set.size_ = static_cast<std::int64_t>(keys.size());
  return set;
}

at::Tensor ImageSet::read(const std::vector<std::int64_t>& rows) const { return as_unit(read_(rows), path_, rows); }

Keys keys_of(const ImageSet& set) { return {set.path(), set.size(), set.keys(), set.aliases()}; }

Joined join(const std::vector<Keys>& sets, bool allow_missing) {
  using Index = std::map<std::string, std::int64_t>;
  const auto index = [](const Keys& set, const std::vector<std::string>& names, bool strict) {
    Index out;
    for (std::size_t i = 0; i < names.size(); ++i)
      if (!out.emplace(names[i], i).second && strict)
        throw data_error("{}: image {} is there twice; scores need one row per image", set.path, names[i]);
    return out;
  };
  Joined out;
  const Keys* first = nullptr;  // the first set with names leads
  for (const auto& set : sets)
    if (!first && !set.keys.empty()) first = &set;
  const std::int64_t size = first ? first->size : sets.at(0).size;
  std::vector<std::vector<std::int64_t>> rows;  // per set, per leading image, -1 where it is missing
  for (const auto& set : sets) {
    std::vector<std::int64_t> of(size, -1);
    if (set.keys.empty() || &set == first || !first) {
      if (!set.keys.empty()) index(set, set.keys, true);
      if (set.size != size)
        throw data_error("{}: {} images, {} in {}; a tensor without names is joined by position and must have as many", set.path, set.size, size,
                         first ? first->path : sets[0].path);
      std::iota(of.begin(), of.end(), std::int64_t{0});
    } else {
      // Names as they are; else with the second name of either side, whichever joins most.
      std::int64_t best = -1;
      const Index by_key = index(set, set.keys, true), by_alias = index(set, set.aliases, false);
      for (const auto* mine : {&first->keys, &first->aliases})
        for (const auto* theirs : {&by_key, &by_alias}) {
          std::vector<std::int64_t> found(size, -1);
          std::int64_t hits = 0;
          for (std::size_t i = 0; i < mine->size(); ++i)
            if (const auto it = theirs->find((*mine)[i]); it != theirs->end()) found[i] = it->second, ++hits;
          if (hits > best) best = hits, of = found;
        }
      std::vector<bool> used(set.size);
      for (const auto r : of)
        if (r >= 0) used[r] = true;
      for (std::int64_t r = 0; r < set.size; ++r)
        if (!used[r]) out.missing.push_back(fmt::format("{} (not in {})", set.keys[r], first->path));
    }
    rows.push_back(std::move(of));
  }
  out.rows.resize(sets.size());
  for (std::int64_t i = 0; i < size; ++i) {
    const std::string id = first ? first->keys[i] : std::to_string(i);
    bool everywhere = true;
    for (std::size_t s = 0; s < sets.size(); ++s)
      if (rows[s][i] < 0) everywhere = false, out.missing.push_back(fmt::format("{} (not in {})", id, sets[s].path));
    if (!everywhere) continue;
    out.ids.push_back(id);
    for (std::size_t s = 0; s < sets.size(); ++s) out.rows[s].push_back(rows[s][i]);
  }
  if (!out.missing.empty() && !allow_missing) {
    std::vector<std::string> shown(out.missing.begin(), out.missing.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(10, out.missing.size())));
    throw data_error("{} images are missing on one side: {}{} (--allow-missing scores the others)", out.missing.size(), fmt::join(shown, ", "),
                     out.missing.size() > shown.size() ? ", ..." : "");
  }
  if (out.ids.empty()) throw data_error("{} and {} have no image in common", sets[0].path, sets[1].path);
  return out;
}

std::string picture_uri(const at::Tensor& image, std::int64_t limit) {
  const auto bytes = (image * 255).round().clamp(0, 255).to(at::kByte).contiguous();
  store::Image picture{bytes.size(1), bytes.size(2), {bytes.const_data_ptr<std::uint8_t>(), bytes.const_data_ptr<std::uint8_t>() + bytes.numel()}};
  const auto longest = std::max(picture.height, picture.width);
  if (longest <= 96) return data_uri("image/png", store::encode_png(picture));
  if (longest > limit) picture = store::resize_image(picture, std::max<std::int64_t>(1, picture.height * limit / longest), std::max<std::int64_t>(1, picture.width * limit / longest));
  return data_uri("image/jpeg", store::encode_jpeg(picture));
}

}  // namespace me2::report
