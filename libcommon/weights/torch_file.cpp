#include "weights/torch_file.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include <ATen/ATen.h>

#include "base/error.h"
#include "weights/pickle.h"
#include "weights/zip_archive.h"

namespace me2::weights {
namespace {

constexpr std::int64_t kMaxExpanded = std::int64_t{1} << 30;  // bytes of a tensor that repeats its storage (stride 0)

struct Extent {  // the bytes of one storage
  std::span<const std::byte> bytes;
  std::shared_ptr<const std::byte[]> owner;
  bool big_endian = false;
};

void swap_bytes(char* data, std::size_t bytes, std::size_t item) {
  for (std::size_t i = 0; item > 1 && i + item <= bytes; i += item) std::reverse(data + i, data + i + item);
}

// Checks the extent of a tensor and sets its load(). Throws a sentence without the file.
void bind(TensorRef& t, const Extent& extent) {
  const std::int64_t item = static_cast<std::int64_t>(c10::elementSize(t.dtype));
  const std::int64_t storage_item = static_cast<std::int64_t>(c10::elementSize(t.storage.dtype));
  std::int64_t storage_bytes = 0, start = 0;
  if (__builtin_mul_overflow(t.storage.count, storage_item, &storage_bytes) || __builtin_mul_overflow(t.storage.view_offset, storage_item, &start) ||
      start > static_cast<std::int64_t>(extent.bytes.size()) || storage_bytes > static_cast<std::int64_t>(extent.bytes.size()) - start)
    throw data_error("storage {} says {} elements, its record has {} bytes", t.storage.key, t.storage.count, extent.bytes.size());
  if (t.shape.size() != t.stride.size() || t.shape.size() > 64) throw data_error("a tensor of {} sizes and {} strides", t.shape.size(), t.stride.size());
  if (t.offset < 0) throw data_error("a tensor begins {} elements before its storage", -t.offset);
  std::int64_t count = 1, last = t.offset;
  bool bad = false;
  for (std::size_t i = 0; i < t.shape.size(); ++i) {
    std::int64_t step = 0;
    bad = bad || t.shape[i] < 0 || t.stride[i] < 0 || __builtin_mul_overflow(count, t.shape[i], &count);
    if (!bad && t.shape[i] > 0) bad = __builtin_mul_overflow(t.shape[i] - 1, t.stride[i], &step) || __builtin_add_overflow(last, step, &last);
  }
  std::int64_t bytes = 0;
  if (bad || __builtin_mul_overflow(count, item, &bytes))
    throw data_error("a tensor of shape [{}] and strides [{}]", fmt::join(t.shape, ", "), fmt::join(t.stride, ", "));
  const std::int64_t room = storage_bytes / item;
  if (count > 0 && last >= room)
    throw data_error("a tensor of shape [{}] reaches element {} of a storage of {}", fmt::join(t.shape, ", "), last, room);
  if (bytes > std::max(storage_bytes, kMaxExpanded)) throw data_error("a tensor of shape [{}] over a storage of {} elements", fmt::join(t.shape, ", "), room);
  if (count == 0) {
    t.load = [shape = t.shape, dtype = t.dtype] { return at::empty(shape, at::TensorOptions().dtype(dtype)); };
    return;
  }
  const std::byte* data = extent.bytes.data() + start + t.offset * item;
  t.load = [data, length = last - t.offset + 1, shape = t.shape, stride = t.stride, dtype = t.dtype, owner = extent.owner, swap = extent.big_endian] {
    at::Tensor flat = tensor_over(data, {length}, dtype, owner);
    if (swap) {
      flat = flat.clone();
      swap_bytes(static_cast<char*>(flat.mutable_data_ptr()), flat.nbytes(), flat.element_size() / (c10::isComplexType(dtype) ? 2 : 1));
    }
    return at::as_strided(flat, shape, stride, 0).contiguous();
  };
}

TorchFile read_zip(const MappedFile& file) {
  const ZipArchive zip(file);
  std::string stem;
  zip.each_name([&](const std::string& name) {
    const std::string tail = "/data.pkl";
    if (name.ends_with(tail) && name.find('/') == name.size() - tail.size()) stem = name.substr(0, name.size() - tail.size());
  });
  if (stem.empty()) throw data_error("{}: a ZIP file without <name>/data.pkl: not written by torch.save", file.path());
  bool big_endian = false;
  if (zip.has(stem + "/byteorder")) {
    const auto text = zip.record(stem + "/byteorder");
    big_endian = std::string_view(reinterpret_cast<const char*>(text.data()), text.size()) == "big";
  }
  Pickled pickled = parse_pickle(zip.record(stem + "/data.pkl"), fmt::format("{}: {}/data.pkl", file.path(), stem));
  for (const auto& tensor : pickled.tensors) {
    const std::string name = fmt::format("{}/data/{}", stem, tensor->storage.key);
    try {
      bind(*tensor, {zip.record(name), file.owner(), big_endian});
    } catch (const Error& e) {
      if (std::string_view(e.what()).starts_with(file.path())) throw;
      throw data_error("{}: {}: {}", file.path(), name, e.what());
    }
  }
  return {pickled.root, pickled.notes};
}

// Pickled magic number 0x1950a86a20f9469cfc6c, as every stream since torch 0.1.10 begins.
constexpr unsigned char kMagic[] = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.'};

TorchFile read_legacy(const MappedFile& file) {
  auto rest = file.bytes().subspan(sizeof(kMagic));
  const auto next = [&] {
    Pickled p = parse_pickle(rest, fmt::format("{} (byte {})", file.path(), file.bytes().size() - rest.size()));
    rest = rest.subspan(p.consumed);
    return p;
  };
  try {
    if (const auto protocol = next().root.integer(); protocol != 1001) throw data_error("stream protocol {}, 1001 expected", protocol);
    const Pickled system = next();
    const Value* little = system.root.find("little_endian");
    const bool big_endian = little && !little->boolean();
    Pickled pickled = next();
    std::unordered_map<std::string, const StorageRef*> described;
    for (const auto& storage : pickled.storages) {
      const auto [it, fresh] = described.try_emplace(storage.key, &storage);
      if (!fresh && it->second->dtype != storage.dtype) throw data_error("storage {} has two types", storage.key);
    }
    std::unordered_map<std::string, Extent> extents;
    const Pickled keys = next();
    for (const auto& key : keys.root.elements()) {
      const auto it = described.find(key.is(Value::Kind::integer) ? std::to_string(key.integer()) : key.text());
      if (it == described.end()) throw data_error("storage {} is not used by the object", key.text());
      std::int64_t count = 0, bytes = 0;
      if (rest.size() < 8) throw data_error("ends before storage {}", it->first);
      std::memcpy(&count, rest.data(), 8);
      if (big_endian) count = static_cast<std::int64_t>(__builtin_bswap64(static_cast<std::uint64_t>(count)));
      rest = rest.subspan(8);
      if (count != it->second->count || __builtin_mul_overflow(count, static_cast<std::int64_t>(c10::elementSize(it->second->dtype)), &bytes) ||
          bytes > static_cast<std::int64_t>(rest.size()))
        throw data_error("storage {} of {} elements, {} announced, {} bytes left in the file", it->first, count, it->second->count, rest.size());
      extents[it->first] = {rest.first(static_cast<std::size_t>(bytes)), file.owner(), big_endian};
      rest = rest.subspan(static_cast<std::size_t>(bytes));
    }
    for (const auto& tensor : pickled.tensors) {
      const auto it = extents.find(tensor->storage.key);
      if (it == extents.end()) throw data_error("storage {} is missing", tensor->storage.key);
      bind(*tensor, it->second);
    }
    return {pickled.root, pickled.notes};
  } catch (const Error& e) {
    if (std::string_view(e.what()).starts_with(file.path())) throw;
    throw data_error("{}: {}", file.path(), e.what());
  }
}

void flatten(const Value& value, const std::string& name, StateDict::Entries& out, std::vector<std::string>* notes) {
  if (value.is(Value::Kind::dict)) {
    for (const auto& [key, item] : value.items()) {
      const std::string part = key.is(Value::Kind::text) ? key.text() : key.is(Value::Kind::integer) ? std::to_string(key.integer()) : "";
      if (!part.empty()) flatten(item, name.empty() ? part : name + "." + part, out, notes);
    }
  } else if (value.numeric()) {
    out[name] = {value.shape(), value.dtype(), [value] { return value.tensor(); }};
  } else if (notes) {
    notes->push_back("skipped " + (name.empty() ? std::string("the root") : name) + ": not a tensor");
  }
}

}  // namespace

bool is_torch_file(const std::string& path) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  return ZipArchive::looks_like(bytes) || (bytes.size() >= sizeof(kMagic) && std::memcmp(bytes.data(), kMagic, sizeof(kMagic)) == 0);
}

TorchFile read_torch_file(const std::string& path) {
  const MappedFile file(path);
  if (ZipArchive::looks_like(file.bytes())) return read_zip(file);
  if (file.bytes().size() >= sizeof(kMagic) && std::memcmp(file.bytes().data(), kMagic, sizeof(kMagic)) == 0) return read_legacy(file);
  throw data_error("{}: not a file written by torch.save (neither its ZIP layout nor the older stream)", path);
}

StateDict::Entries torch_entries(const std::string& path, std::vector<std::string>* notes) {
  const TorchFile file = read_torch_file(path);
  if (notes) *notes = file.notes;
  StateDict::Entries out;
  Value root = file.root;
  for (const char* key : {"model_state_dict", "state_dict", "module", "model"})
    if (const Value* inner = root.find(key); inner && inner->is(Value::Kind::dict)) {
      if (notes)
        for (const auto& [name, value] : root.items())
          if (!name.is(Value::Kind::text) || name.text() != key)
            notes->push_back("left out beside the weights: " + (name.is(Value::Kind::text) ? name.text() : std::string("an unnamed entry")));
      root = Value(*inner);
      break;
    }
  flatten(root, "", out, notes);
  if (out.empty()) throw data_error("{}: holds no named tensors", path);
  if (out.contains("")) throw data_error("{}: holds one bare tensor, named tensors expected", path);
  return out;
}

}  // namespace me2::weights
