// The names a pickle may mention, and what a call of each stands for.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "weights/value.h"

namespace me2::weights {

enum class Call {
  none, mapping, sequence, byte_string, tensor_v1, tensor_v2, tensor_v3, parameter, from_type, storage, torch_size, torch_device,
  np_reconstruct, np_scalar, np_ndarray, np_dtype, codecs_encode, attribute, identity, script_class, plain_type, skipped
};

// Exit-free lookup: nothing when the name is not allowed. For storages `dtype` and `untyped` are set; torch.float16 and its like give text.
struct Name {
  Call call = Call::none;
  std::optional<StorageRef> storage;
  std::optional<std::string> text;
};
std::optional<Name> allowed_name(const std::string& module, const std::string& name);

std::optional<at::ScalarType> dtype_of_name(const std::string& text);  // "torch.float16" -> Half

// What BUILD and REDUCE mean for numpy. Each throws Exit::data with a sentence that the caller puts into its place.
std::shared_ptr<NumpyArray> numpy_dtype(const std::vector<Value>& args);       // ('f8', False, True): shape and bytes still empty
void numpy_dtype_state(NumpyArray& dtype, const Value& state);                 // (3, '<', ...)
void numpy_array_state(NumpyArray& array, const Value& state);                 // (1, shape, dtype, is_fortran, bytes)
std::string latin1_bytes(const std::string& utf8);                             // _codecs.encode(text, 'latin1')

}  // namespace me2::weights
