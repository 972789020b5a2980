// The one error type. An error is one sentence for a person: what is wrong, where (file, array, chunk or line),
// what was expected. cli/main.cpp is the only place that catches it and turns it into an exit status.
#pragma once
#include <stdexcept>
#include <string>
#include <string_view>

// Header-only: the torch wheel brings a newer fmt than the system's, and the layers on LibTorch see that one.
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace me2 {

// sysexits(3), the subset of docs/exit-codes.md.
enum class Exit {
  ok = 0,
  usage = 64,        // the command line is wrong
  data = 65,         // an input is not what it should be
  no_input = 66,     // an input is missing
  unavailable = 69,  // a device or optional part is not there
  internal = 70,     // a fault of ours
  cant_create = 73,  // an output cannot be made (exists, no permission)
  io = 74,           // reading or writing failed (disk full)
  temp_fail = 75     // stopped by a signal, or another process holds the lock: run again with --resume
};

class Error : public std::runtime_error {
 public:
  Error(Exit exit, const std::string& sentence) : std::runtime_error(sentence), exit_(exit) {}
  Exit exit() const { return exit_; }

 private:
  Exit exit_;
};

// throw data_error("{}: array {}: shape {} expected, {} found", file, array, expected, found);
template <class... Args>
Error usage_error(fmt::format_string<Args...> format, Args&&... args) {
  return Error(Exit::usage, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
Error data_error(fmt::format_string<Args...> format, Args&&... args) {
  return Error(Exit::data, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
Error missing_error(fmt::format_string<Args...> format, Args&&... args) {
  return Error(Exit::no_input, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
Error io_error(fmt::format_string<Args...> format, Args&&... args) {
  return Error(Exit::io, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace me2
