// What this program is made of, for --version and provenance.
#pragma once
#include <map>
#include <string>

namespace me2 {

std::string version();     // "0.1.0"
std::string git_commit();  // 40 hex digits, with "-dirty" behind it when tracked files had changes; "unknown" outside a checkout

// Libraries linked in, by name: base and store have theirs; a layer above adds its own at start-up (nn adds libtorch).
bool register_library(const std::string& name, const std::string& version);  // true, so that a static variable can hold it
const std::map<std::string, std::string>& libraries();

}  // namespace me2
