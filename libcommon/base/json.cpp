#include "base/json.h"

#include <set>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace me2 {

Json parse_json(std::string_view text, const std::string& where) {
  constexpr int kMaxDepth = 64;
  std::vector<std::set<std::string>> keys;  // of the open objects and arrays
  const auto check = [&](int depth, Json::parse_event_t event, Json& value) {
    using Event = Json::parse_event_t;
    if (event == Event::object_start || event == Event::array_start) {
      if (depth >= kMaxDepth) throw data_error("{}: JSON nested deeper than {}", where, kMaxDepth);
      keys.emplace_back();
    } else if (event == Event::object_end || event == Event::array_end) {
      keys.pop_back();
    } else if (event == Event::key && !keys.back().insert(value.get<std::string>()).second) {
      throw data_error("{}: JSON key \"{}\" occurs twice", where, value.get<std::string>());
    }
    return true;
  };
  if (text.substr(0, 3) == "\xEF\xBB\xBF") throw data_error("{}: starts with a byte-order mark; plain UTF-8 JSON expected", where);
  try {
    return Json::parse(text, check);
  } catch (const Json::exception& e) {
    throw data_error("{}: not valid JSON ({})", where, e.what());
  }
}

Json read_json_file(const std::string& path) { return parse_json(read_file(path), path); }

}  // namespace me2
