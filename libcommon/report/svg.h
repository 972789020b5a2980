// Small charts as SVG text: deterministic, readable without scripts, the same on paper. No drawing library behind it.
#pragma once
#include <string>
#include <utility>
#include <vector>

namespace me2::report {

std::string escape(const std::string& text);  // for HTML and SVG text and attributes

struct Bar {
  std::string label;
  double value = 0, low = 0, high = 0;  // low == high: no interval
  double reference = -1;                // a tick, for instance the paper's figure; negative: none
};
// Horizontal bars on the axis from `from` to `to`.
std::string bar_chart(const std::string& title, const std::vector<Bar>& bars, double from = 0, double to = 1);

struct Dots {
  std::string label, colour;
  std::vector<std::pair<double, double>> points;
  std::vector<std::string> names;  // shown when a point is pointed at; may be empty
};
std::string scatter(const std::string& title, const std::string& x_label, const std::string& y_label, const std::vector<Dots>& groups,
                    bool axes = true);

struct Line {
  std::string label, colour;
  std::vector<std::pair<double, double>> points;
};
std::string line_chart(const std::string& title, const std::string& x_label, const std::string& y_label, const std::vector<Line>& lines,
                       bool log_y = false);

}  // namespace me2::report
