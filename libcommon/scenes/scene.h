// Rendered scenes: one main object of a known category, colour, place and size on a known background, often with a second,
// smaller object. They stand in for photographs wherever a picture must be free to ship and its content known.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace me2::scenes {

// Labels, in the order of their codes.
std::span<const std::string> category_names();    // 14: ball box star heart tree house face cup car fish flower boat mushroom moon
std::span<const std::string> colour_names();      // 8: red orange yellow green blue purple pink white
std::span<const std::string> background_names();  // 8: sky grass water wall checker sand night snow

struct SceneObject {
  int category = 0, colour = 0;
  double x = 0.5, y = 0.5;  // centre, as a fraction of the image side
  double radius = 0.3;      // likewise
  double rotation = 0;      // radians
  bool flip = false;
};

struct Scene {
  SceneObject object;
  std::optional<SceneObject> second;
  int background = 0;
  double phase = 0, horizon = 0.5, tint = 0;  // the background's own variation
};

// The scene number `index` of `seed`: always the same one.
Scene draw_scene(std::uint64_t seed, std::int64_t index);

struct Picture {
  std::vector<std::uint8_t> rgb;           // [3, side, side]
  std::vector<std::uint8_t> segmentation;  // [side, side]: 0 background, 1 the main object, 2 the second object
};
Picture render(const Scene& scene, int side);

// Three captions, worded differently: category, colour and background are always named; place and the second object sometimes.
std::vector<std::string> captions(const Scene& scene, std::uint64_t seed, std::int64_t index);

}  // namespace me2::scenes
