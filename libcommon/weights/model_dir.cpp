#include "weights/model_dir.h"

#include <filesystem>
#include <set>

#include <ATen/ATen.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "weights/formula.h"
#include "weights/model_writer.h"
#include "weights/safetensors.h"
#include "weights/stored.h"
#include "weights/torch_file.h"

namespace me2::weights {
namespace fs = std::filesystem;
namespace {

StateDict::Entries read_container(const std::string& path, std::vector<std::string>* notes = nullptr) {
  return is_torch_file(path) ? torch_entries(path, notes) : read_safetensors(path);
}

StateDict::Entries read_sharded(const fs::path& index_file) {
  const Json index = read_json_file(index_file);
  if (!index.contains("weight_map") || !index["weight_map"].is_object())
    throw data_error("{}: weight_map {{tensor: file}} expected", index_file.string());
  std::map<std::string, std::vector<std::string>> shards;
  for (const auto& [name, file] : index["weight_map"].items()) {
    if (!file.is_string()) throw data_error("{}: tensor {}: a file name expected", index_file.string(), name);
    const std::string shard = file.get<std::string>();
    if (shard.empty() || shard.find('/') != std::string::npos || shard.starts_with("."))
      throw data_error("{}: tensor {}: \"{}\" is not a file of this folder", index_file.string(), name, shard);
    shards[shard].push_back(name);
  }
  StateDict::Entries entries;
  for (const auto& [shard, names] : shards) {
    const fs::path file = index_file.parent_path() / shard;
    if (!fs::exists(file)) throw missing_error("{}: missing; {} lists it", file.string(), index_file.string());
    auto part = read_container(file);
    for (const auto& name : names) {
      const auto it = part.find(name);
      if (it == part.end()) throw data_error("{}: tensor {} is missing; {} says that it is here", file.string(), name, index_file.string());
      entries[name] = it->second;
    }
  }
  return entries;
}

std::map<std::string, std::vector<std::int64_t>> parse_shapes(const Json& shapes, const std::string& where) {
  std::map<std::string, std::vector<std::int64_t>> out;
  if (!shapes.is_object()) throw data_error("{}: {{name: [sizes]}} expected", where);
  for (const auto& [name, dims] : shapes.items()) {
    std::int64_t count = 1;
    if (!dims.is_array()) throw data_error("{}: {}: a list of sizes expected", where, name);
    for (const auto& n : dims)
      if (!n.is_number_unsigned() || __builtin_mul_overflow(count, n.get<std::int64_t>(), &count) || count > (std::int64_t{1} << 36))
        throw data_error("{}: {}: impossible shape {}", where, name, dims.dump());
    out[name] = dims.get<std::vector<std::int64_t>>();
  }
  return out;
}

void add_formula_parts(StateDict::Entries& entries, const Json& config, const std::string& where) {
  static const std::map<std::string, std::string> kPrefixes{{"encoder", "enc."}};  // gnet keeps its encoder under "enc."
  const std::string suffix = "_state_dict_shapes";
  for (const auto& [key, shapes] : config.items()) {
    if (!key.ends_with(suffix)) continue;
    const std::string part = key.substr(0, key.size() - suffix.size());
    const auto known = kPrefixes.find(part);
    const std::string prefix = known == kPrefixes.end() ? part + "." : known->second;
    const float gain = config.value("formula_gain_ndim_ge_2", 1.0f);
    for (auto& [name, entry] : formula_entries(parse_shapes(shapes, where + " " + key), gain)) entries.try_emplace(prefix + name, std::move(entry));
  }
}

}  // namespace

StateDict open_model_dir(const std::string& path) {
  const fs::path folder(path);
  std::shared_ptr<const Json> config;
  if (const auto file = folder / "config.json"; fs::exists(file)) config = std::make_shared<Json>(read_json_file(file));
  if (config && !config->is_object()) throw data_error("{}/config.json: a JSON object expected", path);
  StateDict::Entries entries;
  std::vector<std::string> notes;
  bool found = false;
  for (const char* name : {"model.safetensors", "diffusion_pytorch_model.safetensors", "open_clip_model.safetensors",
                           "pytorch_model.bin", "open_clip_pytorch_model.bin", "last.pth"}) {
    if (fs::exists(folder / name)) entries = read_container(folder / name, &notes), found = true;
    else if (fs::exists(folder / (std::string(name) + ".index.json"))) entries = read_sharded(folder / (std::string(name) + ".index.json")), found = true;
    if (found) break;
  }
  if (!found && is_zero_dir(path)) entries = zero_entries(path), found = true;
  if (!found && fs::exists(folder / "shapes.json")) {
    const std::string file = folder / "shapes.json";
    entries = formula_entries(parse_shapes(read_json_file(file), file)), found = true;
  }
  const std::size_t stored = entries.size();
  if (config) add_formula_parts(entries, *config, (folder / "config.json").string());
  if (!found && entries.size() == stored)
    throw data_error("{}: no weights in this folder (model.safetensors, its index, pytorch_model.bin, last.pth or a DeepSpeed checkpoint expected)", path);
  return {path, std::move(entries), config, std::move(notes)};
}

std::map<std::string, at::Tensor> stored_as(const std::map<std::string, at::Tensor>& tensors, Stored stored) {
  auto out = tensors;
  if (stored == Stored::f2)
    for (auto& [name, tensor] : out)
      if (tensor.is_floating_point()) tensor = tensor.to(at::kHalf);
  return out;
}

void save_model_dir(const std::string& path, const Json& config, const std::map<std::string, at::Tensor>& tensors, std::int64_t shard_bytes) {
  std::map<std::string, TensorShape> shapes;
  for (const auto& [name, tensor] : tensors) shapes[name] = {tensor.sizes().vec(), tensor.scalar_type()};
  ModelWriter writer(path, shapes, shard_bytes);
  for (const auto& [name, tensor] : tensors) writer.write(name, tensor);  // one tensor copied at a time
  writer.commit(config);
}

}  // namespace me2::weights
