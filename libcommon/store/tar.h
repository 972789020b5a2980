// Tar archives (ustar, GNU long names, pax), read as one forward stream; members go to memory, never to disk. Only regular files are
// members: directories are passed over, links, devices and sparse files are refused. webdataset samples are members that share
// their name up to the first dot.
#pragma once
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <istream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace me2::store {

struct TarLimits {
  std::int64_t member_bytes = 64 << 20;
  std::int64_t members = 2'000'000;
};

struct TarMember {
  std::string name;
  std::vector<std::byte> bytes;
};

class TarReader {
 public:
  explicit TarReader(const std::string& path, TarLimits limits = {});                      // Exit::no_input when it is not there
  TarReader(std::istream& stream, const std::string& where, TarLimits limits = {});  // the stream must outlive the reader
  bool next(TarMember& member);  // false after the last; Exit::data naming the member when the archive is broken
  const std::string& where() const { return where_; }

 private:
  void read_exactly(char* out, std::size_t n, const std::string& member);
  std::string read_text(std::int64_t size, const std::string& member);

  std::unique_ptr<std::ifstream> file_;
  std::istream* stream_;
  std::string where_;
  TarLimits limits_;
  std::int64_t count_ = 0;
  bool done_ = false;
};

struct WebSample {
  std::string key;                                                     // the name up to the first dot
  std::vector<std::pair<std::string, std::vector<std::byte>>> fields;  // the rest ("behav.npy") and the content
  const std::vector<std::byte>* find(const std::string& field) const;
};

class WebdatasetReader {
 public:
  explicit WebdatasetReader(const std::string& path, TarLimits limits = {}) : tar_(path, limits) {}
  bool next(WebSample& sample);

 private:
  TarReader tar_;
  std::optional<TarMember> ahead_;
};

}  // namespace me2::store
