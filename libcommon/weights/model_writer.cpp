#include "weights/model_writer.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include <ATen/ATen.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace me2::weights {
namespace fs = std::filesystem;

// One safetensors file whose pieces come in any order. The folder around it is what appears at once, so it needs no name of its own.
struct ModelWriter::File {
  std::string path;
  SafetensorsLayout layout;
  int descriptor;

  File(std::string where, const std::map<std::string, TensorShape>& tensors) : path(std::move(where)), layout(layout_safetensors(path, tensors)) {
    descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (descriptor < 0) throw Error(Exit::cant_create, fmt::format("{}: cannot create: {}", path, std::strerror(errno)));
    put(layout.head.data(), layout.head.size(), 0);
  }
  ~File() { ::close(descriptor); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  void put(const void* data, std::size_t size, std::uint64_t offset) {
    for (const char* at = static_cast<const char*>(data); size > 0;) {
      const ssize_t n = ::pwrite(descriptor, at, size, static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) throw io_error("{}: write failed: {}", path, std::strerror(errno));
      at += n;
      offset += static_cast<std::uint64_t>(n);
      size -= static_cast<std::size_t>(n);
    }
  }
  void sync() {
    if (::fsync(descriptor) != 0) throw io_error("{}: fsync failed: {}", path, std::strerror(errno));
  }
};

ModelWriter::ModelWriter(const std::string& path, const std::map<std::string, TensorShape>& tensors, std::int64_t shard_bytes)
    : path_(path), tensors_(tensors) {
  const fs::path target = fs::path(path).has_filename() ? fs::path(path) : fs::path(path).parent_path();
  if (fs::exists(target) && !fs::is_empty(target) && !fs::exists(target / "config.json"))
    throw Error(Exit::cant_create, fmt::format("{}: exists and is not a model directory", path));
  target_ = target;
  temporary_ = target.string() + fmt::format(".{}.tmp", ::getpid());
  fs::remove_all(temporary_);
  std::error_code failed;
  fs::create_directories(temporary_, failed);
  if (failed) throw Error(Exit::cant_create, fmt::format("{}: cannot create: {}", path, failed.message()));
  try {
    std::vector<std::map<std::string, TensorShape>> shards(1);
    std::int64_t filled = 0, total = 0;
    for (const auto& [name, tensor] : tensors) {
      const std::int64_t size = tensor.bytes();
      if (filled > 0 && filled + size > shard_bytes) shards.emplace_back(), filled = 0;
      shards.back()[name] = tensor;
      filled += size, total += size;
    }
    const bool single = shards.size() == 1;
    Json map = Json::object();
    for (std::size_t i = 0; i < shards.size(); ++i) {
      const std::string name = single ? "model.safetensors" : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
      const auto file = std::make_shared<File>((fs::path(temporary_) / name).string(), shards[i]);
      for (const auto& [tensor, shape] : shards[i]) map[tensor] = name, files_[tensor] = file;
      if (shards[i].empty()) file->sync();
    }
    if (!single)
      write_file_atomic((fs::path(temporary_) / "model.safetensors.index.json").string(),
                        Json{{"metadata", {{"total_size", total}}}, {"weight_map", map}}.dump(1) + "\n");
  } catch (...) {
    files_.clear();
    fs::remove_all(temporary_, failed);
    throw;
  }
}

ModelWriter::~ModelWriter() {
  if (temporary_.empty()) return;
  files_.clear();
  std::error_code ignored;
  fs::remove_all(temporary_, ignored);
}

void ModelWriter::write(const std::string& name, const at::Tensor& values, std::int64_t first_row) {
  const TensorShape& shape = tensors_.at(name);
  if (values.scalar_type() != shape.dtype) throw data_error("{}: tensor {}: {} announced, {} given", path_, name, c10::toString(shape.dtype), c10::toString(values.scalar_type()));
  const std::int64_t rows = shape.sizes.empty() || shape.sizes[0] == 0 ? 1 : shape.sizes[0], row_bytes = shape.bytes() / rows;
  const at::Tensor flat = values.detach().cpu().contiguous();
  const auto size = static_cast<std::int64_t>(flat.nbytes());
  if (first_row < 0 || first_row * row_bytes + size > shape.bytes())
    throw data_error("{}: tensor {}: {} bytes from row {} do not fit [{}]", path_, name, size, first_row, fmt::join(shape.sizes, ", "));
  File& file = *files_.at(name);
  const auto offset = file.layout.offsets.at(name) + static_cast<std::uint64_t>(first_row * row_bytes);
  file.put(flat.const_data_ptr(), flat.nbytes(), offset);
  // On its way to the disk while the next piece is made: less is left for commit() to wait for.
  if (size >= 1 << 20) ::sync_file_range(file.descriptor, static_cast<off_t>(offset), size, SYNC_FILE_RANGE_WRITE);
}

void ModelWriter::commit(const Json& config) {
  try {
    write_file_atomic((fs::path(temporary_) / "config.json").string(), config.dump(1) + "\n");
    const File* last = nullptr;
    for (const auto& [name, file] : files_)
      if (file.get() != last) file->sync(), last = file.get();
    files_.clear();
    sync_directory(temporary_);
    if (fs::exists(target_)) {  // exchange, so that there is a whole model under the name at every moment
      if (::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, target_.c_str(), RENAME_EXCHANGE) != 0) {
        fs::remove_all(target_);  // a file system without exchange
        fs::rename(temporary_, target_);
      }
      fs::remove_all(temporary_);
    } else {
      fs::rename(temporary_, target_);
    }
    temporary_.clear();
    sync_directory(fs::path(target_).has_parent_path() ? fs::path(target_).parent_path().string() : ".");
  } catch (const fs::filesystem_error& e) {
    throw io_error("{}: {}", path_, e.code().message());
  }
}

}  // namespace me2::weights
