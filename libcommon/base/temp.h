// Temporary folders that do not outlive their use: removed by the destructor, at exit, and when a signal ends the run in order,
// unless handed over with keep().
#pragma once
#include <string>

namespace me2 {

class TemporaryFolder {
 public:
  // A new folder <place>/<prefix> and six random characters, with place = ME2_TMPDIR, else TMPDIR, else /tmp. Exit::cant_create naming the place.
  explicit TemporaryFolder(const std::string& prefix = "me2-");
  static TemporaryFolder adopt(const std::string& path);  // takes over an existing one
  ~TemporaryFolder();
  TemporaryFolder(TemporaryFolder&&) noexcept;
  TemporaryFolder& operator=(TemporaryFolder&&) = delete;
  const std::string& path() const { return path_; }
  void keep();  // it is someone else's from here on

 private:
  struct Adopted {};
  TemporaryFolder(Adopted, std::string path);
  std::string path_;
};

}  // namespace me2
