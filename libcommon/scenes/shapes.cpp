#include "scenes/shapes.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace me2::scenes {
namespace {

using Distance = std::function<double(Point)>;

double length(double x, double y) { return std::sqrt(x * x + y * y); }

Distance circle(double cx, double cy, double r) {
  return [=](Point p) { return length(p.x - cx, p.y - cy) - r; };
}
Distance box(double cx, double cy, double hx, double hy, double corner = 0) {
  return [=](Point p) {
    const double dx = std::abs(p.x - cx) - hx + corner, dy = std::abs(p.y - cy) - hy + corner;
    return length(std::max(dx, 0.), std::max(dy, 0.)) + std::min(std::max(dx, dy), 0.) - corner;
  };
}
Distance ellipse(double cx, double cy, double rx, double ry) {  // first-order distance, exact enough for an edge
  return [=](Point p) {
    const double x = (p.x - cx) / rx, y = (p.y - cy) / ry, k = length(x, y);
    const double slope = length(x / rx, y / ry);
    return slope > 1e-9 ? k * (k - 1) / slope : -std::min(rx, ry);
  };
}
Distance polygon(std::vector<Point> v) {  // by winding and distance to the edges
  return [v = std::move(v)](Point p) {
    double d = 1e9, sign = 1;
    for (std::size_t i = 0, j = v.size() - 1; i < v.size(); j = i++) {
      const double ex = v[j].x - v[i].x, ey = v[j].y - v[i].y, wx = p.x - v[i].x, wy = p.y - v[i].y;
      const double t = std::clamp((wx * ex + wy * ey) / (ex * ex + ey * ey), 0., 1.);
      const double bx = wx - ex * t, by = wy - ey * t;
      d = std::min(d, bx * bx + by * by);
      const bool a = p.y >= v[i].y, b = p.y < v[j].y, c = ex * wy > ey * wx;
      if ((a && b && c) || (!a && !b && !c)) sign = -sign;
    }
    return sign * std::sqrt(d);
  };
}
Distance line(double ax, double ay, double bx, double by, double width) {
  return [=](Point p) {
    const double ex = bx - ax, ey = by - ay, t = std::clamp(((p.x - ax) * ex + (p.y - ay) * ey) / (ex * ex + ey * ey), 0., 1.);
    return length(p.x - ax - ex * t, p.y - ay - ey * t) - width;
  };
}
Distance both(Distance a, Distance b) {
  return [=](Point p) { return std::max(a(p), b(p)); };
}
Distance without(Distance a, Distance b) {
  return [=](Point p) { return std::max(a(p), -b(p)); };
}
Distance star(int points, double inner) {
  std::vector<Point> v;
  for (int i = 0; i < 2 * points; ++i) {
    const double r = i % 2 ? inner : 1.05, angle = M_PI * i / points - M_PI / 2;
    v.push_back({r * std::cos(angle), r * std::sin(angle)});
  }
  return polygon(std::move(v));
}
Distance heart(double scale) {
  std::vector<Point> v;
  for (int i = 0; i < 48; ++i) {
    const double t = 2 * M_PI * i / 48, s = std::sin(t);
    v.push_back({scale * s * s * s, -scale * (13 * std::cos(t) - 5 * std::cos(2 * t) - 2 * std::cos(3 * t) - std::cos(4 * t)) / 15});
  }
  return polygon(std::move(v));
}

Rgb same(Rgb c) { return c; }
Rgb darker(Rgb c) { return {c.r * .55, c.g * .55, c.b * .55}; }
Rgb paler(Rgb c) { return {.5 + .5 * c.r, .5 + .5 * c.g, .5 + .5 * c.b}; }
std::function<Rgb(Rgb)> always(double r, double g, double b) {
  return [=](Rgb) { return Rgb{r, g, b}; };
}
const auto kBlack = always(.08, .08, .1);
const auto kWhite = always(.97, .97, .97);
const auto kBrown = always(.42, .26, .12);
const auto kGlass = always(.65, .85, .95);
const auto kLeaf = always(.2, .5, .15);

std::vector<Part> flower() {
  std::vector<Part> parts{{line(0, .2, 0, 1, .08), kLeaf}, {ellipse(.28, .72, .28, .12), kLeaf}};
  for (int i = 0; i < 6; ++i) {
    const double a = 2 * M_PI * i / 6;
    parts.push_back({circle(.5 * std::cos(a), -.3 + .5 * std::sin(a), .31), same});
  }
  parts.push_back({circle(0, -.3, .28), always(.98, .85, .2)});
  return parts;
}

std::array<std::vector<Part>, 14> make_shapes() {
  return {{
      /* ball */ {{circle(0, 0, .95), same}, {both(circle(0, 0, .95), line(-1, -.25, 1, .25, .16)), kWhite}, {circle(-.35, -.45, .16), paler}},
      /* box */ {{box(-.1, .12, .82, .8), same}, {polygon({{-.92, -.68}, {-.62, -1}, {1, -1}, {.72, -.68}}), paler},
                 {polygon({{.72, -.68}, {1, -1}, {1, .6}, {.72, .92}}), darker}, {box(-.1, .12, .1, .8), kBrown}},
      /* star */ {{star(5, .42), same}},
      /* heart */ {{heart(1), same}},
      /* tree */ {{box(0, .72, .14, .3), kBrown}, {polygon({{0, -1.05}, {-.55, -.3}, {.55, -.3}}), same},
                  {polygon({{0, -.65}, {-.7, .12}, {.7, .12}}), same}, {polygon({{0, -.2}, {-.85, .58}, {.85, .58}}), same}},
      /* house */ {{box(0, .4, .72, .55), same}, {polygon({{-1, -.12}, {0, -1}, {1, -.12}}), darker}, {box(0, .6, .16, .35), kBrown},
                   {box(-.45, .28, .14, .14), kGlass}, {box(.45, .28, .14, .14), kGlass}},
      /* face */ {{circle(0, 0, .95), same}, {circle(-.35, -.25, .16), kBlack}, {circle(.35, -.25, .16), kBlack},
                  {both(without(circle(0, .1, .6), circle(0, .02, .5)), box(0, .7, 1, .5)), kBlack}},
      /* cup */ {{without(ellipse(.62, 0, .42, .42), ellipse(.62, 0, .24, .24)), darker},
                 {polygon({{-.75, -.75}, {.6, -.75}, {.45, .85}, {-.6, .85}}), same}, {ellipse(-.075, -.75, .67, .16), kBrown}},
      /* car */ {{box(0, .25, 1, .32, .14), same}, {polygon({{-.62, -.02}, {-.4, -.55}, {.3, -.55}, {.62, -.02}}), same},
                 {polygon({{-.42, -.08}, {-.3, -.43}, {.22, -.43}, {.4, -.08}}), kGlass}, {circle(-.52, .55, .27), kBlack},
                 {circle(.52, .55, .27), kBlack}, {circle(-.52, .55, .11), kWhite}, {circle(.52, .55, .11), kWhite}},
      /* fish */ {{polygon({{.45, 0}, {1.05, -.5}, {1.05, .5}}), darker}, {ellipse(-.15, 0, .82, .5), same},
                  {polygon({{-.2, -.4}, {.1, -.82}, {.35, -.3}}), darker}, {circle(-.6, -.12, .12), kWhite}, {circle(-.62, -.12, .06), kBlack},
                  {line(-.3, -.3, -.3, .3, .04), darker}},
      /* flower */ flower(),
      /* boat */ {{line(0, -1, 0, .4, .06), kBrown}, {polygon({{.08, -.95}, {.08, .22}, {.8, .22}}), kWhite},
                  {polygon({{-.08, -.75}, {-.08, .22}, {-.65, .22}}), paler}, {polygon({{-1, .35}, {1, .35}, {.6, .85}, {-.6, .85}}), same}},
      /* mushroom */ {{box(0, .5, .26, .45, .12), always(.95, .9, .78)}, {both(ellipse(0, .1, .98, .95), box(0, -.5, 1.1, .6)), same},
                      {circle(-.4, -.3, .17), kWhite}, {circle(.38, -.38, .15), kWhite}, {circle(0, -.62, .13), kWhite}},
      /* moon */ {{without(circle(0, 0, .98), circle(.48, -.1, .8)), same}},
  }};
}

}  // namespace

const std::vector<Part>& shape_parts(int category) {
  static const auto shapes = make_shapes();
  return shapes.at(static_cast<std::size_t>(category));
}

}  // namespace me2::scenes
