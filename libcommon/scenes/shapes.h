// The fourteen object shapes as signed distances: negative inside, in units of the object's radius, y downwards.
#pragma once
#include <functional>
#include <vector>

namespace me2::scenes {

struct Rgb {
  double r = 0, g = 0, b = 0;
};
struct Point {
  double x = 0, y = 0;
};

struct Part {
  std::function<double(Point)> distance;
  std::function<Rgb(Rgb)> paint;  // from the object's colour
};

// Parts of the category with that code (scene.h), to be painted one over the other.
const std::vector<Part>& shape_parts(int category);

}  // namespace me2::scenes
