#include "base/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>

#include "base/json.h"
#include "base/log.h"
#include "base/time.h"

namespace me2 {
namespace {

std::atomic<ProgressMode> mode{ProgressMode::automatic};

bool shown() {
  if (mode == ProgressMode::always) return true;
  return mode == ProgressMode::automatic && log_enabled(LogLevel::info);
}
bool as_bar() { return stderr_is_terminal() && !log_settings().json; }

int columns() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string rate_text(double per_second) {
  if (per_second <= 0) return "";
  if (per_second < 1) return fmt::format(", {} each", duration_text(1 / per_second));
  return per_second < 100 ? fmt::format(", {:.1f}/s", per_second) : fmt::format(", {:.0f}/s", per_second);
}

// ", 12.3/s, 0:44 left, loss 0.2"
std::string tail(std::int64_t done, std::int64_t total, double seconds, const std::string& note) {
  const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
  std::string text = rate_text(rate);
  if (total > done && rate > 0) text += fmt::format(", {} left", duration_text(static_cast<double>(total - done) / rate));
  if (!note.empty()) text += ", " + note;
  return text;
}

std::string who() {
  const auto& log = log_settings();
  return log.tool.empty() ? "" : log.tool + (log.verb.empty() ? "" : " " + log.verb) + ": ";
}

}  // namespace

void set_progress_mode(ProgressMode chosen) { mode = chosen; }

std::string progress_line(const std::string& label, std::int64_t done, std::int64_t total, double seconds, const std::string& note) {
  const std::string count = total > 0 ? fmt::format("{}/{} ({} %)", done, total, done * 100 / total) : fmt::format("{}", done);
  return fmt::format("{}: {}{}", label, count, tail(done, total, seconds, note));
}

std::string progress_bar(const std::string& label, std::int64_t done, std::int64_t total, double seconds, const std::string& note,
                         int width) {
  if (total <= 0) return progress_line(label, done, total, seconds, note).substr(0, width);
  const std::int64_t at = std::clamp<std::int64_t>(done, 0, total);
  const std::string head = fmt::format("{} {:3} % ", label, at * 100 / total);
  const std::string rest = fmt::format(" {}/{}{}", done, total, tail(done, total, seconds, note));
  const int room = width - 2 - static_cast<int>(head.size() + rest.size());
  if (room < 5) return (head + rest).substr(0, width);
  const int cells = std::min(room, 30);
  const int full = static_cast<int>(at * cells / total);
  return fmt::format("{}[{}{}]{}", head, std::string(full, '#'), std::string(cells - full, ' '), rest);
}

struct Progress::State {
  using Clock = std::chrono::steady_clock;
  std::string label, note;
  std::int64_t total = 0;
  std::atomic<std::int64_t> done{0};
  Clock::time_point start = Clock::now(), shown_at = start;
  std::int64_t shown_done = 0;
  std::mutex mutex;

  double elapsed() const { return std::chrono::duration<double>(Clock::now() - start).count(); }

  bool due() {
    const double since = std::chrono::duration<double>(Clock::now() - shown_at).count();
    if (as_bar()) return since >= 0.1;
    return since >= 30 || (since >= 1 && total > 0 && (done - shown_done) * 20 >= total);
  }

  void event(bool finished) {
    const double seconds = elapsed();
    const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
    Json fields{{"event", finished ? "finished" : "progress"}, {"label", label}, {"done", done.load()}, {"rate", rate}};
    if (total > 0) fields["total"] = total;
    if (total > done && rate > 0) fields["seconds_left"] = static_cast<double>(total - done) / rate;
    if (finished) fields["seconds"] = seconds;
    if (!note.empty()) fields["note"] = note;
    log_event(fields.dump());
  }

  void show() {  // under the mutex
    shown_at = Clock::now();
    shown_done = done;
    if (log_settings().json) event(false);
    else if (as_bar()) set_status_line(who() + progress_bar(label, done, total, elapsed(), note, columns() - static_cast<int>(who().size()) - 1));
    else log_notice(progress_line(label, done, total, elapsed(), note));
  }
};

Progress::Progress(std::string label, std::int64_t total) : state_(std::make_unique<State>()) {
  state_->label = std::move(label);
  state_->total = total;
  if (shown() && as_bar()) {
    const std::lock_guard lock(state_->mutex);
    state_->show();
  }
}
Progress::Progress(Progress&&) noexcept = default;

Progress::~Progress() {
  if (!state_ || !shown()) return;
  set_status_line("");
  if (log_settings().json) {
    state_->event(true);
    return;
  }
  const double seconds = state_->elapsed();
  const double rate = seconds > 0 ? static_cast<double>(state_->done) / seconds : 0;
  const std::int64_t done = state_->done, total = state_->total;
  const std::string of = total > 0 && done != total ? fmt::format(" of {}", total) : "";
  log_notice(fmt::format("{}: {}{} in {}{}", state_->label, done, of, duration_text(seconds), rate_text(rate)));
}

void Progress::set_done(std::int64_t done) {
  state_->done = done;
  advance(0);
}

void Progress::advance(std::int64_t n) {
  state_->done += n;
  if (!shown()) return;
  const std::lock_guard lock(state_->mutex);
  if (state_->due()) state_->show();
}

void Progress::set_note(std::string note) {
  const std::lock_guard lock(state_->mutex);
  state_->note = std::move(note);
}

}  // namespace me2
