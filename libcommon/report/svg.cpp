#include "report/svg.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

namespace me2::report {
namespace {

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  void add(double v) {
    if (std::isfinite(v)) low = std::min(low, v), high = std::max(high, v);
  }
  void settle() {  // never empty
    if (!(low <= high)) low = 0, high = 1;
    if (low == high) low -= .5, high += .5;
  }
  double share(double v) const { return (v - low) / (high - low); }
};

constexpr double kLeft = 56, kTop = 30, kWidth = 400, kHeight = 260;  // narrow enough to be read on a telephone

std::string open(const std::string& title, double width, double height) {
  return fmt::format("<svg viewBox=\"0 0 {:.0f} {:.0f}\" role=\"img\" aria-label=\"{}\" xmlns=\"http://www.w3.org/2000/svg\" font-family=\"sans-serif\" "
                     "font-size=\"12\" fill=\"currentColor\">\n<text x=\"{:.0f}\" y=\"16\" font-size=\"13\" font-weight=\"bold\">{}</text>\n",
                     width, height, escape(title), 8., escape(title));
}

std::string frame(const Range& x, const Range& y, const std::string& x_label, const std::string& y_label, bool log_y) {
  std::string out = fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"none\" stroke=\"currentColor\" opacity=\".4\"/>\n", kLeft, kTop, kWidth, kHeight);
  for (int i = 0; i <= 4; ++i) {
    const double s = i / 4., xv = x.low + s * (x.high - x.low), yv = y.low + s * (y.high - y.low);
    out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{:.3g}</text>\n", kLeft + s * kWidth, kTop + kHeight + 14, xv);
    out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{:.3g}</text>\n", kLeft - 5, kTop + kHeight * (1 - s) + 4, log_y ? std::exp(yv) : yv);
  }
  out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n", kLeft + kWidth / 2, kTop + kHeight + 30, escape(x_label));
  out += fmt::format("<text transform=\"translate(12 {:.1f}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n", kTop + kHeight / 2, escape(y_label));
  return out;
}

double height_with(std::size_t groups) { return kTop + kHeight + 44 + 17 * static_cast<double>(groups); }

std::string legend(std::size_t row, const std::string& colour, const std::string& label) {
  const double y = kTop + kHeight + 46 + 17 * static_cast<double>(row);
  return fmt::format("<circle cx=\"{:.0f}\" cy=\"{:.0f}\" r=\"4\" fill=\"{}\"/><text x=\"{:.0f}\" y=\"{:.0f}\">{}</text>\n", kLeft + 4, y, escape(colour), kLeft + 14, y + 4, escape(label));
}

}  // namespace

std::string escape(const std::string& text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string bar_chart(const std::string& title, const std::vector<Bar>& bars, double from, double to) {
  constexpr double label = 150, width = 270, step = 22;
  const double height = kTop + step * static_cast<double>(bars.size()) + 26;
  const auto x = [&](double v) { return label + width * std::clamp((v - from) / (to - from), 0., 1.); };
  std::string out = open(title, label + width + 50, height);
  for (std::size_t i = 0; i < bars.size(); ++i) {
    const auto& b = bars[i];
    const double y = kTop + step * static_cast<double>(i);
    out += fmt::format("<text x=\"{:.0f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n", label - 6, y + 12, escape(b.label));
    out += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"14\" fill=\"#3d7ea6\"/>\n", x(std::max(from, 0.)), y + 1, std::max(0., x(b.value) - x(std::max(from, 0.))));
    if (b.high > b.low)
      out += fmt::format("<path d=\"M{0:.1f} {2:.1f}H{1:.1f}M{0:.1f} {3:.1f}V{4:.1f}M{1:.1f} {3:.1f}V{4:.1f}\" stroke=\"currentColor\" fill=\"none\"/>\n", x(b.low), x(b.high), y + 8, y + 4, y + 12);
    if (b.reference >= 0) out += fmt::format("<path d=\"M{0:.1f} {1:.1f}V{2:.1f}\" stroke=\"#c0392b\" stroke-width=\"2\"/>\n", x(b.reference), y - 1, y + 17);
    out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\">{:.3f}</text>\n", label + width + 8, y + 12, b.value);
  }
  return out + fmt::format("<text x=\"{:.0f}\" y=\"{:.1f}\">{:.2g}</text><text x=\"{:.0f}\" y=\"{:.1f}\" text-anchor=\"end\">{:.2g}</text>\n</svg>\n", label, height - 8, from, label + width, height - 8, to);
}

std::string scatter(const std::string& title, const std::string& x_label, const std::string& y_label, const std::vector<Dots>& groups, bool axes) {
  Range x, y;
  for (const auto& g : groups)
    for (const auto& [px, py] : g.points) x.add(px), y.add(py);
  x.settle(), y.settle();
  std::string out = open(title, kLeft + kWidth + 20, height_with(groups.size()));
  if (axes) out += frame(x, y, x_label, y_label, false);
  for (std::size_t k = 0; k < groups.size(); ++k) {
    const auto& g = groups[k];
    out += legend(k, g.colour, g.label) + fmt::format("<g fill=\"{}\" fill-opacity=\".7\">\n", escape(g.colour));
    for (std::size_t i = 0; i < g.points.size(); ++i) {
      const auto& [px, py] = g.points[i];
      if (!std::isfinite(px) || !std::isfinite(py)) continue;
      out += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\">", kLeft + kWidth * x.share(px), kTop + kHeight * (1 - y.share(py)));
      if (i < g.names.size()) out += "<title>" + escape(g.names[i]) + "</title>";
      out += "</circle>\n";
    }
    out += "</g>\n";
  }
  return out + "</svg>\n";
}

std::string line_chart(const std::string& title, const std::string& x_label, const std::string& y_label, const std::vector<Line>& lines, bool log_y) {
  const auto to_y = [&](double v) { return log_y ? (v > 0 ? std::log(v) : std::numeric_limits<double>::quiet_NaN()) : v; };
  Range x, y;
  for (const auto& line : lines)
    for (const auto& [px, py] : line.points) x.add(px), y.add(to_y(py));
  x.settle(), y.settle();
  std::string out = open(title, kLeft + kWidth + 20, height_with(lines.size())) + frame(x, y, x_label, y_label, log_y);
  for (std::size_t k = 0; k < lines.size(); ++k) {
    std::string points;
    for (const auto& [px, py] : lines[k].points)
      if (std::isfinite(px) && std::isfinite(to_y(py))) points += fmt::format("{:.1f},{:.1f} ", kLeft + kWidth * x.share(px), kTop + kHeight * (1 - y.share(to_y(py))));
    out += legend(k, lines[k].colour, lines[k].label);
    out += fmt::format("<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"1.8\" points=\"{}\"/>\n", escape(lines[k].colour), points);
  }
  return out + "</svg>\n";
}

}  // namespace me2::report
