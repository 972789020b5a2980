#pragma once
#include <string>

namespace me2::text {
// The character of an HTML 4 entity name (and the common ones HTML 5 added), or 0. `legacy`: may stand without a semicolon.
char32_t html_entity(const std::string& name, bool* legacy = nullptr);
}  // namespace me2::text
