#include "ingest/trial_betas.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <numeric>

#include "base/error.h"

namespace me2::ingest {

TrialBetas::TrialBetas(const std::string& folder, const std::string& output) : folder_(folder) {
  if (!std::filesystem::is_directory(folder)) throw Error(Exit::cant_create, fmt::format("{}: the folder {} does not exist", output, folder));
  descriptor_ = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (descriptor_ < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL || errno == ENOENT)) {  // a file system without such files
    std::string name = folder + "/.me2-betas-XXXXXX";
    descriptor_ = ::mkostemp(name.data(), O_CLOEXEC);
    if (descriptor_ >= 0) ::unlink(name.c_str());
  }
  if (descriptor_ < 0) throw Error(Exit::cant_create, fmt::format("{}: no temporary file in {}: {}", output, folder, std::strerror(errno)));
}

TrialBetas::~TrialBetas() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void TrialBetas::fail(const char* what, int error) const {
  throw io_error("temporary betas in {}: {}: {}", folder_, what, error ? std::strerror(error) : "it is shorter than what was written");
}

void TrialBetas::set_size(std::int64_t trials, std::int64_t voxels) {
  width_ = voxels;
  row_.resize(static_cast<std::size_t>(trials));
  column_.resize(static_cast<std::size_t>(voxels));
  std::iota(row_.begin(), row_.end(), std::int64_t{0});
  std::iota(column_.begin(), column_.end(), std::int64_t{0});
  whole_.resize(column_.size());
}

void TrialBetas::read_row(std::int64_t trial, float* values) const {
  auto* at = reinterpret_cast<char*>(values);
  auto left = static_cast<std::size_t>(width_) * sizeof(float);
  auto offset = static_cast<off_t>(row_[static_cast<std::size_t>(trial)]) * static_cast<off_t>(left);
  while (left > 0) {
    const ssize_t n = ::pread(descriptor_, at, left, offset);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail("reading", n < 0 ? errno : 0);
    at += n, offset += n, left -= static_cast<std::size_t>(n);
  }
}

void TrialBetas::read(std::int64_t trial, float* values) const {
  if (voxels() == width_) return read_row(trial, values);
  read_row(trial, whole_.data());
  for (std::size_t v = 0; v < column_.size(); ++v) values[v] = whole_[static_cast<std::size_t>(column_[v])];
}

void TrialBetas::write(std::int64_t trial, const float* values) {
  if (voxels() != width_) {
    read_row(trial, whole_.data());
    for (std::size_t v = 0; v < column_.size(); ++v) whole_[static_cast<std::size_t>(column_[v])] = values[v];
    values = whole_.data();
  }
  const auto* at = reinterpret_cast<const char*>(values);
  auto left = static_cast<std::size_t>(width_) * sizeof(float);
  auto offset = static_cast<off_t>(row_[static_cast<std::size_t>(trial)]) * static_cast<off_t>(left);
  while (left > 0) {
    const ssize_t n = ::pwrite(descriptor_, at, left, offset);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail("writing", n < 0 ? errno : ENOSPC);
    at += n, offset += n, left -= static_cast<std::size_t>(n);
  }
}

void TrialBetas::keep_voxels(const std::vector<std::uint8_t>& keep) {
  std::vector<std::int64_t> column;
  for (std::size_t v = 0; v < keep.size(); ++v)
    if (keep[v]) column.push_back(column_[v]);
  column_ = std::move(column);
}

void TrialBetas::keep_trials(const std::vector<std::int64_t>& trials) {
  std::vector<std::int64_t> row;
  for (const std::int64_t t : trials) row.push_back(row_[static_cast<std::size_t>(t)]);
  row_ = std::move(row);
}

}  // namespace me2::ingest
