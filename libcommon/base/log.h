// The log on stderr. Every line names tool and verb, because pipes mix several tools' stderr. stdout carries results only.
//     log_info("{} trials of {} sessions", trials, sessions);
#pragma once
#include <string>
#include <string_view>

#include "base/error.h"

namespace me2 {

enum class LogLevel { error, warning, info, debug };

struct LogSettings {
  std::string tool, verb;
  LogLevel level = LogLevel::info;  // --quiet: error, --verbose: debug
  bool json = false;                // one JSON object per line instead of text
};
void set_log(LogSettings settings);
const LogSettings& log_settings();

bool log_enabled(LogLevel level);
void log_line(LogLevel level, std::string_view message);
void log_failure(const Error& error);  // the one line of a failed run; in JSON with its exit status
void log_notice(std::string_view message);  // information that --quiet does not hold back: asked for by --progress always
void log_event(std::string_view json_fields);  // JSON log only: {"time", "tool", "verb", <fields>}

template <class... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::warning)) log_line(LogLevel::warning, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::info)) log_line(LogLevel::info, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_debug(fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::debug)) log_line(LogLevel::debug, fmt::format(format, std::forward<Args>(args)...));
}

// The message as one line of at most 2,000 bytes: control characters escaped, the middle of what is longer left out.
std::string one_line(std::string_view message);

// A line at the bottom of the terminal that log lines are printed above: the progress bar. Empty: none.
void set_status_line(std::string text);
bool stderr_is_terminal();

}  // namespace me2
