#include "weights/pickle_names.h"

#include <array>
#include <charconv>
#include <map>
#include <unordered_map>

#include "base/error.h"

namespace me2::weights {
namespace {

const std::map<std::string, at::ScalarType>& dtypes() {
  static const std::map<std::string, at::ScalarType> names{
      {"float64", at::kDouble}, {"double", at::kDouble}, {"float32", at::kFloat}, {"float", at::kFloat}, {"float16", at::kHalf}, {"half", at::kHalf},
      {"bfloat16", at::kBFloat16}, {"int64", at::kLong}, {"long", at::kLong}, {"int32", at::kInt}, {"int", at::kInt}, {"int16", at::kShort},
      {"short", at::kShort}, {"int8", at::kChar}, {"uint8", at::kByte}, {"uint16", at::kUInt16}, {"uint32", at::kUInt32}, {"uint64", at::kUInt64},
      {"bool", at::kBool}, {"complex64", at::kComplexFloat}, {"complex128", at::kComplexDouble}, {"float8_e4m3fn", at::kFloat8_e4m3fn},
      {"float8_e5m2", at::kFloat8_e5m2}};
  return names;
}

const std::unordered_map<std::string, at::ScalarType>& storages() {
  static const std::unordered_map<std::string, at::ScalarType> names{
      {"DoubleStorage", at::kDouble}, {"FloatStorage", at::kFloat}, {"HalfStorage", at::kHalf}, {"BFloat16Storage", at::kBFloat16},
      {"LongStorage", at::kLong},     {"IntStorage", at::kInt},     {"ShortStorage", at::kShort}, {"CharStorage", at::kChar},
      {"ByteStorage", at::kByte},     {"BoolStorage", at::kBool},   {"ComplexFloatStorage", at::kComplexFloat},
      {"ComplexDoubleStorage", at::kComplexDouble}};
  return names;
}

const std::unordered_map<std::string, Call>& calls() {
  static const std::unordered_map<std::string, Call> names{
      {"collections.OrderedDict", Call::mapping}, {"collections.defaultdict", Call::mapping}, {"collections.Counter", Call::mapping},
      {"torch._utils._rebuild_tensor", Call::tensor_v1}, {"torch._utils._rebuild_tensor_v2", Call::tensor_v2},
      {"torch._utils._rebuild_tensor_v3", Call::tensor_v3}, {"torch._utils._rebuild_parameter", Call::parameter},
      {"torch._utils._rebuild_parameter_with_state", Call::parameter}, {"torch._tensor._rebuild_from_type_v2", Call::from_type},
      {"torch.nn.parameter.Parameter", Call::plain_type}, {"torch.Tensor", Call::plain_type},
      {"torch.Size", Call::torch_size}, {"torch.device", Call::torch_device},
      {"numpy.core.multiarray._reconstruct", Call::np_reconstruct}, {"numpy._core.multiarray._reconstruct", Call::np_reconstruct},
      {"numpy.core.multiarray.scalar", Call::np_scalar}, {"numpy._core.multiarray.scalar", Call::np_scalar},
      {"numpy.ndarray", Call::np_ndarray}, {"numpy.dtype", Call::np_dtype}, {"_codecs.encode", Call::codecs_encode}};
  return names;
}

// Libraries whose objects may stand in a checkpoint beside the weights. They are skipped, not rebuilt.
bool known_bystander(const std::string& full) {
  static constexpr std::array<const char*, 9> kPrefixes{"torch.optim.", "pytorch_lightning.", "lightning.", "lightning_fabric.", "omegaconf.",
                                                        "deepspeed.", "argparse.Namespace", "typing.", "pathlib."};
  for (const char* prefix : kPrefixes)
    if (full.starts_with(prefix)) return true;
  return false;
}

std::int64_t product(const std::vector<std::int64_t>& shape, std::int64_t size) {
  for (const auto n : shape)
    if (n < 0 || __builtin_mul_overflow(size, n, &size)) throw data_error("impossible numpy shape [{}]", fmt::join(shape, ", "));
  return size;
}

}  // namespace

std::optional<at::ScalarType> dtype_of_name(const std::string& text) {
  if (!text.starts_with("torch.")) return std::nullopt;
  const auto it = dtypes().find(text.substr(6));
  return it == dtypes().end() ? std::nullopt : std::optional(it->second);
}

std::optional<Name> allowed_name(const std::string& module, const std::string& name) {
  const std::string full = module + "." + name;
  if (const auto it = calls().find(full); it != calls().end()) return Name{it->second, {}, {}};
  if (module == "torch" || module == "torch.cuda" || module == "torch.storage") {
    if (const auto it = storages().find(name); it != storages().end()) return Name{Call::storage, StorageRef{"", it->second, false, 0, 0}, {}};
    if (name == "UntypedStorage") return Name{Call::storage, StorageRef{"", at::kByte, true, 0, 0}, {}};
    if (module == "torch" && dtypes().contains(name)) return Name{Call::none, {}, full};
  }
  if (module == "__builtin__" || module == "builtins") {
    if (name == "set" || name == "frozenset" || name == "list" || name == "tuple") return Name{Call::sequence, {}, {}};
    if (name == "dict") return Name{Call::mapping, {}, {}};
    if (name == "bytearray") return Name{Call::byte_string, {}, {}};
    if (name == "getattr") return Name{Call::attribute, {}, {}};
    if (name == "int" || name == "float" || name == "str" || name == "bool" || name == "complex" || name == "bytes" || name == "long" || name == "object")
      return Name{Call::plain_type, {}, {}};
  }
  if (module.starts_with("torch.jit._pickle")) return Name{Call::identity, {}, {}};       // TorchScript: build_intlist, restore_type_tag
  if (module.starts_with("__torch__")) return Name{Call::script_class, {}, {}};            // TorchScript modules: their attributes are a dict
  if (known_bystander(full)) return Name{Call::skipped, {}, {}};
  return std::nullopt;
}

std::shared_ptr<NumpyArray> numpy_dtype(const std::vector<Value>& args) {
  if (args.empty()) throw data_error("a numpy dtype without a name");
  const std::string name = args[0].text();
  auto dtype = std::make_shared<NumpyArray>();
  std::int64_t size = 0;
  if (name.size() < 2 || std::from_chars(name.data() + 1, name.data() + name.size(), size).ptr != name.data() + name.size() || size < 0 || size > (1 << 28))
    throw data_error("numpy dtype \"{}\" is not known", name);
  dtype->kind = name[0];
  dtype->item_size = name[0] == 'U' ? 4 * size : size;
  const bool known = std::string_view("fiu").find(name[0]) != std::string_view::npos ? (size == 1 && name[0] != 'f') || size == 2 || size == 4 || size == 8
                     : name[0] == 'b' ? size == 1
                                      : name[0] == 'U' || name[0] == 'S';
  if (!known) throw data_error("numpy dtype \"{}\" is not supported", name);
  return dtype;
}

void numpy_dtype_state(NumpyArray& dtype, const Value& state) {
  const auto& fields = state.elements();
  if (fields.size() < 2 || !fields[1].is(Value::Kind::text)) throw data_error("a numpy dtype state of {} fields", fields.size());
  dtype.big_endian = fields[1].text() == ">";
  for (std::size_t i = 2; i < 5 && i < fields.size(); ++i)
    if (!fields[i].is(Value::Kind::none)) throw data_error("structured numpy dtypes are not supported");
}

void numpy_array_state(NumpyArray& array, const Value& state) {
  const auto& fields = state.elements();
  if (fields.size() != 5) throw data_error("a numpy array state of {} fields, 5 expected", fields.size());
  const Node& dtype = *fields[2].node();
  if (dtype.role != Node::Role::dtype) throw data_error("a numpy array without a dtype");
  array.kind = dtype.array->kind;
  array.item_size = dtype.array->item_size;
  array.big_endian = dtype.array->big_endian;
  array.fortran = fields[3].is(Value::Kind::boolean) ? fields[3].boolean() : fields[3].integer() != 0;
  array.shape.clear();
  for (const auto& n : fields[1].elements()) array.shape.push_back(n.integer());
  array.bytes = fields[4].text();
  if (product(array.shape, array.item_size) != static_cast<std::int64_t>(array.bytes.size()))
    throw data_error("a numpy array of shape [{}] with {} bytes", fmt::join(array.shape, ", "), array.bytes.size());
}

std::string latin1_bytes(const std::string& utf8) {
  std::string out;
  out.reserve(utf8.size());
  for (std::size_t i = 0; i < utf8.size(); ++i) {
    const unsigned char c = utf8[i];
    if (c < 0x80) out += static_cast<char>(c);
    else if ((c == 0xC2 || c == 0xC3) && i + 1 < utf8.size()) out += static_cast<char>((c & 3) << 6 | (utf8[++i] & 63));
    else throw data_error("text that is not latin-1 where bytes were encoded");
  }
  return out;
}

}  // namespace me2::weights
