#include "ingest/stimuli.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <map>
#include <span>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "store/beginning.h"
#include "store/hdf5.h"
#include "store/stage.h"
#include "store/table.h"

namespace me2::ingest {
namespace {

namespace fs = std::filesystem;
using Captions = std::vector<std::vector<std::string>>;  // per sample

// COCO file names end in the image id: 000000391895.jpg, COCO_train2014_000000391895.jpg. 0 when there is none.
std::int64_t coco_id_of(const std::string& name) {
  const std::string stem = fs::path(name).stem().string();
  const std::size_t last = stem.find_last_not_of("0123456789");
  const std::string digits = last == std::string::npos ? stem : stem.substr(last + 1);
  std::int64_t id = 0;
  return digits.size() == 12 && std::from_chars(digits.data(), digits.data() + 12, id).ec == std::errc() ? id : 0;
}

std::map<std::string, std::vector<std::string>> read_captions(const std::string& path) {  // by coco id or name
  std::map<std::string, std::vector<std::string>> out;
  const std::string text = read_file(path);
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first != std::string::npos && text[first] == '{') {
    const Json json = parse_json(text, path);
    if (!json.contains("annotations") || !json["annotations"].is_array())
      throw data_error("{}: not a COCO captions file: the list 'annotations' is missing", path);
    std::size_t n = 0;
    for (const Json& a : json["annotations"]) {
      if (!a.contains("image_id") || !a["image_id"].is_number_integer() || !a.contains("caption") || !a["caption"].is_string())
        throw data_error("{}: annotations[{}]: image_id (a whole number) and caption (text) expected", path, n);
      out[std::to_string(a["image_id"].get<std::int64_t>())].push_back(a["caption"].get<std::string>());
      ++n;
    }
    return out;
  }
  const store::Table table = store::Table::parse(text, path);
  const auto by_id = table.find("coco_id");
  const std::size_t key = by_id ? *by_id : table.need("name"), caption = table.need("caption");
  for (std::int64_t r = 0; r < table.rows(); ++r) out[table.text(r, key)].push_back(table.text(r, caption));
  return out;
}

struct Source {
  std::vector<std::string> names, files;  // files empty: from HDF5
  std::optional<store::H5File> hdf5;
  std::int64_t count = 0, height = 0, width = 0;
  store::DType dtype = store::DType::u1;
};

Source open_source(const StimuliOptions& options) {
  Source s;
  const std::string& path = options.input.path;
  if (!fs::is_directory(path) && store::is_hdf5(path)) {
    s.hdf5.emplace(path);
    const auto shape = s.hdf5->shape(options.dataset);
    s.dtype = s.hdf5->dtype(options.dataset);
    if (shape.size() != 4 || shape[1] != 3 || shape[2] < 1 || shape[3] < 1)
      throw data_error("{}: dataset {}: shape [n, 3, height, width] expected, [{}] found", path, options.dataset, fmt::join(shape, ", "));
    s.count = shape[0], s.height = shape[2], s.width = shape[3];
    for (std::int64_t i = 0; i < s.count; ++i) s.names.push_back(fmt::format("{:05}", i));
    return s;
  }
  s.names = list_images(path);
  const fs::path base = fs::is_directory(path) ? fs::path(path) : fs::path(path).parent_path();
  for (const auto& name : s.names) s.files.push_back((base / name).string());
  s.count = static_cast<std::int64_t>(s.names.size());
  if (options.size < 1 || options.size > 4096) throw usage_error("--size {}: 1 to 4096 expected", options.size);
  s.height = s.width = options.size;
  return s;
}

void read_hdf5(const Source& s, const std::string& dataset, std::int64_t first, std::int64_t count, std::uint8_t* out) {
  const std::size_t n = static_cast<std::size_t>(count * 3 * s.height * s.width);
  if (s.dtype == store::DType::u1) return s.hdf5->read_rows(dataset, first, count, store::DType::u1, out);
  std::vector<float> values(n);
  s.hdf5->read_rows(dataset, first, count, store::DType::f4, values.data());
  for (std::size_t i = 0; i < n; ++i) {
    if (!(values[i] >= -0.002f && values[i] <= 1.002f))
      throw data_error("{}: dataset {}: image {} holds {}; values from 0 to 1 expected", s.hdf5->path(), dataset, first + static_cast<std::int64_t>(i) / (3 * s.height * s.width), values[i]);
    out[i] = static_cast<std::uint8_t>(std::clamp(std::lrint(values[i] * 255.0f), 0L, 255L));
  }
}

}  // namespace

std::vector<std::string> list_images(const std::string& path) {
  std::vector<std::string> names;
  if (!fs::exists(path)) throw missing_error("{}: no such file or folder; images were expected", path);
  if (fs::is_directory(path)) {
    for (const auto& entry : fs::recursive_directory_iterator(path)) {
      if (!entry.is_regular_file()) continue;
      const std::string head = store::read_beginning(entry.path(), 12);
      if (head.size() == 12 && store::is_image(std::as_bytes(std::span(head)))) names.push_back(fs::relative(entry.path(), path).generic_string());
    }
    std::sort(names.begin(), names.end());
    if (names.empty()) throw data_error("{}: no PNG, JPEG or WebP image in this folder", path);
    return names;
  }
  const std::string text = read_file(path);
  if (text.find('\0') != std::string::npos) throw data_error("{}: neither HDF5, a folder, nor a list of image files", path);
  std::int64_t line = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string name = text.substr(at, end - at);
    if (name.ends_with('\r')) name.pop_back();
    ++line;
    at = end + 1;
    if (name.empty() || name.starts_with('#')) continue;
    if (!fs::is_regular_file(fs::path(path).parent_path() / name)) throw missing_error("{}: line {}: image {} is not there", path, line, name);
    names.push_back(name);
  }
  if (names.empty()) throw data_error("{}: a list without image files", path);
  return names;
}

Json import_stimuli(const StimuliOptions& options, const Context& context) {
  refuse_overlap(options.input.path, options.output.path);
  const Source source = open_source(options);
  if (source.count == 0) throw data_error("{}: no images", options.input.path);
  std::vector<std::int32_t> coco(static_cast<std::size_t>(source.count), 0);
  for (std::size_t i = 0; i < coco.size(); ++i) coco[i] = static_cast<std::int32_t>(coco_id_of(source.names[i]));
  if (options.coco_ids) {
    const auto table = store::Table::read(options.coco_ids->path);
    const std::size_t nsd = table.need("nsdId"), id = table.need("cocoId");
    for (std::int64_t r = 0; r < table.rows(); ++r) {
      const std::int64_t row = table.integer(r, nsd);
      if (row >= 0 && row < source.count) coco[static_cast<std::size_t>(row)] = static_cast<std::int32_t>(table.integer(r, id));
    }
  }
  const bool has_coco = std::any_of(coco.begin(), coco.end(), [](std::int32_t id) { return id != 0; });

  Captions captions(source.names.size());
  std::size_t most = 0;
  std::int64_t without = 0;
  if (options.captions) {
    const auto known = read_captions(options.captions->path);
    for (std::size_t i = 0; i < captions.size(); ++i) {
      auto found = coco[i] ? known.find(std::to_string(coco[i])) : known.end();
      if (found == known.end()) found = known.find(source.names[i]);
      if (found == known.end()) found = known.find(fs::path(source.names[i]).filename().string());
      if (found != known.end()) captions[i] = found->second;
      else ++without;
      most = std::max(most, captions[i].size());
    }
    if (most == 0) throw data_error("{}: no caption belongs to any image (by coco_id or name)", options.captions->path);
  }

  Json counts{{"images", source.count}, {"height", source.height}, {"width", source.width}, {"with_coco_id", std::count_if(coco.begin(), coco.end(), [](auto id) { return id != 0; })}};
  if (options.captions) counts["captions_per_image"] = most, counts["without_caption"] = without;
  if (context.dry_run) return counts;

  store::StageSpec spec;
  spec.kind = "stimuli";
  for (std::int64_t i = 0; i < source.count; ++i) spec.stimulus.push_back(static_cast<std::int32_t>(i));
  spec.arrays.push_back({"image", {3, source.height, source.width}, store::DType::u1, {"channel", "y", "x"}, "1", "RGB image, 0 to 255"});
  spec.arrays.push_back({"name", {}, store::DType::str, {}, "1", "file name, or index in the source"});
  if (has_coco) spec.arrays.push_back({"coco_id", {}, store::DType::i4, {}, "1", "COCO image id; 0 unknown"});
  if (most > 0) spec.arrays.push_back({"caption", {static_cast<std::int64_t>(most)}, store::DType::str, {"caption"}, "1", "captions, empty beyond the last one"});
  Json attributes{{"counts", counts}};
  spec.attributes = &attributes;
  store::StageWriter out(options.output.path, spec, context.write);
  Progress progress("images", source.count);
  const std::size_t pixels = static_cast<std::size_t>(3 * source.height * source.width);
  for (const store::RowRange& unit : out.pending()) {
    std::vector<std::uint8_t> images(static_cast<std::size_t>(unit.count) * pixels);
    std::vector<std::string> names, texts;
    for (std::int64_t k = 0; k < unit.count; ++k) {
      const auto row = static_cast<std::size_t>(unit.first + k);
      if (source.hdf5) {
        if (k % 16 == 0) read_hdf5(source, options.dataset, unit.first + k, std::min<std::int64_t>(16, unit.count - k), images.data() + static_cast<std::size_t>(k) * pixels);
      } else {
        const store::Image image = store::fit_image(store::read_image(source.files[row]), options.size, options.fit);
        std::copy(image.rgb.begin(), image.rgb.end(), images.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(k) * pixels));
      }
      names.push_back(source.names[row]);
      for (std::size_t c = 0; c < most; ++c) texts.push_back(c < captions[row].size() ? captions[row][c] : "");
      progress.advance();
    }
    out.write("image", unit, images.data());
    out.write_strings("name", unit, names);
    if (has_coco) out.write("coco_id", unit, coco.data() + unit.first);
    if (most > 0) out.write_strings("caption", unit, texts);
  }
  out.publish(*context.provenance);
  return counts;
}

}  // namespace me2::ingest
