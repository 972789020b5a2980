#include "train/training_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <filesystem>
#include <utility>

#include "base/error.h"

namespace me2::train {
namespace fs = std::filesystem;

TrainingFolder::TrainingFolder(const std::string& model, bool resume, bool overwrite) : model_(model), path_(model + ".partial") {
  if (fs::exists(path_) && !resume && !overwrite)
    throw Error(Exit::cant_create, fmt::format("{}: an interrupted training is there: --resume goes on, --overwrite starts again", path_));
  std::error_code failed;
  fs::create_directories(path_, failed);
  if (failed) throw Error(Exit::cant_create, fmt::format("{}: cannot create this folder: {}", path_, failed.message()));
  lock_ = ::open((path_ + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock_ < 0) throw Error(Exit::cant_create, fmt::format("{}/lock: cannot create this file", path_));
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    ::close(std::exchange(lock_, -1));
    throw Error(Exit::temp_fail, fmt::format("{}: another process is training in this folder", path_));
  }
  if (!resume) fs::remove(path_ + "/resume.safetensors", failed);
}

TrainingFolder::~TrainingFolder() {
  if (lock_ >= 0) ::close(lock_);
}

TrainingFolder::TrainingFolder(TrainingFolder&& other) noexcept
    : model_(std::move(other.model_)), path_(std::move(other.path_)), lock_(std::exchange(other.lock_, -1)) {}

TrainingFolder& TrainingFolder::operator=(TrainingFolder&& other) noexcept {
  std::swap(model_, other.model_);
  std::swap(path_, other.path_);
  std::swap(lock_, other.lock_);
  return *this;
}

std::string TrainingFolder::last_checkpoint() const {
  return fs::exists(path_ + "/last/config.json") ? fmt::format("the last checkpoint is in {}/last", path_) : "no checkpoint had been made before";
}

void TrainingFolder::publish() {
  std::error_code failed;
  fs::remove_all(model_, failed);
  fs::rename(path_ + "/last", model_, failed);
  if (failed) throw Error(Exit::cant_create, fmt::format("{}: cannot rename {}/last to it: {}", model_, path_, failed.message()));
  fs::remove_all(path_, failed);
}

}  // namespace me2::train
