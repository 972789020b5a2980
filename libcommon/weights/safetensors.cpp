#include "weights/safetensors.h"

#include <cstring>

#include <ATen/ATen.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace me2::weights {
namespace {

const std::map<std::string, at::ScalarType>& dtypes() {
  static const std::map<std::string, at::ScalarType> names{
      {"F64", at::kDouble}, {"F32", at::kFloat}, {"F16", at::kHalf}, {"BF16", at::kBFloat16}, {"I64", at::kLong},
      {"I32", at::kInt},    {"I16", at::kShort}, {"I8", at::kChar},  {"U8", at::kByte},       {"BOOL", at::kBool}};
  return names;
}

}  // namespace

StateDict::Entries read_safetensors(const std::string& path) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  std::uint64_t header_size = 0;
  if (bytes.size() < 8) throw data_error("{}: {} bytes are too few for a safetensors file", path, bytes.size());
  std::memcpy(&header_size, bytes.data(), 8);
  if (header_size > 100'000'000 || header_size > bytes.size() - 8)
    throw data_error("{}: header of {} bytes announced in a file of {}", path, header_size, bytes.size());
  const Json header = parse_json({reinterpret_cast<const char*>(bytes.data()) + 8, header_size}, path);
  const auto data = bytes.subspan(8 + header_size);
  StateDict::Entries entries;
  for (const auto& [name, item] : header.items()) {
    if (name == "__metadata__") continue;
    const auto dtype = dtypes().find(item.value("dtype", std::string()));
    if (dtype == dtypes().end()) throw data_error("{}: tensor {}: dtype {} is not known", path, name, item["dtype"].dump());
    const auto shape = item.at("shape").get<std::vector<std::int64_t>>();
    const auto offsets = item.at("data_offsets").get<std::vector<std::uint64_t>>();
    std::uint64_t expected = c10::elementSize(dtype->second);
    for (const auto n : shape)
      if (n < 0 || __builtin_mul_overflow(expected, static_cast<std::uint64_t>(n), &expected))
        throw data_error("{}: tensor {}: impossible shape [{}]", path, name, fmt::join(shape, ", "));
    if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > data.size() || offsets[1] - offsets[0] != expected)
      throw data_error("{}: tensor {}: offsets do not fit {} bytes", path, name, expected);
    const std::byte* begin = data.data() + offsets[0];
    entries[name] = {shape, dtype->second, [begin, shape, type = dtype->second, owner = file.owner()] {
                       return at::from_blob(const_cast<std::byte*>(begin), shape, [owner](void*) {}, at::TensorOptions().dtype(type));
                     }};
  }
  return entries;
}

void save_safetensors(const std::string& path, const std::map<std::string, at::Tensor>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t offset = 0;
  std::string body;
  for (const auto& [name, given] : tensors) {
    const at::Tensor tensor = given.detach().cpu().contiguous();
    std::string type;
    for (const auto& [label, scalar] : dtypes())
      if (scalar == tensor.scalar_type()) type = label;
    const std::uint64_t size = tensor.nbytes();
    header[name] = {{"dtype", type}, {"shape", tensor.sizes().vec()}, {"data_offsets", {offset, offset + size}}};
    body.append(static_cast<const char*>(tensor.const_data_ptr()), size);
    offset += size;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  const std::uint64_t length = text.size();
  write_file_atomic(path, std::string(reinterpret_cast<const char*>(&length), 8) + text + body);
}

}  // namespace me2::weights
