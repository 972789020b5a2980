#include "base/describe.h"

#include <charconv>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace me2::described {
namespace {

template <class T>
T parse_number(const std::string& option, const std::string& text, const char* kind) {
  T value{};
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status == std::errc::result_out_of_range)
    throw usage_error("{}: {} is out of range", option, text);
  if (status != std::errc() || end != text.data() + text.size() || text.empty())
    throw usage_error("{}: {} expected, \"{}\" given", option, kind, text);
  return value;
}

}  // namespace

bool Value<bool>::parse(const std::string& option, const std::string& text) {
  if (text == "true" || text == "1" || text.empty()) return true;
  if (text == "false" || text == "0") return false;
  throw usage_error("{}: true or false expected, \"{}\" given", option, text);
}
int Value<int>::parse(const std::string& option, const std::string& text) {
  return parse_number<int>(option, text, "a whole number");
}
std::int64_t Value<std::int64_t>::parse(const std::string& option, const std::string& text) {
  return parse_number<std::int64_t>(option, text, "a whole number");
}
std::uint64_t Value<std::uint64_t>::parse(const std::string& option, const std::string& text) {
  return parse_number<std::uint64_t>(option, text, "a whole number from 0");
}
double Value<double>::parse(const std::string& option, const std::string& text) {
  const double value = parse_number<double>(option, text, "a number");
  if (!std::isfinite(value)) throw usage_error("{}: a finite number expected, \"{}\" given", option, text);
  return value;
}
std::string Value<double>::print(double v) { return fmt::format("{}", v); }

void throw_bad_choice(const std::string& option, const std::string& text, const std::vector<std::string>& choices) {
  throw usage_error("{}: one of {} expected, \"{}\" given", option, fmt::join(choices, ", "), text);
}

std::vector<std::string> split_list(const std::vector<std::string>& words, bool integers) {
  std::vector<std::string> out;
  for (const auto& word : words) {
    for (std::size_t start = 0; start <= word.size();) {
      const std::size_t comma = std::min(word.find(',', start), word.size());
      const std::string part = word.substr(start, comma - start);
      const std::size_t colon = part.find(':');
      if (integers && colon != std::string::npos) {
        const auto first = parse_number<std::int64_t>("range", part.substr(0, colon), "a whole number");
        const auto last = parse_number<std::int64_t>("range", part.substr(colon + 1), "a whole number");
        if (last < first || last - first > 1000000) throw usage_error("range {}: the end lies before the start or too far off", part);
        for (auto i = first; i <= last; ++i) out.push_back(std::to_string(i));
      } else {
        out.push_back(part);
      }
      start = comma + 1;
    }
  }
  return out;
}

std::vector<std::string> split_names(const std::vector<std::string>& words) {
  std::vector<std::string> out;
  for (const auto& word : words) {
    std::size_t start = 0;
    for (auto comma = word.find(','); comma < word.find('=', start); comma = word.find(',', start)) out.push_back(word.substr(start, comma - start)), start = comma + 1;
    out.push_back(word.substr(start));
  }
  return out;
}

NamedInput Value<NamedInput>::parse(const std::string& option, const std::string& text) {
  const auto equals = text.find('=');
  if (text.empty() || equals == 0 || equals + 1 == text.size()) throw usage_error("{}: NAME or NAME=PATH expected, \"{}\" given", option, text);
  if (equals == std::string::npos) return {text, ""};
  if (text.substr(equals + 1) == "-") throw usage_error("{}: {}: a path expected, - is for an input alone", option, text);
  return {text.substr(0, equals), text.substr(equals + 1)};
}

}  // namespace me2::described
