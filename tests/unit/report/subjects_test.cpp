// Several subjects as one. Expected intervals: tests/golden/twins/statistics (make.py), where every draw is listed, and the normal approximation.
#include "report/subjects.h"

#include <cmath>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/json.h"
#include "store/zarr.h"
#include "support/temp_dir.h"

namespace me2::report {
namespace {

Scores of(const std::vector<double>& values, const std::string& name = "ssim") {
  Scores out;
  Score s;
  s.name = name, s.per_image = values, s.n = static_cast<std::int64_t>(values.size());
  const auto interval = metrics::bca_mean(values, {});
  s.value = interval.value, s.low = interval.low, s.high = interval.high, s.details["way_10"] = s.value * 2;
  for (std::size_t i = 0; i < values.size(); ++i) out.ids.push_back(std::to_string(i));
  out.scores = {s};
  return out;
}

std::vector<double> spread(int n, double centre) {
  std::vector<double> out;
  for (int i = 0; i < n; ++i) out.push_back(centre + std::sin(i * 12.9898) / 10);
  return out;
}

double sd(const std::vector<double>& v) {
  double mean = 0, squares = 0;
  for (const double x : v) mean += x / static_cast<double>(v.size());
  for (const double x : v) squares += (x - mean) * (x - mean);
  return std::sqrt(squares / static_cast<double>(v.size()));
}

Json expected() { return read_json_file(std::string(ME2_SOURCE_DIR) + "/tests/golden/twins/statistics/expected.json")["subjects"]; }

TEST(Subjects, OneSubjectKeepsItsOwnInterval) {
  const auto one = of(spread(60, .4));
  const auto got = mean_over_subjects({{"s1", one}}, {});
  EXPECT_EQ(got.scores[0].low, one.scores[0].low);
  EXPECT_EQ(got.scores[0].high, one.scores[0].high);
  EXPECT_EQ(got.scores[0].interval, "BCa bootstrap over images");
  ASSERT_EQ(got.subjects.size(), 1);
  EXPECT_EQ(got.subjects[0].first, "s1");
}

TEST(Subjects, EqualSubjectsNarrowTheIntervalAsMoreImagesWould) {  // no variance between subjects: sd / sqrt(subjects x images)
  const auto values = spread(200, .4);
  std::vector<std::pair<std::string, Scores>> subjects;
  for (int s = 0; s < 4; ++s) subjects.emplace_back("s" + std::to_string(s), of(values));
  const auto got = mean_over_subjects(std::move(subjects), {});
  const Score& s = got.scores[0];
  const double half = 1.959964 * sd(values) / std::sqrt(800.);
  EXPECT_NEAR(s.value - s.low, half, half * .06);
  EXPECT_NEAR(s.high - s.value, half, half * .06);
  EXPECT_EQ(s.n, 800);
  EXPECT_EQ(s.details.at("subjects"), 4);
  EXPECT_NEAR(s.details.at("subjects_sd"), 0, 1e-12);
  EXPECT_EQ(got.ids.size(), 200);
}

TEST(Subjects, VarianceBetweenSubjectsWidensIt) {
  const auto width = [](double apart) {
    std::vector<std::pair<std::string, Scores>> subjects;
    for (int s = 0; s < 4; ++s) subjects.emplace_back("s" + std::to_string(s), of(spread(50, .4 + apart * s)));
    const auto got = mean_over_subjects(std::move(subjects), {});
    return got.scores[0].high - got.scores[0].low;
  };
  EXPECT_GT(width(.02), width(0) * 1.3);
  EXPECT_GT(width(.1), width(.02) * 2);
}

TEST(Subjects, EveryDrawOfSubjectsAndImagesCounts) {
  for (const char* name : {"two", "four"}) {
    const Json want = expected()[name];
    std::vector<std::pair<std::string, Scores>> subjects;
    for (const auto& value : want["values"]) subjects.emplace_back(std::to_string(subjects.size()), of(std::vector<double>(5, value.get<double>())));
    const auto got = mean_over_subjects(std::move(subjects), {});
    EXPECT_NEAR(got.scores[0].low, want["low"].get<double>(), 1e-12) << name;
    EXPECT_NEAR(got.scores[0].high, want["high"].get<double>(), 1e-12) << name;
  }
  const Json want = expected()["nested"];
  const auto got = mean_over_subjects({{"a", of(want["values"][0].get<std::vector<double>>())}, {"b", of(want["values"][1].get<std::vector<double>>())}}, {});
  EXPECT_NEAR(got.scores[0].low, want["low"].get<double>(), .02);  // 10,000 draws of the 2,916: near the listed quantile
  EXPECT_NEAR(got.scores[0].high, want["high"].get<double>(), .02);
}

TEST(Subjects, ARatioIsTakenWithinEachSubject) {  // 2 / 4 and 6 / 4: the mean of .5 and 1.5, not 8 / 8 of all images
  const auto ratio = [](double top, std::int64_t images) {
    Scores out = of(std::vector<double>(images, top / 4), "bleu1");
    metrics::Scored drawn;
    drawn.columns = 2, drawn.statistic = [](std::span<const double> m) { return m[0] / m[1]; };
    for (std::int64_t i = 0; i < images; ++i) drawn.values.insert(drawn.values.end(), {top, 4.});
    out.scores[0].drawn = drawn, out.scores[0].per_image.assign(images, 77);  // what a caption scores alone does not count
    return out;
  };
  const auto got = mean_over_subjects({{"a", ratio(2, 3)}, {"b", ratio(6, 9)}}, {});
  EXPECT_DOUBLE_EQ(got.scores[0].value, 1);
  EXPECT_DOUBLE_EQ(got.scores[0].low, .5);
  EXPECT_DOUBLE_EQ(got.scores[0].high, 1.5);
}

TEST(Subjects, SplitsBaselinesDetailsAndNotesComeTogether) {
  Scores a = of({.2, .4}), b = of({.6, .8, std::nan("")});
  b.ids = {"1", "7", "8"};
  b.scores[0].value = .7;
  for (auto* s : {&a, &b}) s->splits["near"] = s->scores, s->baselines["mean"] = s->scores, s->notes = {"both"}, s->not_run = {{"clip", "needs"}};
  a.notes.push_back("only this"), b.not_run.emplace_back("swav", "needs");
  b.baselines["more"] = b.scores;
  const auto got = mean_over_subjects({{"a", a}, {"b", b}}, {});
  EXPECT_EQ(got.ids, (std::vector<std::string>{"0", "1", "7", "8"}));
  EXPECT_NEAR(got.scores[0].value, .5, 1e-12);
  EXPECT_NEAR(got.splits.at("near")[0].value, .5, 1e-12);
  EXPECT_NEAR(got.baselines.at("mean")[0].value, .5, 1e-12);
  EXPECT_NEAR(got.baselines.at("more")[0].value, .7, 1e-12);
  EXPECT_NEAR(got.scores[0].details.at("subjects_sd"), std::sqrt(.08), 1e-12);  // .3 and .7
  EXPECT_EQ(got.notes, (std::vector<std::string>{"both", "a: only this"}));
  EXPECT_EQ(got.not_run[0].second, "needs");
  EXPECT_EQ(got.not_run[1].second, "needs (subject b)");
  EXPECT_EQ(per_image_csv(got), "id,subject,ssim\n0,a,0.2\n1,a,0.4\n1,b,0.6\n7,b,0.8\n8,b,\n");
}

TEST(Subjects, AnUndefinedSubjectIsLeftOutAndSaid) {
  Scores none = of({.5});
  none.scores[0].value = std::nan(""), none.scores[0].per_image = {std::nan("")};
  const auto got = mean_over_subjects({{"a", of({.2, .4})}, {"b", none}}, {});
  EXPECT_NEAR(got.scores[0].value, .3, 1e-12);
  EXPECT_NE(got.scores[0].note.find("mean of 1 subjects; undefined for 1"), std::string::npos);
}

TEST(Subjects, LabelsAreGivenOrInTheStoreOrTheFilesName) {
  const test::TempDir dir;
  const Json attributes{{"subject", "subj07"}};
  store::Group::create(dir / "a.zarr", 3, &attributes);
  Json made, input;
  input["provenance"]["options"]["--subject"] = "subj02";
  made["me2"]["options"] = Json::object(), made["me2"]["inputs"] = Json::array({input});
  store::Group::create(dir / "b.zarr", 3, &made);
  EXPECT_EQ(subject_labels({dir / "a.zarr", dir / "b.zarr", dir / "c.npy"}, {}), (std::vector<std::string>{"subj07", "subj02", "c"}));
  EXPECT_EQ(subject_labels({dir / "a.zarr", dir / "b.zarr"}, {"x", "y"}), (std::vector<std::string>{"x", "y"}));
  EXPECT_THROW(subject_labels({dir / "a.zarr", dir / "a.zarr"}, {}), Error);
  EXPECT_THROW(subject_labels({dir / "a.zarr"}, {"x", "y"}), Error);
  EXPECT_THROW(mean_over_subjects({{"a", of({.1})}, {"a", of({.2})}}, {}), Error);
}

}  // namespace
}  // namespace me2::report
