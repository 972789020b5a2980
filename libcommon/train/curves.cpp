#include "train/curves.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "base/json.h"

namespace me2::train {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

double value(const CurveRow& row, const std::string& name) {
  for (const auto& [key, v] : row)
    if (key == name) return v;
  return kNone;
}

struct Panel {
  double top, height;
  bool logarithmic;
  std::vector<std::pair<std::string, std::string>> series;  // column, colour
};

std::string draw(const Panel& panel, const std::vector<CurveRow>& rows) {
  constexpr double left = 60, width = 560;
  double low = panel.logarithmic ? std::numeric_limits<double>::infinity() : 0, high = panel.logarithmic ? 0 : 1;
  if (panel.logarithmic) {
    for (const auto& [name, colour] : panel.series)
      for (const auto& row : rows)
        if (const double v = value(row, name); v > 0 && std::isfinite(v)) low = std::min(low, v), high = std::max(high, v);
    if (!(high > 0)) low = 0.1, high = 1;
    if (low == high) low /= 2, high *= 2;
  }
  const auto x = [&](std::size_t i) { return left + width * (rows.size() > 1 ? static_cast<double>(i) / static_cast<double>(rows.size() - 1) : 0.5); };
  const auto y = [&](double v) {
    const double share = panel.logarithmic ? (std::log(v) - std::log(low)) / (std::log(high) - std::log(low)) : (v - low) / (high - low);
    return panel.top + panel.height * (1 - std::clamp(share, 0.0, 1.0));
  };
  std::string out = fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"none\" stroke=\"#999\"/>\n", left, panel.top, width, panel.height);
  for (const double v : {low, high}) out += fmt::format("<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{:.3g}</text>\n", left - 6, y(v) + 4, v);
  double legend = panel.top + 14;
  for (const auto& [name, colour] : panel.series) {
    std::string points;
    for (std::size_t i = 0; i < rows.size(); ++i)
      if (const double v = value(rows[i], name); std::isfinite(v) && (!panel.logarithmic || v > 0)) points += fmt::format("{:.1f},{:.1f} ", x(i), y(v));
    if (points.empty()) continue;
    out += fmt::format("<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"1.5\" points=\"{}\"/>\n", colour, points);
    out += fmt::format("<text x=\"{}\" y=\"{}\" fill=\"{}\">{}</text>\n", left + width + 10, legend, colour, name);
    legend += 16;
  }
  return out;
}

}  // namespace

std::string curves_csv(const std::vector<CurveRow>& rows) {
  if (rows.empty()) return "";
  std::string out;
  for (std::size_t i = 0; i < rows[0].size(); ++i) out += (i ? "," : "") + rows[0][i].first;
  out += "\n";
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) out += (i ? "," : "") + (std::isfinite(row[i].second) ? fmt::format("{:.9g}", row[i].second) : "");
    out += "\n";
  }
  return out;
}

std::string curves_svg(const std::vector<CurveRow>& rows, const std::string& title) {
  const Panel losses{40, 200, true, {{"loss", "#000000"}, {"loss_prior", "#0072b2"}, {"loss_clip", "#d55e00"}, {"loss_blurry", "#009e73"}, {"loss_cont", "#cc79a7"}, {"holdout_loss", "#999999"}}};
  const Panel accuracy{280, 160, false, {{"image_retrieval", "#0072b2"}, {"brain_retrieval", "#d55e00"}, {"test_image_retrieval", "#56b4e9"}, {"test_brain_retrieval", "#e69f00"}, {"recon_cossim", "#009e73"}}};
  const Panel rate{480, 80, true, {{"lr", "#000000"}}};
  std::string escaped;
  for (const char c : title) escaped += c == '<' ? "&lt;" : c == '&' ? "&amp;" : std::string(1, c);
  return fmt::format("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"820\" height=\"600\" font-family=\"sans-serif\" font-size=\"12\">\n"
                     "<rect width=\"820\" height=\"600\" fill=\"#fff\"/>\n<text x=\"60\" y=\"24\" font-size=\"15\">{}</text>\n{}{}{}"
                     "<text x=\"340\" y=\"582\" text-anchor=\"middle\">epoch 0 to {}</text>\n</svg>\n",
                     escaped, draw(losses, rows), draw(accuracy, rows), draw(rate, rows), rows.empty() ? 0 : rows.size() - 1);
}

Json curves_json(const std::vector<CurveRow>& rows) {
  Json out = Json::array();
  for (const auto& row : rows) {
    Json one = Json::object();
    for (const auto& [name, v] : row) one[name] = std::isfinite(v) ? Json(v) : Json();
    out.push_back(one);
  }
  return out;
}

std::vector<CurveRow> curves_from(const Json& json) {
  std::vector<CurveRow> rows;
  for (const auto& one : json) {
    CurveRow row;
    for (const auto& [name, v] : one.items()) row.emplace_back(name, v.is_null() ? kNone : v.get<double>());
    rows.push_back(row);
  }
  return rows;
}

}  // namespace me2::train
