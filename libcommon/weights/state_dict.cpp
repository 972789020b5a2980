#include "weights/state_dict.h"

#include <cstring>
#include <filesystem>

#include <ATen/ATen.h>

#include "base/error.h"
#include "base/json.h"
#include "weights/model_dir.h"
#include "weights/safetensors.h"
#include "weights/torch_file.h"

namespace me2::weights {

StateDict::StateDict(std::string path, Entries entries, std::shared_ptr<const Json> config, std::vector<std::string> notes)
    : path_(std::move(path)), entries_(std::make_shared<Entries>(std::move(entries))), config_(std::move(config)), notes_(std::move(notes)) {}

StateDict StateDict::open(const std::string& path) {
  namespace fs = std::filesystem;
  if (!fs::exists(path)) throw missing_error("{}: no such model", path);
  if (fs::is_directory(path)) return open_model_dir(path);
  if (!is_torch_file(path)) return {path, read_safetensors(path), nullptr};
  std::vector<std::string> notes;
  auto entries = torch_entries(path, &notes);
  return {path, std::move(entries), nullptr, std::move(notes)};
}

at::Tensor tensor_over(const std::byte* bytes, const std::vector<std::int64_t>& shape, at::ScalarType dtype, std::shared_ptr<const std::byte[]> owner) {
  const auto options = at::TensorOptions().dtype(dtype);
  if (reinterpret_cast<std::uintptr_t>(bytes) % c10::elementSize(dtype) == 0)
    return at::from_blob(const_cast<std::byte*>(bytes), shape, [owner = std::move(owner)](void*) {}, options);
  at::Tensor copy = at::empty(shape, options);
  if (copy.nbytes() > 0) std::memcpy(copy.mutable_data_ptr(), bytes, copy.nbytes());
  return copy;
}

StateDict StateDict::from_tensors(std::map<std::string, at::Tensor> tensors) {
  Entries entries;
  for (const auto& named : tensors) {
    const at::Tensor tensor = named.second;
    entries[named.first] = {tensor.sizes().vec(), tensor.scalar_type(), [tensor] { return tensor; }};
  }
  return {"memory", std::move(entries), nullptr};
}

std::vector<std::string> StateDict::names() const {
  std::vector<std::string> out;
  for (const auto& [name, entry] : *entries_) out.push_back(name);
  return out;
}

bool StateDict::has(const std::string& name) const { return entries_->contains(name); }

bool StateDict::has_prefix(const std::string& prefix) const {
  const auto it = entries_->lower_bound(prefix);
  return it != entries_->end() && it->first.starts_with(prefix);
}

namespace {
const StateDict::Entry& find(const StateDict::Entries& entries, const StateDict& dict, const std::string& name) {
  const auto it = entries.find(name);
  if (it == entries.end()) throw data_error("{}: tensor {} is missing", dict.path(), dict.name_in_file(name));
  return it->second;
}
}  // namespace

std::vector<std::int64_t> StateDict::shape(const std::string& name) const { return find(*entries_, *this, name).shape; }
at::ScalarType StateDict::dtype(const std::string& name) const { return find(*entries_, *this, name).dtype; }
at::Tensor StateDict::get(const std::string& name) const { return find(*entries_, *this, name).load(); }

StateDict StateDict::sub(const std::string& prefix) const {
  Entries out;
  for (auto it = entries_->lower_bound(prefix); it != entries_->end() && it->first.starts_with(prefix); ++it)
    out[it->first.substr(prefix.size())] = it->second;
  StateDict part{path_, std::move(out), config_, notes_};
  part.prefix_ = prefix_ + prefix;
  return part;
}

StateDict StateDict::without_prefix(const std::string& prefix) const {
  Entries out;
  for (const auto& [name, entry] : *entries_) out[name.starts_with(prefix) ? name.substr(prefix.size()) : name] = entry;
  StateDict rest{path_, std::move(out), config_, notes_};
  rest.prefix_ = prefix_;
  return rest;
}

const Json& StateDict::config() const {
  static const Json none = Json::object();
  return config_ ? *config_ : none;
}

}  // namespace me2::weights
