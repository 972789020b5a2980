// What a pickle holds once parsed: a plain tree of Python values. Handles are cheap to copy; the tree is read-only and free of cycles.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

namespace me2::weights {

struct Node;

class Value {
 public:
  // big_integer: beyond int64, its decimal text in text(). array: a numpy array or scalar. opaque: something that is neither a
  // tensor nor a plain value; text() says what.
  enum class Kind { none, boolean, integer, big_integer, real, text, bytes, list, tuple, dict, tensor, array, opaque };

  Value();  // none
  explicit Value(std::shared_ptr<Node> node) : node_(std::move(node)) {}
  Kind kind() const;
  bool is(Kind k) const { return kind() == k; }

  // Each throws Exit::data saying what was found when the value is of another kind.
  bool boolean() const;
  std::int64_t integer() const;                                   // also a numpy integer scalar
  double real() const;                                            // also an integer, or a numpy scalar
  const std::string& text() const;                                // text, bytes, big_integer, opaque
  const std::vector<Value>& elements() const;                     // list, tuple
  const std::vector<std::pair<Value, Value>>& items() const;      // dict, in file order; of equal keys the last one counts
  const Value* find(const std::string& key) const;                // of a dict; null when absent or not a dict
  const Value& at(const std::string& key) const;
  at::Tensor tensor() const;                                      // tensor or numeric array; aliases the mapped file where it can
  std::vector<std::int64_t> shape() const;                        // tensor or array
  at::ScalarType dtype() const;                                   // tensor or numeric array
  std::vector<std::string> texts() const;                         // elements of a numpy unicode or bytes array, row-major
  std::string array_dtype() const;                                // numpy's name: "<U35", "float64"
  bool numeric() const;                                           // a tensor, or an array that tensor() can give

  const std::shared_ptr<Node>& node() const { return node_; }

 private:
  const Node& need(Kind k, const char* expected) const;
  std::shared_ptr<Node> node_;
};

// ---- The inside of a Value: for pickle.cpp and torch_file.cpp, which build it.

struct StorageRef {
  std::string key;
  at::ScalarType dtype = at::kByte;
  bool untyped = false;            // `count` is in bytes, and the tensor says its type
  std::int64_t count = 0;          // elements
  std::int64_t view_offset = 0;    // legacy files: a storage that is a window of another
};

struct TensorRef {
  StorageRef storage;
  at::ScalarType dtype = at::kByte;
  std::int64_t offset = 0;         // elements
  std::vector<std::int64_t> shape, stride;
  std::function<at::Tensor()> load;  // set once the storage is found and the extent checked
};

struct NumpyArray {
  char kind = 0;                   // f i u b c U S, as numpy's dtype.kind
  std::int64_t item_size = 0;      // bytes
  bool big_endian = false, fortran = false, scalar = false;
  std::vector<std::int64_t> shape;
  std::string bytes;
};

struct Node {
  enum class Role { plain, callable, storage, dtype, bare_array, object };  // for opaque nodes: what they stand for while parsing
  Value::Kind kind = Value::Kind::none;
  Role role = Role::plain;
  bool flag = false, reached = false;
  int call = 0;
  std::int64_t integer = 0;
  double real = 0;
  std::string text;
  std::vector<Value> elements;
  std::vector<std::pair<Value, Value>> items;
  std::shared_ptr<TensorRef> tensor;
  std::shared_ptr<StorageRef> storage;
  std::shared_ptr<NumpyArray> array;
};

}  // namespace me2::weights
