#include "scenes/labels.h"

#include <gtest/gtest.h>

#include "scenes/scene.h"

namespace me2::scenes {
namespace {

TEST(Labels, EveryCaptionOfASceneNamesIt) {
  for (std::int64_t i = 0; i < 500; ++i) {
    const auto scene = draw_scene(11, i);
    for (const auto& caption : captions(scene, 11, i)) {
      const auto named = named_in(caption);
      EXPECT_EQ(named.category, scene.object.category) << caption;
      EXPECT_EQ(named.colour, scene.object.colour) << caption;
      EXPECT_EQ(named.background, scene.background) << caption;
    }
  }
}

TEST(Labels, WhatIsNotNamedIsNot) {
  const auto none = named_in("something or other");
  EXPECT_EQ(none.category, -1);
  EXPECT_EQ(none.colour, -1);
  EXPECT_EQ(none.background, -1);
  EXPECT_EQ(named_in("on green grass").colour, -1);  // the background's colour
  EXPECT_EQ(named_in("A GREEN house, on green grass.").colour, 3);
  EXPECT_EQ(named_in("under the night sky").background, 6);
  EXPECT_EQ(named_in("the sky at night").background, 0);  // the first
  EXPECT_EQ(named_in("a red ball with a small star").category, 0);
  EXPECT_EQ(named_in("balls and boxes").category, -1);
}

TEST(Labels, TheCaptionOfLabelsSaysThemAndNothingElse) {
  EXPECT_EQ(caption_of({0, 0, 5}), "a red ball on the sand");
  EXPECT_EQ(caption_of({5, 1, 0}), "an orange house in front of a blue sky");
}

}  // namespace
}  // namespace me2::scenes
