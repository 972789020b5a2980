// MODEL.partial/, where a training lives until it is complete, held by one process.
#pragma once
#include <string>

namespace me2::train {

class TrainingFolder {
 public:
  TrainingFolder() = default;
  // Exit::cant_create: it is there and is neither to be resumed nor started again. Exit::temp_fail: another process trains in it.
  TrainingFolder(const std::string& model, bool resume, bool overwrite);
  ~TrainingFolder();
  TrainingFolder(TrainingFolder&& other) noexcept;
  TrainingFolder& operator=(TrainingFolder&& other) noexcept;

  std::string last_checkpoint() const;  // where it is, as the end of a sentence
  // last/ becomes the model (replacing one that is there) and the folder is removed.
  void publish();

 private:
  std::string model_, path_;
  int lock_ = -1;
};

}  // namespace me2::train
