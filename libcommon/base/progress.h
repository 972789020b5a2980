// Progress of one loop, with rate and time left, on stderr: a bar on a terminal, else a plain line every 5 % (once a second at
// most) or 30 s; with the JSON log an event {"event": "progress", "label", "done", "total", "rate", "seconds_left"}.
//     Progress progress("images", images.size());
//     for (...) { ...; progress.advance(batch); }
#pragma once
#include <cstdint>
#include <memory>
#include <string>

namespace me2 {

enum class ProgressMode { automatic, always, never };  // automatic: not with --quiet
void set_progress_mode(ProgressMode mode);

class Progress {
 public:
  Progress(std::string label, std::int64_t total);  // total 0: unknown
  ~Progress();                                      // the closing line: how many, how long
  Progress(Progress&&) noexcept;
  void advance(std::int64_t n = 1);  // thread-safe
  void set_done(std::int64_t done);
  void set_note(std::string note);   // shown behind the rate: "loss 0.231"

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// "images  45 % [#########           ] 450/1000, 12.3/s, 0:44 left": what the terminal shows, at most `width` columns.
std::string progress_bar(const std::string& label, std::int64_t done, std::int64_t total, double seconds, const std::string& note,
                         int width);
// "images: 450/1000 (45 %), 12.3/s, 0:44 left": the plain line.
std::string progress_line(const std::string& label, std::int64_t done, std::int64_t total, double seconds, const std::string& note);

}  // namespace me2
