// What a caption says of a rendered scene, and the caption of a given scene: for scores that ask whether a prediction names the
// right thing.
#pragma once
#include <string>
#include <string_view>

namespace me2::scenes {

struct Labels {  // codes as in scene.h; -1: not named
  int category = -1, colour = -1, background = -1;
};

// The first category and the first background a caption names, and the first colour that is not a background's own ("green grass",
// "a blue sky"). Backgrounds go by any word the captions use for them: "checkered" and "checkerboard" are one, "night sky" is night.
Labels named_in(std::string_view caption);

// "a red ball on the sand", as captions() words it first, for a scene of middling size.
std::string caption_of(const Labels& labels);

}  // namespace me2::scenes
