// What captions and towers say of rendered scenes, counted by hand.
#include "report/scene_evaluation.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/json.h"
#include "scenes/scene.h"
#include "store/zarr.h"
#include "support/temp_dir.h"

namespace me2::report {
namespace {

std::string labels(const std::string& path, const std::vector<std::uint8_t>& category, const std::vector<std::uint8_t>& colour, const std::vector<std::uint8_t>& background) {
  auto group = store::Group::create(path);
  const auto n = static_cast<std::int64_t>(category.size());
  group.create_array("category", {.shape = {n}, .dtype = store::DType::u1}).write(category.data());
  group.create_array("colour", {.shape = {n}, .dtype = store::DType::u1}).write(colour.data());
  group.create_array("background", {.shape = {n}, .dtype = store::DType::u1}).write(background.data());
  return path;
}

SceneOptions all_scores() {
  SceneOptions o;
  o.wants = [](const std::string&) { return true; };
  o.resamples = 100;
  return o;
}

TEST(SceneCaptions, RightWrongAndSilentAreCountedWithBothChances) {
  const test::TempDir dir;
  const auto store = labels(dir / "s.zarr", {0, 1, 2, 2}, {0, 1, 2, 3}, {0, 0, 1, 1});
  Scores scores;
  scores.ids = {"0", "1", "2", "3"};
  // Right; the object of a larger and of a smaller number than the right one; nothing named.
  const std::vector<std::string> captions{scenes::caption_of({0, 0, 0}), scenes::caption_of({2, 1, 0}), scenes::caption_of({0, 2, 1}), "nothing of the kind"};
  auto options = all_scores();
  options.splits["some"] = {"1", "0"};
  add_scene_caption_scores(scores, captions, SceneLabels::read(store), options);
  const auto* category = scores.find("caption_category");
  ASSERT_TRUE(category);
  EXPECT_EQ(category->per_image, (std::vector<double>{1, 0, 0, 0}));
  EXPECT_DOUBLE_EQ(category->value, .25);
  EXPECT_DOUBLE_EQ(category->details.at("chance"), 1. / static_cast<double>(scenes::category_names().size()));
  // Said: 0 twice, 2 once; there are 0, 1 and 2, 2: (2 x 1 + 1 x 2) / 16.
  EXPECT_DOUBLE_EQ(category->details.at("chance_shuffled"), 4. / 16);
  EXPECT_NE(category->note.find("1 name none, counted as wrong"), std::string::npos);
  EXPECT_EQ(scores.find("caption_colour")->per_image, (std::vector<double>{1, 1, 1, 0}));
  EXPECT_EQ(scores.find("caption_background")->per_image, (std::vector<double>{1, 1, 1, 0}));
  ASSERT_EQ(scores.splits.at("some").size(), 3);
  EXPECT_DOUBLE_EQ(scores.splits.at("some")[0].value, .5);
  EXPECT_EQ(scores.splits.at("some")[0].n, 2);
}

TEST(SceneCaptions, AStoreOfOtherThingsAndASceneThatIsNotThereAreNamed) {
  const test::TempDir dir;
  const auto store = labels(dir / "s.zarr", {0}, {0}, {0});
  EXPECT_THROW(SceneLabels::read(store).of("7"), Error);
  EXPECT_THROW(SceneLabels::read(labels(dir / "far.zarr", {200}, {0}, {0})), Error);
  store::Group::create(dir / "none.zarr");
  EXPECT_THROW(SceneLabels::read(dir / "none.zarr"), Error);
}

TEST(SceneImages, WithoutTowersEachScoreIsListedWithWhatItNeeds) {
  const test::TempDir dir;
  Scores scores;
  scores.ids = {"0"};
  add_scene_image_scores(scores, [](bool, const Network&) -> at::Tensor { throw std::logic_error("not embedded"); },
                         SceneLabels::read(labels(dir / "s.zarr", {0}, {0}, {0})), "", all_scores());
  ASSERT_EQ(scores.not_run.size(), scene_image_score_names().size());
  EXPECT_NE(scores.not_run[0].second.find("--scorer"), std::string::npos);
}

}  // namespace
}  // namespace me2::report
