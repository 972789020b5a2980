#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "scenes/subject_simulator.h"

namespace me2::scenes {
namespace {

TEST(Scene, TheSameNumberIsAlwaysTheSamePicture) {
  EXPECT_EQ(render(draw_scene(7, 3), 64).rgb, render(draw_scene(7, 3), 64).rgb);
  EXPECT_NE(render(draw_scene(7, 3), 64).rgb, render(draw_scene(7, 4), 64).rgb);
  EXPECT_NE(render(draw_scene(7, 3), 64).rgb, render(draw_scene(8, 3), 64).rgb);
}

TEST(Scene, EveryCategoryCoversATenthOfItsPictureAndStaysInside) {
  for (int category = 0; category < static_cast<int>(category_names().size()); ++category) {
    Scene scene = draw_scene(1, category);
    scene.object.category = category;
    scene.object.radius = .3;
    scene.object.x = scene.object.y = .5;
    scene.second.reset();
    const auto picture = render(scene, 64);
    const auto covered = std::count(picture.segmentation.begin(), picture.segmentation.end(), 1);
    EXPECT_GT(covered, 64 * 64 / 14) << category_names()[static_cast<std::size_t>(category)];
    EXPECT_EQ(picture.segmentation[0], 0);
  }
}

TEST(Scene, CategoriesLookDifferent) {  // no two shapes share more than 95 % of their outline's pixels
  std::vector<std::vector<std::uint8_t>> pictures;
  for (int category = 0; category < static_cast<int>(category_names().size()); ++category) {
    Scene scene;
    scene.object.category = category;
    pictures.push_back(render(scene, 64).rgb);
  }
  for (std::size_t a = 0; a < pictures.size(); ++a)
    for (std::size_t b = 0; b < a; ++b) {
      std::size_t differing = 0;
      for (std::size_t i = 0; i < pictures[a].size(); ++i) differing += std::abs(pictures[a][i] - pictures[b][i]) > 16;
      EXPECT_GT(differing, 300u) << category_names()[a] << " and " << category_names()[b];
    }
}

TEST(Scene, EachCaptionNamesCategoryAndColour) {
  for (int i = 0; i < 200; ++i) {
    const auto scene = draw_scene(5, i);
    for (const auto& caption : captions(scene, 5, i)) {
      EXPECT_NE(caption.find(category_names()[static_cast<std::size_t>(scene.object.category)]), std::string::npos) << caption;
      EXPECT_NE(caption.find(colour_names()[static_cast<std::size_t>(scene.object.colour)]), std::string::npos) << caption;
    }
  }
}

SimulationOptions small() {
  SimulationOptions o;
  o.subjects = 2;
  o.sessions = 2;
  o.trials_per_session = 120;
  o.test_images = 20;
  o.validation_images = 10;
  o.voxel_scale = .2;
  o.side = 32;
  return o;
}

std::vector<float> all_betas(SubjectSimulator& subject, const SimulationOptions& o) {
  for (const auto row : subject.images()) {
    const auto scene = draw_scene(o.seed, row);
    subject.add_image(image_features(scene, render(scene, o.side), o.side, o.seed));
  }
  subject.finish();
  std::vector<float> betas(subject.trials().size() * static_cast<std::size_t>(subject.voxels()));
  subject.betas(0, static_cast<std::int64_t>(subject.trials().size()), betas.data());
  return betas;
}

TEST(Simulator, SubjectsShareTestImagesOnlyAndSeeThemThrice) {
  const auto o = small();
  std::vector<std::set<int>> own(2);
  for (int s = 1; s <= 2; ++s) {
    std::map<int, int> shown;
    const SubjectSimulator subject(o, s);
    for (const auto& t : subject.trials()) {
      EXPECT_EQ(t.repeat, ++shown[t.stimulus]);
      if (t.split == 0) own[static_cast<std::size_t>(s - 1)].insert(t.stimulus);
      else EXPECT_LT(t.stimulus, o.test_images + o.validation_images);
    }
    for (int i = 0; i < o.test_images + o.validation_images; ++i) EXPECT_EQ(shown[i], 3);
  }
  for (const int image : own[0]) EXPECT_FALSE(own[1].contains(image));
}

TEST(Simulator, RepeatsOfAnImageCorrelateAsTheReliabilitySays) {
  auto o = small();
  o.trials_per_session = 1200;
  SubjectSimulator subject(o, 1);
  const auto betas = all_betas(subject, o);
  const auto V = static_cast<std::size_t>(subject.voxels());
  std::map<int, std::vector<std::size_t>> trials;
  for (std::size_t t = 0; t < subject.trials().size(); ++t) trials[subject.trials()[t].stimulus].push_back(t);
  double worst = 0;
  std::vector<double> found;
  for (std::size_t v = 0; v < V; ++v) {
    double xx = 0, yy = 0, xy = 0, x = 0, y = 0, n = 0;
    for (const auto& [image, rows] : trials) {
      if (rows.size() < 2) continue;
      const double a = betas[rows[0] * V + v], b = betas[rows[1] * V + v];
      x += a, y += b, xx += a * a, yy += b * b, xy += a * b, ++n;
    }
    const double r = (xy - x * y / n) / std::sqrt((xx - x * x / n) * (yy - y * y / n));
    found.push_back(r);
    worst = std::max(worst, std::abs(r - subject.reliability()[v]));
  }
  EXPECT_LT(worst, .15);  // about 4 standard errors of a correlation over 1,200 pairs
  std::nth_element(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(found.size() / 2), found.end());
  EXPECT_GT(found[found.size() / 2], .1);  // NSD's range of the median single-trial test-retest correlation
  EXPECT_LT(found[found.size() / 2], .3);
}

TEST(Simulator, TrialsDoNotDependOnHowTheyAreAskedFor) {
  const auto o = small();
  SubjectSimulator subject(o, 2);
  const auto all = all_betas(subject, o);
  const auto V = static_cast<std::size_t>(subject.voxels());
  std::vector<float> part(5 * V);
  subject.betas(130, 5, part.data());
  EXPECT_TRUE(std::equal(part.begin(), part.end(), all.begin() + static_cast<std::ptrdiff_t>(130 * V)));
}

}  // namespace
}  // namespace me2::scenes
