#include "base/log.h"

#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <mutex>

#include "base/json.h"
#include "base/time.h"

namespace me2 {
namespace {

struct State {
  std::mutex mutex;
  LogSettings settings;
  std::string status;  // drawn at the bottom of the terminal
};
State& state() {
  static auto* const state = new State;  // outlives every static that logs while it is destroyed
  return *state;
}

void write_all(std::string_view text) {  // in one call where possible, so that lines of several processes do not mix
  while (!text.empty()) {
    const ssize_t n = ::write(STDERR_FILENO, text.data(), text.size());
    if (n <= 0 && errno != EINTR) return;  // nobody listens
    if (n > 0) text.remove_prefix(static_cast<std::size_t>(n));
  }
}

bool colours() {
  static const bool on = [] {
    const char* no = std::getenv("NO_COLOR");
    const char* terminal = std::getenv("TERM");
    return stderr_is_terminal() && !(no && *no) && !(terminal && std::string_view(terminal) == "dumb");
  }();
  return on;
}

void print(const std::string& line) {
  const std::lock_guard lock(state().mutex);
  const auto& status = state().status;
  write_all(status.empty() ? line + "\n" : "\r\033[K" + line + "\n" + status);
}

std::string source() {
  const auto& s = state().settings;
  return s.verb.empty() ? s.tool : s.tool + " " + s.verb;
}

const char* level_name(LogLevel level) {
  constexpr std::array names{"error", "warning", "info", "debug"};
  return names[static_cast<int>(level)];
}

Json record(const char* level) {
  Json line{{"time", utc_time(std::chrono::system_clock::now(), 3)}, {"level", level}, {"tool", state().settings.tool}};
  if (!state().settings.verb.empty()) line["verb"] = state().settings.verb;
  return line;
}

std::string dump(const Json& line) { return line.dump(-1, ' ', false, Json::error_handler_t::replace); }

void print_text(LogLevel level, std::string_view message) {
  std::string mark = level == LogLevel::info ? "" : std::string(level_name(level)) + ": ";
  if (colours() && level <= LogLevel::warning) mark = (level == LogLevel::error ? "\033[31m" : "\033[33m") + mark + "\033[0m";
  const std::string from = source();
  print(fmt::format("{}{}{}{}", from, from.empty() ? "" : ": ", mark, one_line(message)));
}

}  // namespace

void set_log(LogSettings settings) { state().settings = std::move(settings); }
const LogSettings& log_settings() { return state().settings; }
bool log_enabled(LogLevel level) { return level <= state().settings.level; }
bool stderr_is_terminal() {
  static const bool terminal = ::isatty(STDERR_FILENO) == 1;
  return terminal;
}

void log_line(LogLevel level, std::string_view message) {
  if (!log_enabled(level)) return;
  if (!state().settings.json) return print_text(level, message);
  Json line = record(level_name(level));
  line["message"] = message;
  print(dump(line));
}

void log_notice(std::string_view message) {
  if (!state().settings.json) return print_text(LogLevel::info, message);
  Json line = record("info");
  line["message"] = message;
  print(dump(line));
}

void log_failure(const Error& error) {
  if (!state().settings.json) return print_text(LogLevel::error, error.what());
  Json line = record("error");
  line["message"] = error.what();
  line["exit"] = static_cast<int>(error.exit());
  print(dump(line));
}

void log_event(std::string_view json_fields) {
  Json line = record("info");
  line.update(Json::parse(json_fields));
  print(dump(line));
}

std::string one_line(std::string_view message) {
  constexpr std::size_t kLongest = 2000;
  std::string shortened;
  if (message.size() > kLongest) {
    shortened = fmt::format("{} [{} bytes left out] {}", message.substr(0, kLongest / 2), message.size() - kLongest,
                            message.substr(message.size() - kLongest / 2));
    message = shortened;
  }
  std::string out;
  for (const char c : message) {
    if (c == '\n' || c == '\r' || c == '\t') out += ' ';
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else out += c;
  }
  return out;
}

void set_status_line(std::string text) {
  const std::lock_guard lock(state().mutex);
  if (text.empty() && state().status.empty()) return;
  state().status = std::move(text);
  write_all("\r\033[K" + state().status);
}

}  // namespace me2
