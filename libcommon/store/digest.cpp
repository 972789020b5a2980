#include "store/digest.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/hash.h"

namespace me2::store {
namespace {

void collect(const Group& group, const std::string& prefix, std::map<std::string, std::string>& lines) {
  for (const std::string& name : group.array_names()) {
    const Array array = group.array(name);
    lines[prefix + name] = fmt::format("{}{} {} [{}] {}\n", prefix, name, dtype_name(array.dtype()), fmt::join(array.shape(), ","), content_digest(array));
  }
  for (const std::string& name : group.group_names()) collect(group.group(name), prefix + name + "/", lines);
}

}  // namespace

std::string content_digest(const Array& array) {
  Sha256 hash;
  const Shape& shape = array.shape();
  const bool strings = array.dtype() == DType::str;
  const auto add = [&](const Box& box) {
    std::int64_t n = 1;
    for (const std::int64_t extent : box.count) n *= extent;
    if (strings) {
      for (const std::string& text : array.read_strings(box)) {
        char length[4];
        for (int i = 0; i < 4; ++i) length[i] = static_cast<char>(text.size() >> (8 * i));
        hash.update(std::string_view(length, 4)).update(text);
      }
    } else {
      std::string bytes(static_cast<std::size_t>(n) * item_size(array.dtype()), '\0');
      array.read_bytes(box, array.dtype(), bytes.data());
      hash.update(bytes);
    }
  };
  Box box{Shape(shape.size(), 0), shape};
  if (shape.empty()) {
    add(box);
    return hash.hex();
  }
  if (array.size() == 0) return hash.hex();
  constexpr std::int64_t kBytesAtOnce = std::int64_t{64} << 20;
  const std::int64_t row = array.size() / shape[0] * static_cast<std::int64_t>(std::max<std::size_t>(1, item_size(array.dtype())));
  std::int64_t step = std::max<std::int64_t>(1, kBytesAtOnce / std::max<std::int64_t>(1, row));
  step = std::max(step / array.chunks()[0] * array.chunks()[0], array.chunks()[0]);  // whole chunks: none is decoded twice
  for (std::int64_t first = 0; first < shape[0]; first += step) {
    box.start[0] = first;
    box.count[0] = std::min(step, shape[0] - first);
    add(box);
  }
  return hash.hex();
}

std::string content_digest(const Group& group) {
  std::map<std::string, std::string> lines;
  collect(group, "", lines);
  Sha256 hash;
  for (const auto& [path, line] : lines) hash.update(line);
  return hash.hex();
}

}  // namespace me2::store
