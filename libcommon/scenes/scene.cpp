#include "scenes/scene.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "scenes/draws.h"
#include "scenes/shapes.h"

namespace me2::scenes {
namespace {

const std::vector<std::string> kCategories{"ball", "box", "star", "heart", "tree", "house", "face", "cup", "car", "fish", "flower", "boat", "mushroom", "moon"};
const std::vector<std::string> kColours{"red", "orange", "yellow", "green", "blue", "purple", "pink", "white"};
const std::vector<std::string> kBackgrounds{"sky", "grass", "water", "wall", "checker", "sand", "night", "snow"};
constexpr std::array<Rgb, 8> kColourRgb{{{.85, .12, .12}, {.95, .52, .08}, {.95, .88, .15}, {.12, .62, .2},
                                         {.12, .25, .85}, {.5, .15, .65}, {.97, .55, .75}, {.96, .96, .96}}};

double wave(double t) { return .5 + .5 * std::sin(t); }

Rgb background_at(const Scene& scene, double u, double v) {  // u, v in [0, 1]
  const double t = scene.tint, p = scene.phase * 2 * M_PI;
  const auto mix = [](Rgb a, Rgb b, double w) { return Rgb{a.r + (b.r - a.r) * w, a.g + (b.g - a.g) * w, a.b + (b.b - a.b) * w}; };
  switch (scene.background) {
    case 0:  // sky: a gradient with soft clouds
      return mix(mix({.35, .6 + t, .95}, {.75, .88, 1}, v), {1, 1, 1}, .55 * std::pow(wave(9 * u + p) * wave(13 * v + 5 * u + 2 * p), 2));
    case 1:  // grass below a pale sky
      if (v < scene.horizon) return mix({.75, .88, .98}, {.9, .95, .9}, v);
      return mix({.3, .58 + t, .18}, {.42, .7, .24}, wave(24 * u + 7 * std::sin(9 * v + p)));
    case 2:  // water: horizontal ripples
      return mix({.1, .36 + t, .56}, {.22, .56, .7}, wave(26 * v + 2 * std::sin(7 * u + p)));
    case 3: {  // a brick wall
      const double row = std::floor(v * 6), across = u * 3 + .5 * std::fmod(row, 2) + scene.phase;
      const bool mortar = v * 6 - row < .16 || across - std::floor(across) < .08;
      return mortar ? Rgb{.72, .6, .54} : mix({.62 + t, .36, .28}, {.54, .3, .23}, wave(row * 7 + std::floor(across) * 3));
    }
    case 4: {  // a checkerboard
      const int cell = static_cast<int>(std::floor(u * 4 + .5 * scene.phase) + std::floor(v * 4 + .5 * scene.phase));
      return cell % 2 ? Rgb{.36 + t, .36 + t, .36 + t} : Rgb{.62, .62, .62};
    }
    case 5:  // sand: diagonal dunes
      return mix({.82 + t, .7, .47}, {.93, .83, .6}, wave(13 * (u * .5 + v) + 2 * std::sin(7 * u + p)));
    case 6: {  // night with stars
      const double star = std::pow(wave(47 * u + 31 * p) * wave(53 * v + 17 * p), 40);
      return mix(mix({.03, .03, .12 + t}, {.1, .08, .25}, v), {1, 1, .9}, std::min(1., star));
    }
    default:  // snow below a grey sky
      if (v < scene.horizon) return mix({.55 + t, .6 + t, .7}, {.75, .78, .82}, v);
      return mix({.98, .98, 1}, {.82, .87, .95}, .6 * wave(14 * u + 20 * v + p));
  }
}

// Draws one object over the picture; `mark` goes into the segmentation where it covers half a pixel or more.
void draw_object(const SceneObject& object, int side, std::uint8_t mark, std::vector<double>& rgb, std::vector<std::uint8_t>& segmentation) {
  const double radius = object.radius * side, c = std::cos(object.rotation), s = std::sin(object.rotation);
  const auto& parts = shape_parts(object.category);
  const auto low = [&](double centre) { return std::max(0, static_cast<int>(centre * side - 1.5 * radius) - 1); };
  const auto high = [&](double centre) { return std::min(side, static_cast<int>(centre * side + 1.5 * radius) + 2); };
  for (int py = low(object.y); py < high(object.y); ++py) {
    for (int px = low(object.x); px < high(object.x); ++px) {
      const double dx = (px + .5 - object.x * side) / radius, dy = (py + .5 - object.y * side) / radius;
      Point p{c * dx + s * dy, -s * dx + c * dy};
      if (object.flip) p.x = -p.x;
      double covered = 0;
      for (const auto& part : parts) {
        const double alpha = std::clamp(.5 - part.distance(p) * radius, 0., 1.);
        if (alpha <= 0) continue;
        covered = std::max(covered, alpha);
        const Rgb paint = part.paint(kColourRgb[static_cast<std::size_t>(object.colour)]);
        double* pixel = &rgb[static_cast<std::size_t>(3 * (py * side + px))];
        pixel[0] += (paint.r - pixel[0]) * alpha;
        pixel[1] += (paint.g - pixel[1]) * alpha;
        pixel[2] += (paint.b - pixel[2]) * alpha;
      }
      if (covered >= .5) segmentation[static_cast<std::size_t>(py * side + px)] = mark;
    }
  }
}

SceneObject draw_object_parameters(Random& draws, double smallest, double largest) {
  SceneObject object;
  object.category = static_cast<int>(draws.below(kCategories.size()));
  object.colour = static_cast<int>(draws.below(kColours.size()));
  object.radius = draws.uniform(smallest, largest);
  object.x = draws.uniform(object.radius + .02, .98 - object.radius);
  object.y = draws.uniform(object.radius + .02, .98 - object.radius);
  object.rotation = draws.uniform(-.35, .35);
  object.flip = draws.uniform() < .5;
  return object;
}

}  // namespace

std::span<const std::string> category_names() { return kCategories; }
std::span<const std::string> colour_names() { return kColours; }
std::span<const std::string> background_names() { return kBackgrounds; }

Scene draw_scene(std::uint64_t seed, std::int64_t index) {
  Random draws = stream(seed, "scene", static_cast<std::uint64_t>(index));
  Scene scene;
  scene.background = static_cast<int>(draws.below(kBackgrounds.size()));
  scene.phase = draws.uniform();
  scene.horizon = draws.uniform(.35, .65);
  scene.tint = draws.uniform(-.06, .06);
  scene.object = draw_object_parameters(draws, .22, .36);
  if (draws.uniform() < .3) {
    // Placed in the corner farthest from the main object, so that it seldom hides it.
    SceneObject second = draw_object_parameters(draws, .09, .14);
    second.x = scene.object.x < .5 ? draws.uniform(.8, .87) : draws.uniform(.13, .2);
    second.y = scene.object.y < .5 ? draws.uniform(.8, .87) : draws.uniform(.13, .2);
    scene.second = second;
  }
  return scene;
}

Picture render(const Scene& scene, int side) {
  const std::size_t pixels = static_cast<std::size_t>(side) * side;
  std::vector<double> rgb(3 * pixels);
  for (int y = 0; y < side; ++y)
    for (int x = 0; x < side; ++x) {
      const Rgb c = background_at(scene, (x + .5) / side, (y + .5) / side);
      double* pixel = &rgb[3 * (static_cast<std::size_t>(y) * side + x)];
      pixel[0] = c.r, pixel[1] = c.g, pixel[2] = c.b;
    }
  Picture picture{std::vector<std::uint8_t>(3 * pixels), std::vector<std::uint8_t>(pixels)};
  if (scene.second) draw_object(*scene.second, side, 2, rgb, picture.segmentation);
  draw_object(scene.object, side, 1, rgb, picture.segmentation);
  for (std::size_t i = 0; i < pixels; ++i)
    for (std::size_t c = 0; c < 3; ++c)
      picture.rgb[c * pixels + i] = static_cast<std::uint8_t>(std::lround(255 * std::clamp(rgb[3 * i + c], 0., 1.)));
  return picture;
}

std::vector<std::string> captions(const Scene& scene, std::uint64_t seed, std::int64_t index) {
  Random draws = stream(seed, "caption", static_cast<std::uint64_t>(index));
  static const std::vector<std::string> places{"in front of a blue sky", "on green grass", "on the water", "before a brick wall",
                                               "on a checkered floor", "on the sand", "under the night sky", "in the snow"};
  static const std::vector<std::string> others{"in the sky", "in the grass", "over the water", "against the wall",
                                               "on the checkerboard", "in the sand", "at night", "on the snow"};
  const auto& o = scene.object;
  const std::string thing = kColours[static_cast<std::size_t>(o.colour)] + " " + kCategories[static_cast<std::size_t>(o.category)];
  const std::string article = kColours[static_cast<std::size_t>(o.colour)] == "orange" ? "an " : "a ";
  const std::string size = o.radius > .31 ? "large " : o.radius < .25 ? "small " : "";
  const std::string side = o.x < .42 ? " on the left" : o.x > .58 ? " on the right" : "";
  const auto& place = places[static_cast<std::size_t>(scene.background)];
  const auto& other = others[static_cast<std::size_t>(scene.background)];
  std::string companion;
  if (scene.second) {
    const std::string name = kCategories[static_cast<std::size_t>(scene.second->category)];
    companion = draws.uniform() < .5 ? " and a small " + name : " with a small " + name;
  }
  return {(size.empty() ? article : "a ") + size + thing + " " + place,
          "there is " + article + thing + companion + " " + other,
          article + thing + side + " " + (draws.uniform() < .5 ? place : other)};
}

}  // namespace me2::scenes
