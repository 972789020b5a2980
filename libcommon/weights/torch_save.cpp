// The writing half of torch_file.h. Source of the layout: torch/serialization.py (_save), written from its documentation.
#include <ATen/ATen.h>

#include <algorithm>

#include "base/error.h"
#include "weights/torch_file.h"
#include "weights/zip_archive.h"

namespace me2::weights {
namespace {

std::string storage_name(at::ScalarType type, const std::string& tensor) {
  switch (type) {
    case at::kDouble: return "DoubleStorage";
    case at::kFloat: return "FloatStorage";
    case at::kHalf: return "HalfStorage";
    case at::kBFloat16: return "BFloat16Storage";
    case at::kLong: return "LongStorage";
    case at::kInt: return "IntStorage";
    case at::kShort: return "ShortStorage";
    case at::kChar: return "CharStorage";
    case at::kByte: return "ByteStorage";
    case at::kBool: return "BoolStorage";
    default: throw data_error("tensor {}: {} cannot be saved in a torch checkpoint", tensor, c10::toString(type));
  }
}

class Pickler {  // protocol 2
 public:
  std::string out = "\x80\x02";
  template <class T>
  void raw(T value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }
  void op(char c) { out += c; }
  void text(const std::string& t) {
    op('X');
    raw(static_cast<std::uint32_t>(t.size()));
    out += t;
  }
  void integer(std::int64_t v) {
    if (v >= INT32_MIN && v <= INT32_MAX) {
      op('J');
      raw(static_cast<std::int32_t>(v));
    } else {
      out += "\x8a\x08";
      raw(v);
    }
  }
  void real(double v) {
    op('G');
    raw(__builtin_bswap64(std::bit_cast<std::uint64_t>(v)));
  }
  void global(const std::string& module, const std::string& name) { out += "c" + module + "\n" + name + "\n"; }
  void integers(at::IntArrayRef values) {
    op('(');
    for (const auto v : values) integer(v);
    op('t');
  }
  void empty_ordered_dict() {
    global("collections", "OrderedDict");
    op(')');
    op('R');
  }
  void tensor(const at::Tensor& t, const std::string& name, std::size_t key) {
    global("torch._utils", "_rebuild_tensor_v2");
    op('(');
    op('(');
    text("storage");
    global("torch", storage_name(t.scalar_type(), name));
    text(std::to_string(key));
    text("cpu");
    integer(t.numel());
    op('t');
    op('Q');
    integer(0);
    integers(t.sizes());
    std::vector<std::int64_t> strides(t.dim(), 1);  // contiguous
    for (std::int64_t i = t.dim() - 2; i >= 0; --i) strides[i] = strides[i + 1] * std::max<std::int64_t>(t.size(i + 1), 1);
    integers(strides);
    out += '\x89';  // requires_grad
    empty_ordered_dict();
    op('t');
    op('R');
  }
};

}  // namespace

void save_torch_zip(const std::string& path, const std::map<std::string, at::Tensor>& tensors, const std::map<std::string, Plain>& extra,
                    const std::string& root) {
  Pickler p;
  std::size_t key = 0;
  if (!root.empty()) {
    p.op('}');
    p.op('(');
    p.text(root);
  }
  p.empty_ordered_dict();
  p.op('(');
  for (const auto& [name, tensor] : tensors) {
    p.text(name);
    p.tensor(tensor, name, key++);
  }
  p.op('u');
  if (!root.empty()) {
    for (const auto& [name, value] : extra) {
      p.text(name);
      if (const auto* i = std::get_if<std::int64_t>(&value)) p.integer(*i);
      else if (const auto* d = std::get_if<double>(&value)) p.real(*d);
      else p.text(std::get<std::string>(value));
    }
    p.op('u');
  }
  p.op('.');

  // torch names the archive's folder after the file; readers take whatever is there.
  std::string stem = path.substr(path.find_last_of('/') + 1);
  if (const auto dot = stem.find_last_of('.'); dot != std::string::npos && dot > 0) stem.resize(dot);
  ZipWriter zip(path);
  zip.add(stem + "/data.pkl", p.out);
  zip.add(stem + "/byteorder", "little");
  key = 0;
  for (const auto& [name, given] : tensors) {  // one tensor in memory at a time
    const at::Tensor tensor = given.detach().cpu().contiguous();
    zip.begin(fmt::format("{}/data/{}", stem, key++), tensor.nbytes(), crc32(0, tensor.const_data_ptr(), tensor.nbytes()));
    zip.write(tensor.const_data_ptr(), tensor.nbytes());
  }
  zip.add(stem + "/version", "3\n");
  zip.finish();
}

}  // namespace me2::weights
