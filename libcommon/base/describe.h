// Options that describe themselves. Each verb's options are one struct with
//     void describe(Describe& d) { d.positional("SUBJECT", subject, "subject store"); d.option("--split", split, "trials to keep"); }
// and from that one list come the parser, --help, the docs page, shell completion, the provenance record and rerun.
// Nothing here knows the parser, so a struct in any layer can describe itself.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace me2 {

// Paths on the command line, typed by what is checked about them before any work starts.
struct InputPath {  // must exist (exit 66); "-" reads the path of a temporary store from stdin
  std::string path;
};
struct OutputPath {  // must not exist unless --overwrite or --resume (exit 73); "-" makes a temporary store and prints its path
  std::string path;
};
struct ModelPath {  // a model directory or an official checkpoint; must exist (exit 66)
  std::string path;
};
struct NamedInput {  // "NAME=PATH", PATH an input as above (never "-"); or "NAME" alone, for what the verb knows by name
  std::string name, path;
};

struct Item {
  enum class Role { positional, option, flag };
  enum class Access { value, input, output, model };
  Role role = Role::option;
  Access access = Access::value;
  std::string name;  // "--split", or "SUBJECT" for a positional
  std::string type;  // as --help shows it: INT, FLOAT, TEXT, PATH, or {a,b,c}
  std::string help;
  bool required = false;
  bool repeated = false;  // takes several values
  std::vector<std::string> choices;
  std::function<void(const std::vector<std::string>&)> set;  // throws Exit::usage naming the option
  std::function<std::vector<std::string>()> get;             // the current value, as it would be typed; empty = unset
  std::function<std::vector<std::string>()> paths;           // of inputs, outputs and models: what get gives, without names
};

// Names of an enum's values, for options: specialise for each enum used as one.
//     template <> inline const EnumNames<Split>& enum_names() { static const EnumNames<Split> n{{Split::all, "all"}, ...}; return n; }
template <class E>
using EnumNames = std::vector<std::pair<E, std::string>>;
template <class E>
const EnumNames<E>& enum_names();

class Describe {
 public:
  // T: bool (flag), int, int64_t, uint64_t, double, std::string, InputPath, OutputPath, ModelPath, NamedInput, an enum with
  // enum_names, std::optional or std::vector of these. Vectors take comma-separated or repeated values; integers also "0:3" ranges.
  template <class T>
  void positional(const std::string& name, T& field, const std::string& help) {
    add(Item::Role::positional, name, field, help, !is_optional(field));
  }
  template <class T>
  void positionals(const std::string& name, std::vector<T>& field, const std::string& help) {  // any number of words, none too
    add(Item::Role::positional, name, field, help, false);
  }
  template <class T>
  void option(const std::string& name, T& field, const std::string& help) {
    add(Item::Role::option, name, field, help, false);
  }
  template <class T>
  void required(const std::string& name, T& field, const std::string& help) {
    add(Item::Role::option, name, field, help, true);
  }
  const std::vector<Item>& items() const { return items_; }

 private:
  template <class T>
  static constexpr bool is_optional(const std::optional<T>&) { return true; }
  template <class T>
  static constexpr bool is_optional(const std::vector<T>&) { return false; }
  template <class T>
  static constexpr bool is_optional(const T&) { return false; }

  template <class T>
  void add(Item::Role role, const std::string& name, T& field, const std::string& help, bool required);

  std::vector<Item> items_;
};

namespace described {  // text <-> value for the closed set of field types

template <class T>
struct Value;  // type(), parse(option name, text), print(value)

template <>
struct Value<bool> {
  static std::string type() { return ""; }
  static bool parse(const std::string& option, const std::string& text);
  static std::string print(bool v) { return v ? "true" : "false"; }
};
template <>
struct Value<int> {
  static std::string type() { return "INT"; }
  static int parse(const std::string& option, const std::string& text);
  static std::string print(int v) { return std::to_string(v); }
};
template <>
struct Value<std::int64_t> {
  static std::string type() { return "INT"; }
  static std::int64_t parse(const std::string& option, const std::string& text);
  static std::string print(std::int64_t v) { return std::to_string(v); }
};
template <>
struct Value<std::uint64_t> {
  static std::string type() { return "INT"; }
  static std::uint64_t parse(const std::string& option, const std::string& text);
  static std::string print(std::uint64_t v) { return std::to_string(v); }
};
template <>
struct Value<double> {
  static std::string type() { return "FLOAT"; }
  static double parse(const std::string& option, const std::string& text);
  static std::string print(double v);  // shortest text that reads back to the same value
};
template <>
struct Value<std::string> {
  static std::string type() { return "TEXT"; }
  static std::string parse(const std::string&, const std::string& text) { return text; }
  static std::string print(const std::string& v) { return v; }
};
template <class P>
struct PathValue {
  static std::string type() { return "PATH"; }
  static P parse(const std::string&, const std::string& text) { return P{text}; }
  static std::string print(const P& v) { return v.path; }
};
template <>
struct Value<InputPath> : PathValue<InputPath> {};
template <>
struct Value<OutputPath> : PathValue<OutputPath> {};
template <>
struct Value<ModelPath> : PathValue<ModelPath> {};
template <>
struct Value<NamedInput> {
  static std::string type() { return "NAME[=PATH]"; }
  static NamedInput parse(const std::string& option, const std::string& text);
  static std::string print(const NamedInput& v) { return v.path.empty() ? v.name : v.name + "=" + v.path; }
};

[[noreturn]] void throw_bad_choice(const std::string& option, const std::string& text, const std::vector<std::string>& choices);
std::vector<std::string> split_list(const std::vector<std::string>& words, bool integers);  // "1,4,8" and, for integers, "0:3"
std::vector<std::string> split_names(const std::vector<std::string>& words);  // "a,b,NAME=PATH": behind the first = is one path, commas and all

template <class T>
constexpr Item::Access access_of() {
  if constexpr (std::is_same_v<T, InputPath> || std::is_same_v<T, NamedInput>) return Item::Access::input;
  if constexpr (std::is_same_v<T, OutputPath>) return Item::Access::output;
  if constexpr (std::is_same_v<T, ModelPath>) return Item::Access::model;
  return Item::Access::value;
}

template <class T>
T parse_one(const std::string& option, const std::string& text) {
  if constexpr (std::is_enum_v<T>) {
    std::vector<std::string> names;
    for (const auto& [value, name] : enum_names<T>()) {
      if (name == text) return value;
      names.push_back(name);
    }
    throw_bad_choice(option, text, names);
  } else {
    return Value<T>::parse(option, text);
  }
}

template <class T>
std::string print_one(const T& value) {
  if constexpr (std::is_enum_v<T>) {
    for (const auto& [v, name] : enum_names<T>())
      if (v == value) return name;
    return "?";
  } else {
    return Value<T>::print(value);
  }
}

template <class T>
void set_type(Item& item) {
  item.access = access_of<T>();
  if constexpr (std::is_enum_v<T>) {
    item.type = "{";
    for (const auto& [value, name] : enum_names<T>()) {
      item.choices.push_back(name);
      item.type += (item.type.size() > 1 ? "," : "") + name;
    }
    item.type += "}";
  } else {
    item.type = Value<T>::type();
  }
}

template <class T>
struct Bind {
  static void to(Item& item, T& field) {
    set_type<T>(item);
    if constexpr (std::is_same_v<T, bool>) item.role = Item::Role::flag;
    item.set = [&field, name = item.name](const std::vector<std::string>& words) { field = parse_one<T>(name, words.back()); };
    item.get = [&field] {
      std::string text = print_one<T>(field);
      return text.empty() ? std::vector<std::string>{} : std::vector<std::string>{text};
    };
  }
};
template <class T>
struct Bind<std::optional<T>> {
  static void to(Item& item, std::optional<T>& field) {
    set_type<T>(item);
    item.set = [&field, name = item.name](const std::vector<std::string>& words) { field = parse_one<T>(name, words.back()); };
    item.get = [&field] { return field ? std::vector<std::string>{print_one<T>(*field)} : std::vector<std::string>{}; };
  }
};
template <class T>
struct Bind<std::vector<T>> {
  static void to(Item& item, std::vector<T>& field) {
    set_type<T>(item);
    item.repeated = true;
    constexpr bool named = std::is_same_v<T, NamedInput>;
    item.set = [&field, name = item.name](const std::vector<std::string>& words) {
      field.clear();
      constexpr bool paths = access_of<T>() != Item::Access::value;  // a path may hold a comma
      for (const auto& word : named ? split_names(words) : paths ? words : split_list(words, std::is_integral_v<T>)) field.push_back(parse_one<T>(name, word));
    };
    if constexpr (named)
      item.paths = [&field] {
        std::vector<std::string> out;
        for (const auto& value : field)
          if (!value.path.empty()) out.push_back(value.path);
        return out;
      };
    item.get = [&field] {
      std::vector<std::string> out;
      for (const auto& value : field) out.push_back(print_one<T>(value));
      return out;
    };
  }
};

}  // namespace described

template <class T>
void Describe::add(Item::Role role, const std::string& name, T& field, const std::string& help, bool required) {
  Item item;
  item.role = role;
  item.name = name;
  item.help = help;
  item.required = required;
  described::Bind<T>::to(item, field);
  if (!item.paths) item.paths = item.get;
  items_.push_back(std::move(item));
}

}  // namespace me2
