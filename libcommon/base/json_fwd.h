#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace me2 {
using Json = nlohmann::ordered_json;  // keeps the order of keys, so that files we write are stable
}
