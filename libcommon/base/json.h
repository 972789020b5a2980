// nlohmann-json, included through here and from .cpp files only; headers that mention it include base/json_fwd.h.
#pragma once
#include <nlohmann/json.hpp>

#include "base/json_fwd.h"

namespace me2 {
// Parses untrusted text: refuses nesting deeper than 64, duplicate keys and a byte-order mark. `where` names the source in errors.
Json parse_json(std::string_view text, const std::string& where);
Json read_json_file(const std::string& path);
}  // namespace me2
