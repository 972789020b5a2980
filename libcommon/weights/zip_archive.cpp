#include "weights/zip_archive.h"

#include <array>
#include <cstring>
#include <vector>

#include "base/error.h"

namespace me2::weights {
namespace {

constexpr std::uint32_t kLocal = 0x04034b50, kCentral = 0x02014b50, kEnd = 0x06054b50, kEnd64 = 0x06064b50, kLocator64 = 0x07064b50;

template <class T>
T at(std::span<const std::byte> bytes, std::uint64_t offset, const std::string& path) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) throw data_error("{}: ZIP: truncated at byte {}", path, offset);
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

}  // namespace

bool ZipArchive::looks_like(std::span<const std::byte> bytes) { return bytes.size() >= 4 && std::memcmp(bytes.data(), "PK\3\4", 4) == 0; }

ZipArchive::ZipArchive(MappedFile file) : file_(std::move(file)) {
  const auto bytes = file_.bytes();
  const std::string& path = file_.path();
  const std::uint64_t size = bytes.size();
  std::uint64_t end = 0;
  bool found = false;
  for (std::uint64_t back = 22; back <= size && back <= 22 + 65535 && !found; ++back)
    if (at<std::uint32_t>(bytes, size - back, path) == kEnd) end = size - back, found = true;
  if (!found) throw data_error("{}: ZIP without an end record: the file is truncated", path);
  std::uint64_t count = at<std::uint16_t>(bytes, end + 10, path), length = at<std::uint32_t>(bytes, end + 12, path);
  std::uint64_t directory = at<std::uint32_t>(bytes, end + 16, path);
  if (end >= 20 && at<std::uint32_t>(bytes, end - 20, path) == kLocator64) {
    const auto end64 = at<std::uint64_t>(bytes, end - 12, path);
    if (end64 > size || at<std::uint32_t>(bytes, end64, path) != kEnd64) throw data_error("{}: ZIP64 end record is not where it should be", path);
    count = at<std::uint64_t>(bytes, end64 + 32, path);
    length = at<std::uint64_t>(bytes, end64 + 40, path);
    directory = at<std::uint64_t>(bytes, end64 + 48, path);
  }
  if (directory > size || length > size - directory) throw data_error("{}: ZIP directory lies outside the file", path);
  std::uint64_t p = directory;
  for (std::uint64_t i = 0; i < count; ++i) {
    if (at<std::uint32_t>(bytes, p, path) != kCentral) throw data_error("{}: ZIP directory is damaged at byte {}", path, p);
    Record record{at<std::uint32_t>(bytes, p + 42, path), at<std::uint32_t>(bytes, p + 24, path), at<std::uint32_t>(bytes, p + 20, path),
                  at<std::uint16_t>(bytes, p + 10, path)};
    const std::uint64_t name_size = at<std::uint16_t>(bytes, p + 28, path), extra_size = at<std::uint16_t>(bytes, p + 30, path),
                        comment_size = at<std::uint16_t>(bytes, p + 32, path);
    if (p + 46 + name_size + extra_size > size) throw data_error("{}: ZIP directory is truncated", path);
    const std::string name(reinterpret_cast<const char*>(bytes.data()) + p + 46, name_size);
    for (std::uint64_t e = p + 46 + name_size, stop = e + extra_size; e + 4 <= stop;) {
      const std::uint64_t field = at<std::uint16_t>(bytes, e + 2, path);
      if (at<std::uint16_t>(bytes, e, path) == 1) {  // ZIP64: only the fields that were saturated, in this order
        std::uint64_t q = e + 4;
        const std::uint64_t last = std::min(stop, e + 4 + field);
        for (std::uint64_t* value : {&record.size, &record.stored_size, &record.header})
          if (*value == 0xFFFFFFFF) {
            if (q + 8 > last) throw data_error("{}: ZIP64 field of {} is too short", path, name);
            *value = at<std::uint64_t>(bytes, q, path);
            q += 8;
          }
      }
      e += 4 + field;
    }
    if (!records_.emplace(name, record).second) throw data_error("{}: ZIP record {} occurs twice", path, name);
    p += 46 + name_size + extra_size + comment_size;
  }
}

std::span<const std::byte> ZipArchive::record(const std::string& name) const {
  const std::string& path = file_.path();
  const auto it = records_.find(name);
  if (it == records_.end()) throw data_error("{}: record {} is missing", path, name);
  const Record& r = it->second;
  if (r.method != 0 || r.size != r.stored_size) throw data_error("{}: record {} is compressed; torch stores records as they are", path, name);
  const auto bytes = file_.bytes();
  if (r.header > bytes.size() || at<std::uint32_t>(bytes, r.header, path) != kLocal) throw data_error("{}: record {} is not where the directory says", path, name);
  const std::uint64_t data = r.header + 30 + at<std::uint16_t>(bytes, r.header + 26, path) + at<std::uint16_t>(bytes, r.header + 28, path);
  if (data > bytes.size() || r.size > bytes.size() - data) throw data_error("{}: record {} of {} bytes goes past the end of the file", path, name, r.size);
  return bytes.subspan(data, r.size);
}

std::uint32_t crc32(std::uint32_t start, const void* data, std::size_t size) {
  // Eight tables: eight bytes a step.
  static const auto kTables = [] {
    std::array<std::array<std::uint32_t, 256>, 8> t{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t c = i;
      for (int k = 0; k < 8; ++k) c = c & 1 ? 0xEDB88320u ^ (c >> 1) : c >> 1;
      t[0][i] = c;
    }
    for (std::uint32_t i = 0; i < 256; ++i)
      for (int k = 1; k < 8; ++k) t[k][i] = (t[k - 1][i] >> 8) ^ t[0][t[k - 1][i] & 0xFF];
    return t;
  }();
  std::uint32_t crc = ~start;
  const auto* p = static_cast<const unsigned char*>(data);
  for (; size >= 8; p += 8, size -= 8) {
    std::uint64_t word;
    std::memcpy(&word, p, 8);
    word ^= crc;
    crc = 0;
    for (int k = 0; k < 8; ++k) crc ^= kTables[7 - k][word >> (8 * k) & 0xFF];
  }
  for (; size > 0; ++p, --size) crc = (crc >> 8) ^ kTables[0][(crc ^ *p) & 0xFF];
  return ~crc;
}

void ZipWriter::begin(const std::string& name, std::uint64_t size, std::uint32_t crc) {
  const bool large = size >= 0xFFFFFFFF;
  entries_.push_back({name, at_, size, crc});
  std::string extra;
  if (large) {
    put<std::uint16_t>(extra, 1);
    put<std::uint16_t>(extra, 16);
    put(extra, size);
    put(extra, size);
  }
  const std::uint64_t fixed = at_ + 30 + name.size() + extra.size() + 4;
  const auto padding = static_cast<std::uint16_t>((64 - fixed % 64) % 64);
  put<std::uint16_t>(extra, 0x4246);  // "FB": the padding field torch writes
  put(extra, padding);
  extra.append(padding, 'Z');
  std::string head;
  put(head, kLocal);
  put<std::uint16_t>(head, large ? 45 : 20);
  put<std::uint16_t>(head, 0x0800);  // names are UTF-8
  put<std::uint16_t>(head, 0);
  put<std::uint32_t>(head, 0x00210000);  // 1980-01-01: the same bytes every time
  put(head, crc);
  put<std::uint32_t>(head, large ? 0xFFFFFFFF : static_cast<std::uint32_t>(size));
  put<std::uint32_t>(head, large ? 0xFFFFFFFF : static_cast<std::uint32_t>(size));
  put<std::uint16_t>(head, static_cast<std::uint16_t>(name.size()));
  put<std::uint16_t>(head, static_cast<std::uint16_t>(extra.size()));
  head += name + extra;
  write(head.data(), head.size());
}

void ZipWriter::write(const void* data, std::size_t size) {
  file_.write(data, size);
  at_ += size;
}

void ZipWriter::add(const std::string& name, std::string_view content) {
  begin(name, content.size(), crc32(0, content.data(), content.size()));
  write(content.data(), content.size());
}

void ZipWriter::finish() {
  const std::uint64_t directory = at_;
  for (const Entry& e : entries_) {
    const bool large = e.size >= 0xFFFFFFFF, far = e.offset >= 0xFFFFFFFF;
    std::string extra;
    if (large || far) {
      put<std::uint16_t>(extra, 1);
      put<std::uint16_t>(extra, static_cast<std::uint16_t>((large ? 16 : 0) + (far ? 8 : 0)));
      if (large) put(extra, e.size), put(extra, e.size);
      if (far) put(extra, e.offset);
    }
    std::string head;
    put(head, kCentral);
    put<std::uint16_t>(head, 45);
    put<std::uint16_t>(head, large || far ? 45 : 20);
    put<std::uint16_t>(head, 0x0800);
    put<std::uint16_t>(head, 0);
    put<std::uint32_t>(head, 0x00210000);
    put(head, e.crc);
    put<std::uint32_t>(head, large ? 0xFFFFFFFF : static_cast<std::uint32_t>(e.size));
    put<std::uint32_t>(head, large ? 0xFFFFFFFF : static_cast<std::uint32_t>(e.size));
    put<std::uint16_t>(head, static_cast<std::uint16_t>(e.name.size()));
    put<std::uint16_t>(head, static_cast<std::uint16_t>(extra.size()));
    head.append(10, '\0');  // comment, disk, attributes
    put<std::uint32_t>(head, far ? 0xFFFFFFFF : static_cast<std::uint32_t>(e.offset));
    head += e.name + extra;
    write(head.data(), head.size());
  }
  const std::uint64_t length = at_ - directory, end64 = at_;
  std::string tail;
  put(tail, kEnd64);
  put<std::uint64_t>(tail, 44);
  put<std::uint16_t>(tail, 45);
  put<std::uint16_t>(tail, 45);
  put<std::uint32_t>(tail, 0);
  put<std::uint32_t>(tail, 0);
  put<std::uint64_t>(tail, entries_.size());
  put<std::uint64_t>(tail, entries_.size());
  put(tail, length);
  put(tail, directory);
  put(tail, kLocator64);
  put<std::uint32_t>(tail, 0);
  put(tail, end64);
  put<std::uint32_t>(tail, 1);
  put(tail, kEnd);
  put<std::uint32_t>(tail, 0);
  const auto count = static_cast<std::uint16_t>(std::min<std::size_t>(entries_.size(), 0xFFFF));
  put(tail, count);
  put(tail, count);
  put(tail, static_cast<std::uint32_t>(std::min<std::uint64_t>(length, 0xFFFFFFFF)));
  put(tail, static_cast<std::uint32_t>(std::min<std::uint64_t>(directory, 0xFFFFFFFF)));
  put<std::uint16_t>(tail, 0);
  write(tail.data(), tail.size());
  file_.commit();
}

}  // namespace me2::weights
