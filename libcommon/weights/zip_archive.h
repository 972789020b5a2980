// ZIP as torch uses it: stored (uncompressed) records, ZIP64 sizes and offsets, no assumption about alignment.
// Source of the format: PKWARE APPNOTE 6.3, sections 4.3 and 4.5.3.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"

namespace me2::weights {

class ZipArchive {
 public:
  explicit ZipArchive(MappedFile file);  // Exit::data when the directory is missing, truncated or points outside the file
  static bool looks_like(std::span<const std::byte> bytes);
  bool has(const std::string& name) const { return records_.contains(name); }
  std::span<const std::byte> record(const std::string& name) const;  // Exit::data when absent, compressed or outside the file
  const MappedFile& file() const { return file_; }
  template <class F>
  void each_name(F f) const {
    for (const auto& [name, record] : records_) f(name);
  }

 private:
  struct Record {
    std::uint64_t header, size, stored_size;
    std::uint16_t method;
  };
  MappedFile file_;
  std::map<std::string, Record> records_;
};

// Writes one archive of stored records, data aligned to 64 bytes as torch does it, always with ZIP64 where a size needs it.
class ZipWriter {
 public:
  explicit ZipWriter(const std::string& path) : file_(path) {}
  void begin(const std::string& name, std::uint64_t size, std::uint32_t crc);  // then write() exactly `size` bytes
  void write(const void* data, std::size_t size);
  void add(const std::string& name, std::string_view content);
  void finish();

 private:
  struct Entry {
    std::string name;
    std::uint64_t offset, size;
    std::uint32_t crc;
  };
  AtomicWriter file_;
  std::vector<Entry> entries_;
  std::uint64_t at_ = 0;
};

std::uint32_t crc32(std::uint32_t start, const void* data, std::size_t size);  // IEEE 802.3, as ZIP wants it; start with 0

}  // namespace me2::weights
