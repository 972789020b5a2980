#include "weights/pickle.h"

#include <bit>
#include <charconv>
#include <cstring>
#include <set>
#include <unordered_map>

#include <ATen/ATen.h>

#include "base/error.h"
#include "weights/pickle_names.h"

namespace me2::weights {
namespace {

using Kind = Value::Kind;
using Role = Node::Role;
constexpr int kMaxDepth = 500;
constexpr std::uint64_t kMaxTree = 50'000'000;  // values of the tree when shared ones are counted each time

class Machine {
 public:
  Machine(std::span<const std::byte> bytes, const std::string& where)
      : begin_(reinterpret_cast<const unsigned char*>(bytes.data())), at_(begin_), end_(begin_ + bytes.size()), where_(where) {}

  // Nodes may form cycles or deep chains while parsing; they are taken apart here one by one.
  ~Machine() {
    for (const auto& node : arena_)
      if (!node->reached) {
        node->elements.clear();
        node->items.clear();
      }
  }

  Pickled run() {
    try {
      while (!step()) {
      }
      std::uint64_t count = 0;
      check(out_.root, 0, count);
      mark_reached(out_.root);
    } catch (const Error& e) {
      if (std::string_view(e.what()).starts_with(where_)) throw;
      throw data_error("{}: pickle, byte {}: {}", where_, op_ - begin_, e.what());
    }
    out_.notes.assign(notes_.begin(), notes_.end());
    out_.consumed = static_cast<std::size_t>(at_ - begin_);
    return std::move(out_);
  }

 private:
  // ---- input
  const unsigned char* take(std::uint64_t n) {
    if (n > static_cast<std::uint64_t>(end_ - at_)) throw data_error("ends early: {} bytes wanted, {} left", n, end_ - at_);
    const auto* p = at_;
    at_ += n;
    return p;
  }
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof(T)), sizeof(T));
    return value;
  }
  std::string bytes(std::uint64_t n) {
    const auto* p = take(n);
    return {reinterpret_cast<const char*>(p), static_cast<std::size_t>(n)};
  }
  std::string line() {
    const void* stop = std::memchr(at_, '\n', static_cast<std::size_t>(end_ - at_));
    if (!stop) throw data_error("a line does not end");
    std::string text = bytes(static_cast<const unsigned char*>(stop) - at_);
    ++at_;
    return text;
  }

  // ---- values
  std::shared_ptr<Node> make(Kind kind, std::string text = "") {
    auto node = std::make_shared<Node>();
    node->kind = kind;
    node->text = std::move(text);
    arena_.push_back(node);
    return node;
  }
  void push(std::shared_ptr<Node> node) { stack_.emplace_back(std::move(node)); }
  void push(Kind kind, std::string text = "") { push(make(kind, std::move(text))); }
  void push_integer(std::int64_t value) {
    auto node = make(Kind::integer);
    node->integer = value;
    push(std::move(node));
  }
  void push_boolean(bool value) {
    auto node = make(Kind::boolean);
    node->flag = value;
    push(std::move(node));
  }
  void push_real(double value) {
    auto node = make(Kind::real);
    node->real = value;
    push(std::move(node));
  }
  std::shared_ptr<Node> object(Role role, const std::string& what) {
    auto node = make(Kind::opaque, what);
    node->role = role;
    return node;
  }
  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  Value pop() {
    if (stack_.size() <= floor()) throw data_error("the stack is empty");
    Value value = std::move(stack_.back());
    stack_.pop_back();
    return value;
  }
  Value& top() {
    if (stack_.size() <= floor()) throw data_error("the stack is empty");
    return stack_.back();
  }
  std::vector<Value> pop_mark() {
    if (marks_.empty()) throw data_error("no mark on the stack");
    std::vector<Value> out(stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back()), stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return out;
  }
  void push_tuple(std::vector<Value> elements) {
    auto node = make(Kind::tuple);
    node->elements = std::move(elements);
    push(std::move(node));
  }
  void put(std::uint64_t index) {
    memo_[index] = top();
  }
  void get(std::uint64_t index) {
    const auto it = memo_.find(index);
    if (it == memo_.end()) throw data_error("memo {} was never set", index);
    stack_.push_back(it->second);
  }
  static bool skipped(const Node& node) { return node.kind == Kind::opaque && node.role == Role::object; }
  void add_elements(std::vector<Value> values) {
    Node& list = *top().node();
    if (skipped(list)) return;
    if (list.kind != Kind::list) throw data_error("append to something that is not a list");
    list.elements.insert(list.elements.end(), values.begin(), values.end());
  }
  void add_items(const std::vector<Value>& values) {
    Node& dict = *top().node();
    if (values.size() % 2) throw data_error("a dict with a key that has no value");
    if (skipped(dict)) return;
    if (dict.kind != Kind::dict) throw data_error("set an item of something that is not a dict");
    for (std::size_t i = 0; i < values.size(); i += 2) dict.items.emplace_back(values[i], values[i + 1]);
  }
  void push_long(std::uint64_t size) {
    if (size > 1024) throw data_error("an integer of {} bytes", size);
    const auto* p = take(size);
    if (size <= 8) {
      std::uint64_t value = size && (p[size - 1] & 0x80) ? ~std::uint64_t{0} : 0;
      for (std::uint64_t i = 0; i < size; ++i) value = (value & ~(std::uint64_t{0xFF} << (8 * i))) | std::uint64_t{p[i]} << (8 * i);
      return push_integer(static_cast<std::int64_t>(value));
    }
    std::vector<unsigned char> magnitude(p, p + size);
    const bool negative = magnitude.back() & 0x80;
    if (negative) {  // two's complement
      unsigned carry = 1;
      for (auto& byte : magnitude) {
        carry += static_cast<unsigned char>(~byte);
        byte = static_cast<unsigned char>(carry);
        carry >>= 8;
      }
    }
    std::string digits;
    while (!magnitude.empty()) {
      unsigned rest = 0;
      for (std::size_t i = magnitude.size(); i-- > 0;) {
        rest = rest << 8 | magnitude[i];
        magnitude[i] = static_cast<unsigned char>(rest / 10);
        rest %= 10;
      }
      digits.insert(digits.begin(), static_cast<char>('0' + rest));
      while (!magnitude.empty() && magnitude.back() == 0) magnitude.pop_back();
    }
    push(Kind::big_integer, (negative ? "-" : "") + digits);
  }

  // ---- names and calls
  void global(const std::string& module, const std::string& name) {
    const auto allowed = allowed_name(module, name);
    if (!allowed)
      throw data_error("{}.{} is not a name a checkpoint may hold; nothing of this file was run. If it is yours, save tensors and plain values only",
                       module, name);
    if (allowed->text) return push(Kind::text, *allowed->text);
    auto node = object(Role::callable, module + "." + name);
    node->call = static_cast<int>(allowed->call);
    if (allowed->storage) node->storage = std::make_shared<StorageRef>(*allowed->storage);
    push(std::move(node));
  }

  const Value& arg(const std::vector<Value>& args, std::size_t i) const {
    if (i >= args.size()) throw data_error("a call with {} arguments", args.size());
    return args[i];
  }
  static std::vector<std::int64_t> integers(const Value& tuple) {
    std::vector<std::int64_t> out;
    for (const auto& n : tuple.elements()) out.push_back(n.integer());
    return out;
  }

  std::shared_ptr<Node> rebuild_tensor(const std::vector<Value>& args, Call call) {
    const Node& storage = *arg(args, 0).node();
    if (storage.role != Role::storage) throw data_error("a tensor without a storage");
    auto node = make(Kind::tensor);
    node->tensor = std::make_shared<TensorRef>();
    TensorRef& t = *node->tensor;
    t.storage = *storage.storage;
    t.dtype = t.storage.dtype;
    t.offset = arg(args, 1).integer();
    t.shape = integers(arg(args, 2));
    t.stride = integers(arg(args, 3));
    if (call == Call::tensor_v3) {
      const auto dtype = dtype_of_name(arg(args, 6).text());
      if (!dtype) throw data_error("a tensor of type {}", args[6].text());
      t.dtype = *dtype;
    }
    out_.tensors.push_back(node->tensor);
    return node;
  }

  // Calls may copy what the memo holds as often as they like: what they copy may not outgrow the input by much.
  void spend(std::uint64_t size) {
    copied_ += size;
    if (copied_ > 16 * static_cast<std::uint64_t>(end_ - begin_) + (1 << 20)) throw data_error("the same value is copied over and over");
  }

  std::shared_ptr<Node> apply(const Node& callable, const std::vector<Value>& args) {
    if (callable.kind != Kind::opaque || callable.role != Role::callable) throw data_error("a call of something that is not callable");
    const Call call = static_cast<Call>(callable.call);
    for (const auto& value : args) spend(value.node()->text.size() + 16 * (value.node()->elements.size() + value.node()->items.size()));
    switch (call) {
      case Call::mapping: {
        auto node = make(Kind::dict);
        if (args.empty() || skipped(*args[0].node()) || args[0].node()->role == Role::callable) return node;  // defaultdict's factory
        if (args[0].is(Kind::dict)) node->items = args[0].items();
        else
          for (const auto& pair : args[0].elements()) {  // Python 2: OrderedDict([[key, value], ...])
            if (pair.elements().size() != 2) throw data_error("a dict from something that is not pairs");
            node->items.emplace_back(pair.elements()[0], pair.elements()[1]);
          }
        return node;
      }
      case Call::sequence: {
        auto node = make(Kind::list);
        if (!args.empty()) node->elements = args[0].elements();
        return node;
      }
      case Call::byte_string: return make(Kind::bytes, args.empty() ? "" : args[0].is(Kind::text) ? latin1_bytes(args[0].text()) : args[0].text());
      case Call::tensor_v1:
      case Call::tensor_v2:
      case Call::tensor_v3: return rebuild_tensor(args, call);
      case Call::parameter: {
        if (!arg(args, 0).is(Kind::tensor)) throw data_error("a parameter that is not a tensor");
        return args[0].node();
      }
      case Call::from_type: return apply(*arg(args, 0).node(), arg(args, 2).elements());  // (function, type, arguments, state)
      case Call::torch_size: {
        auto node = make(Kind::tuple);
        if (!args.empty()) node->elements = args[0].elements();
        return node;
      }
      case Call::torch_device: return make(Kind::text, arg(args, 0).text());
      case Call::np_reconstruct: {
        auto node = object(Role::bare_array, "a numpy array");
        node->array = std::make_shared<NumpyArray>();
        return node;
      }
      case Call::np_dtype: {
        auto node = object(Role::dtype, "a numpy dtype");
        node->array = numpy_dtype(args);
        return node;
      }
      case Call::np_scalar: {
        const Node& dtype = *arg(args, 0).node();
        if (dtype.role != Role::dtype) throw data_error("a numpy scalar without a dtype");
        auto node = make(Kind::array);
        node->array = std::make_shared<NumpyArray>(*dtype.array);
        node->array->scalar = true;
        node->array->bytes = arg(args, 1).text();
        if (static_cast<std::int64_t>(node->array->bytes.size()) != node->array->item_size)
          throw data_error("a numpy scalar of {} bytes, {} expected", node->array->bytes.size(), node->array->item_size);
        return node;
      }
      case Call::codecs_encode: {
        if (args.size() > 1 && args[1].text() != "latin1") throw data_error("bytes encoded as {}", args[1].text());
        return make(Kind::bytes, latin1_bytes(arg(args, 0).text()));
      }
      case Call::attribute: {  // older torch wrote OneCycleLR's annealing function this way: kept as a name, never called
        const Node& of = *arg(args, 0).node();
        if (of.role != Role::callable || static_cast<Call>(of.call) != Call::skipped) throw data_error("builtins.getattr of {}", of.text);
        return skip(of.text + "." + arg(args, 1).text());
      }
      case Call::identity: return arg(args, 0).node();
      case Call::script_class: return make(Kind::dict);
      case Call::skipped: return skip(callable.text);
      default: throw data_error("a call of {}", callable.text);
    }
  }
  std::shared_ptr<Node> skip(const std::string& what) {
    notes_.insert("skipped an object of " + what);
    return object(Role::object, what);
  }

  void build() {
    const Value state = pop();
    Node& target = *top().node();
    spend(16 * state.node()->items.size());
    for (const auto& value : state.node()->elements) spend(value.node()->text.size());
    if (target.role == Role::dtype) return numpy_dtype_state(*target.array, state);
    if (target.role == Role::bare_array) {
      numpy_array_state(*target.array, state);
      target.kind = Kind::array;
      target.role = Role::plain;
      return;
    }
    if (target.kind == Kind::dict && state.is(Kind::dict) && target.items.empty() && target.flag) target.items = state.items();  // TorchScript module
    else if (target.kind != Kind::dict && target.kind != Kind::tensor && !skipped(target)) throw data_error("state for something that takes none");
    // A dict's own attributes (a state dict's _metadata) and a parameter's are not part of its value.
  }

  void call() {
    const Value args = pop();
    const Value callable = pop();
    if (!args.is(Kind::tuple)) throw data_error("a call without an argument tuple");
    auto result = apply(*callable.node(), args.elements());
    if (static_cast<Call>(callable.node()->call) == Call::script_class) result->flag = true;
    push(std::move(result));
  }

  void persistent(const Value& id) {
    const auto& parts = id.elements();
    if (parts.size() < 5 || parts.size() > 6 || parts[0].text() != "storage") throw data_error("a persistent id that is not a storage");
    const Node& type = *parts[1].node();
    if (type.role != Role::callable || !type.storage) throw data_error("a storage without a type");
    auto node = object(Role::storage, "a storage");
    node->storage = std::make_shared<StorageRef>(*type.storage);
    node->storage->key = parts[2].is(Kind::integer) ? std::to_string(parts[2].integer()) : parts[2].text();
    node->storage->count = parts[4].integer();
    if (node->storage->count < 0) throw data_error("a storage of {} elements", node->storage->count);
    out_.storages.push_back(*node->storage);
    if (parts.size() == 6 && !parts[5].is(Kind::none)) {  // (view key, offset, size)
      const auto& view = parts[5].elements();
      if (view.size() != 3 || view[1].integer() < 0 || view[2].integer() < 0) throw data_error("a malformed storage view");
      node->storage->view_offset = view[1].integer();
      node->storage->count = view[2].integer();
    }
    push(std::move(node));
  }

  bool step();

  // ---- afterwards: no cycles, bounded depth and size, nothing half-built
  void check(const Value& value, int depth, std::uint64_t& count) const {
    if (depth > kMaxDepth) throw data_error("nested deeper than {}, or inside itself", kMaxDepth);
    if (++count > kMaxTree) throw data_error("more than {} values", kMaxTree);
    for (const auto& element : value.node()->elements) check(element, depth + 1, count);
    for (const auto& [key, item] : value.node()->items) {
      check(key, depth + 1, count);
      check(item, depth + 1, count);
    }
  }
  void mark_reached(const Value& value) const {
    if (value.node()->reached) return;
    value.node()->reached = true;
    for (const auto& element : value.node()->elements) mark_reached(element);
    for (const auto& [key, item] : value.node()->items) {
      mark_reached(key);
      mark_reached(item);
    }
  }

  const unsigned char *begin_, *at_, *end_, *op_ = nullptr;
  const std::string& where_;
  std::vector<std::shared_ptr<Node>> arena_;
  std::vector<Value> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint64_t, Value> memo_;
  std::set<std::string> notes_;
  std::uint64_t copied_ = 0;
  Pickled out_;
};

bool Machine::step() {
  op_ = at_;
  const unsigned char op = *take(1);
  switch (op) {
    case 0x80: {
      const int protocol = number<std::uint8_t>();
      if (protocol > 5) throw data_error("protocol {}, at most 5 expected", protocol);
      return false;
    }
    case 0x95: take(8); return false;  // FRAME
    case '(': marks_.push_back(stack_.size()); return false;
    case '.':
      out_.root = pop();
      return true;
    case '0':
      if (stack_.size() <= floor() && !marks_.empty()) marks_.pop_back();
      else pop();
      return false;
    case '1': pop_mark(); return false;
    case '2': stack_.push_back(Value(top())); return false;
    case 'N': push(Kind::none); return false;
    case 0x88: push_boolean(true); return false;
    case 0x89: push_boolean(false); return false;
    case 'J': push_integer(number<std::int32_t>()); return false;
    case 'K': push_integer(number<std::uint8_t>()); return false;
    case 'M': push_integer(number<std::uint16_t>()); return false;
    case 0x8a: push_long(number<std::uint8_t>()); return false;
    case 0x8b: {
      const auto size = number<std::int32_t>();
      if (size < 0) throw data_error("an integer of {} bytes", size);
      push_long(static_cast<std::uint64_t>(size));
      return false;
    }
    case 'I':
    case 'L': {
      std::string text = line();
      if (op == 'I' && (text == "00" || text == "01")) {
        push_boolean(text == "01");
        return false;
      }
      if (!text.empty() && text.back() == 'L') text.pop_back();
      std::int64_t value = 0;
      if (const auto r = std::from_chars(text.data(), text.data() + text.size(), value); r.ec != std::errc() || r.ptr != text.data() + text.size())
        throw data_error("\"{}\" is not an integer", text);
      push_integer(value);
      return false;
    }
    case 'F': {
      const std::string text = line();
      double value = 0;
      if (const auto r = std::from_chars(text.data(), text.data() + text.size(), value); r.ec != std::errc() || r.ptr != text.data() + text.size())
        throw data_error("\"{}\" is not a number", text);
      push_real(value);
      return false;
    }
    case 'G': push_real(std::bit_cast<double>(__builtin_bswap64(number<std::uint64_t>()))); return false;
    case 'S': {
      const std::string text = line();
      if (text.size() < 2 || text.front() != text.back() || text.find('\\') != std::string::npos) throw data_error("a quoted text that is not plain");
      push(Kind::text, text.substr(1, text.size() - 2));
      return false;
    }
    case 'V': push(Kind::text, line()); return false;
    case 'U': push(Kind::text, bytes(number<std::uint8_t>())); return false;
    case 'T': push(Kind::text, bytes(number<std::uint32_t>())); return false;
    case 0x8c: push(Kind::text, bytes(number<std::uint8_t>())); return false;
    case 'X': push(Kind::text, bytes(number<std::uint32_t>())); return false;
    case 0x8d: push(Kind::text, bytes(number<std::uint64_t>())); return false;
    case 'C': push(Kind::bytes, bytes(number<std::uint8_t>())); return false;
    case 'B': push(Kind::bytes, bytes(number<std::uint32_t>())); return false;
    case 0x8e:
    case 0x96: push(Kind::bytes, bytes(number<std::uint64_t>())); return false;
    case ']': push(Kind::list); return false;
    case 0x8f: push(Kind::list); return false;  // EMPTY_SET
    case '}': push(Kind::dict); return false;
    case ')': push_tuple({}); return false;
    case 'l': {
      auto node = make(Kind::list);
      node->elements = pop_mark();
      push(std::move(node));
      return false;
    }
    case 0x91: {  // FROZENSET
      auto node = make(Kind::list);
      node->elements = pop_mark();
      push(std::move(node));
      return false;
    }
    case 'd': {
      const auto values = pop_mark();
      push(Kind::dict);
      add_items(values);
      return false;
    }
    case 't': push_tuple(pop_mark()); return false;
    case 0x85: case 0x86: case 0x87: {
      std::vector<Value> elements(op - 0x84);
      for (std::size_t i = elements.size(); i-- > 0;) elements[i] = pop();
      push_tuple(std::move(elements));
      return false;
    }
    case 'a': {
      Value value = pop();
      add_elements({std::move(value)});
      return false;
    }
    case 'e':
    case 0x90: add_elements(pop_mark()); return false;
    case 's': {
      Value value = pop();
      Value key = pop();
      add_items({std::move(key), std::move(value)});
      return false;
    }
    case 'u': add_items(pop_mark()); return false;
    case 'p':
    case 'g': {
      const std::string text = line();
      std::uint64_t index = 0;
      if (const auto r = std::from_chars(text.data(), text.data() + text.size(), index); r.ec != std::errc() || r.ptr != text.data() + text.size())
        throw data_error("memo \"{}\"", text);
      op == 'p' ? put(index) : get(index);
      return false;
    }
    case 'q': put(number<std::uint8_t>()); return false;
    case 'r': put(number<std::uint32_t>()); return false;
    case 0x94: put(memo_.size()); return false;  // MEMOIZE
    case 'h': get(number<std::uint8_t>()); return false;
    case 'j': get(number<std::uint32_t>()); return false;
    case 'c': {
      const std::string module = line();
      global(module, line());
      return false;
    }
    case 0x93: {
      const Value name = pop(), module = pop();
      global(module.text(), name.text());
      return false;
    }
    case 'R':
    case 0x81: call(); return false;  // REDUCE, NEWOBJ
    case 'b': build(); return false;
    case 'Q': persistent(pop()); return false;
    default: throw data_error("opcode 0x{:02x} is not allowed in a checkpoint", op);
  }
}

}  // namespace

Pickled parse_pickle(std::span<const std::byte> bytes, const std::string& where) { return Machine(bytes, where).run(); }

}  // namespace me2::weights
