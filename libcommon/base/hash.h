// SHA-256 of bytes, files and folders, as lower-case hex.
#pragma once
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace me2 {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256& update(std::string_view bytes);
  Sha256& update(std::span<const std::byte> bytes);
  std::string hex();  // ends the hash; once

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string sha256(std::string_view bytes);

// What `sha256sum` prints for a file. For a folder: of one line "<sha256 of the file>  <relative path>\n" per regular file, sorted
// bytewise by path (what `sha256sum` over the sorted relative paths prints, hashed again). Exit::no_input, Exit::io.
std::string sha256_path(const std::string& path);

// A cheap stand-in for telling two large inputs apart: as sha256_path, but of at most 16 MiB in 256 blocks spread over the file, or
// over the folder's files (each gives its size and at least one block). Depends on content and names inside, not on times.
std::string quick_digest(const std::string& path);

}  // namespace me2
