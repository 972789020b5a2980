// A model directory written while its tensors are being made: every name and shape first, then rows of any tensor in any order, then
// config.json. What save_model_dir does with finished tensors; this is for those that memory should never hold whole.
#pragma once
#include <map>
#include <memory>
#include <string>

#include <ATen/core/Tensor.h>

#include "base/json_fwd.h"
#include "weights/safetensors.h"

namespace me2::weights {

class ModelWriter {
 public:
  // A temporary folder beside `path`, with one model.safetensors, or shards and their index above `shard_bytes`.
  // Exit::cant_create when `path` is there and is not a model directory.
  ModelWriter(const std::string& path, const std::map<std::string, TensorShape>& tensors, std::int64_t shard_bytes = 5'000'000'000);
  ~ModelWriter();  // without commit nothing is left behind
  ModelWriter(const ModelWriter&) = delete;
  ModelWriter& operator=(const ModelWriter&) = delete;

  // values: rows `first_row`... of the tensor's first axis, of its dtype (or the whole tensor). Exit::io with path and reason.
  void write(const std::string& name, const at::Tensor& values, std::int64_t first_row = 0);
  // config.json, fsync, rename; a model directory that is there is exchanged for the new one.
  void commit(const Json& config);

 private:
  struct File;
  std::string path_, target_, temporary_;
  std::map<std::string, TensorShape> tensors_;
  std::map<std::string, std::shared_ptr<File>> files_;  // by tensor
};

}  // namespace me2::weights
