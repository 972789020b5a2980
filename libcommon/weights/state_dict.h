// Named tensors of a checkpoint, whatever file holds them, read in place: the files are memory-mapped and a tensor is cast
// when it is asked for. Recognised: model directory (config.json + model.safetensors, or its sharded index), .safetensors,
// torch zip and legacy .pth/.pt/.ckpt, DeepSpeed ZeRO directory. Pickles are parsed by an allow-list machine, never run.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "base/json_fwd.h"

namespace me2::weights {

class StateDict {
 public:
  StateDict() = default;
  static StateDict open(const std::string& path);  // Exit::no_input, Exit::data
  static StateDict from_tensors(std::map<std::string, at::Tensor> tensors);  // in memory: tests, training

  const std::string& path() const { return path_; }
  std::vector<std::string> names() const;  // sorted bytewise
  bool has(const std::string& name) const;
  bool has_prefix(const std::string& prefix) const;
  std::vector<std::int64_t> shape(const std::string& name) const;  // Exit::data naming file and tensor when absent
  at::ScalarType dtype(const std::string& name) const;
  at::Tensor get(const std::string& name) const;  // aliases the mapped file (read-only: clone before changing)

  // Only the names under `prefix`, with it taken off: sub("model.diffusion_model.").
  StateDict sub(const std::string& prefix) const;
  StateDict without_prefix(const std::string& prefix) const;  // takes it off where present, keeps the rest
  std::string name_in_file(const std::string& name) const { return prefix_ + name; }  // with what sub() took off: for messages
  const std::vector<std::string>& notes() const { return notes_; }  // what the file holds beside named tensors and was skipped
  const Json& config() const;  // config.json beside the weights, or an empty object

  // One entry, backed by any container.
  struct Entry {
    std::vector<std::int64_t> shape;
    at::ScalarType dtype;
    std::function<at::Tensor()> load;
  };
  using Entries = std::map<std::string, Entry>;
  StateDict(std::string path, Entries entries, std::shared_ptr<const Json> config, std::vector<std::string> notes = {});

 private:
  std::string path_, prefix_;
  std::shared_ptr<const Entries> entries_ = std::make_shared<Entries>();
  std::shared_ptr<const Json> config_;
  std::vector<std::string> notes_;
};

// A tensor over mapped bytes that `owner` keeps alive: no copy, unless the bytes are not aligned for the type.
at::Tensor tensor_over(const std::byte* bytes, const std::vector<std::int64_t>& shape, at::ScalarType dtype, std::shared_ptr<const std::byte[]> owner);

// Streams tensor by tensor into a temporary file, fsync, rename.
void save_safetensors(const std::string& path, const std::map<std::string, at::Tensor>& tensors,
                      const std::map<std::string, std::string>& metadata = {});

// config.json + model.safetensors (shards with an index above `shard_bytes`), written to a temporary folder and renamed; a model
// directory that is there is exchanged for the new one. Exit::cant_create when `path` is something else.
void save_model_dir(const std::string& path, const Json& config, const std::map<std::string, at::Tensor>& tensors,
                    std::int64_t shard_bytes = 5'000'000'000);

}  // namespace me2::weights
