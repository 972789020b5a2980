// Times and durations as people read them.
#pragma once
#include <chrono>
#include <string>

namespace me2 {
std::string utc_time(std::chrono::system_clock::time_point time, int decimals = 0);  // "2025-01-31T08:00:00Z"
std::string duration_text(double seconds);  // "0.42 s", "12.3 s", "3:07", "1:02:33"
std::string bytes_text(double bytes);       // "512 B", "1.2 KiB", "3.4 GiB"
}  // namespace me2
