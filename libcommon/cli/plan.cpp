#include "cli/plan.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/json.h"
#include "base/time.h"

namespace me2::cli {
namespace {

std::uint64_t item_bytes(const std::string& dtype) {  // "f4", "u1", "b1": the digit is the width
  return dtype.size() == 2 && dtype[1] >= '1' && dtype[1] <= '8' ? static_cast<std::uint64_t>(dtype[1] - '0') : 0;
}

}  // namespace

Plan& Plan::array(std::string name, std::string dtype, std::vector<std::int64_t> shape) {
  std::uint64_t bytes = item_bytes(dtype);
  for (const auto n : shape) bytes *= static_cast<std::uint64_t>(n);
  arrays_.push_back({std::move(name), std::move(dtype), std::move(shape), bytes});
  return *this;
}
Plan& Plan::memory(std::string what, std::uint64_t bytes) {
  memory_.emplace_back(std::move(what), bytes);
  return *this;
}
Plan& Plan::threads(int useful) {
  threads_ = std::max(threads_, useful);
  return *this;
}

Plan& Plan::seconds(double estimate, std::string basis) {
  seconds_.emplace_back(estimate, std::move(basis));
  return *this;
}
Plan& Plan::note(std::string key, std::string value) {
  notes_.emplace_back(std::move(key), std::move(value));
  return *this;
}
void Plan::input(std::string option, std::string path) { inputs_.emplace_back(std::move(option), std::move(path)); }
void Plan::output(std::string option, std::string path) { outputs_.emplace_back(std::move(option), std::move(path)); }

std::uint64_t Plan::written_bytes() const {
  std::uint64_t sum = 0;
  for (const auto& array : arrays_) sum += array.bytes;
  return sum;
}
std::uint64_t Plan::memory_bytes() const {
  std::uint64_t sum = 0;
  for (const auto& [what, bytes] : memory_) sum += bytes;
  return sum;
}
std::int64_t Plan::free_bytes() const {
  if (outputs_.empty()) return -1;
  std::error_code failed;
  const auto space = std::filesystem::space(std::filesystem::absolute(outputs_.front().second).parent_path(), failed);
  return failed ? -1 : static_cast<std::int64_t>(space.available);
}

Json Plan::to_json() const {
  Json plan{{"inputs", Json::object()}, {"outputs", Json::object()}};
  for (const auto& [list, paths] : {std::pair{"inputs", &inputs_}, std::pair{"outputs", &outputs_}})
    for (const auto& [option, path] : *paths) {
      Json& there = plan[list][option];
      if (there.is_null()) there = path;
      else if (there.is_array()) there.push_back(path);
      else there = Json{there, path};  // an option that is given several times
    }
  plan["arrays"] = Json::array();
  for (const auto& a : arrays_)
    plan["arrays"].push_back({{"name", a.name}, {"dtype", a.dtype}, {"shape", a.shape}, {"bytes", a.bytes}});
  plan["bytes"] = written_bytes();
  if (free_bytes() >= 0) plan["free_bytes"] = free_bytes();
  plan["memory"] = Json::object();
  for (const auto& [what, bytes] : memory_) plan["memory"][what] = bytes;
  plan["memory_bytes"] = memory_bytes();
  double sum = 0;
  for (const auto& [estimate, basis] : seconds_) sum += estimate;
  if (!seconds_.empty()) plan["seconds"] = sum;
  if (threads_ > 0) plan["threads"] = threads_;
  for (const auto& [key, value] : notes_) plan["notes"][key] = value;
  return plan;
}

std::string Plan::to_text() const {
  std::string out;
  const auto line = [&](const std::string& what, const std::string& value) { out += fmt::format("{:<9} {}\n", what, value); };
  for (const auto& [option, path] : inputs_) line("reads", fmt::format("{}  ({})", path, option));
  for (const auto& [key, value] : notes_) line(key, value);
  for (const auto& [option, path] : outputs_) line("writes", fmt::format("{}  ({})", path, option));
  for (const auto& a : arrays_)
    line("", fmt::format("{} {} [{}]{}", a.name, a.dtype, fmt::join(a.shape, ", "), a.bytes ? "  " + bytes_text(static_cast<double>(a.bytes)) : ""));
  if (!arrays_.empty()) {
    const auto free = free_bytes();
    const bool tight = free >= 0 && static_cast<std::uint64_t>(free) < written_bytes();
    line("disk", bytes_text(static_cast<double>(written_bytes())) + " before compression" +
                     (free < 0 ? "" : fmt::format(", {} free{}", bytes_text(static_cast<double>(free)), tight ? ": may not fit" : "")));
  }
  for (const auto& [what, bytes] : memory_) line("memory", bytes_text(static_cast<double>(bytes)) + "  " + what);
  if (memory_.size() > 1) line("", bytes_text(static_cast<double>(memory_bytes())) + "  together");
  for (const auto& [estimate, basis] : seconds_) line("time", "about " + duration_text(estimate) + "  (" + basis + ")");
  return out;
}

}  // namespace me2::cli
