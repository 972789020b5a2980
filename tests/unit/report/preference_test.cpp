// Answers to a survey against scipy.stats.binomtest and bootstrap: tests/golden/twins/statistics (make.py names the versions).
#include "report/preference.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/json.h"
#include "support/temp_dir.h"

namespace me2::report {
namespace {

Json expected() { return read_json_file(std::string(ME2_SOURCE_DIR) + "/tests/golden/twins/statistics/expected.json"); }

// A rater's answers: `run` of `n` trials of a kind choose the run, which is on the left in every second one.
std::string answers(const std::string& rater, std::int64_t run, std::int64_t n, const std::string& kind = "random", int first = 0) {
  std::string out;
  for (std::int64_t i = 0; i < n; ++i) {
    const bool left = i % 2 == 0, chooses_run = i < run;
    out += fmt::format("{},s,{},{},{},{},{},{},900\n", rater, first + i, kind, i, left ? "run" : "other", left ? "other" : "run", left == chooses_run ? "left" : "right");
  }
  return out;
}
const std::string kHead = "rater,survey,trial,kind,image,left,right,chosen,ms\n";

TEST(Preference, TheBinomialPIsScipys) {
  const Json all = expected();
  for (const auto& c : all["binomial"]) {
    const double want = c["p"].get<double>();
    EXPECT_NEAR(binomial_p(c["k"].get<std::int64_t>(), c["n"].get<std::int64_t>()), want, 1e-9 * want + 1e-300) << c.dump();
  }
}

TEST(Preference, OneRaterHasTheExactIntervalOfScipy) {
  const Json all = expected();
  for (const auto& c : all["binomial"]) {
    const auto k = c["k"].get<std::int64_t>(), n = c["n"].get<std::int64_t>();
    const test::TempDir dir;
    const auto got = score_preference({dir.write("a.csv", kHead + answers("ann", k, n))}, .8, 100, 1, 1);
    ASSERT_EQ(got.scores.size(), 1);
    EXPECT_NEAR(got.scores[0].value, static_cast<double>(k) / static_cast<double>(n), 1e-12);
    EXPECT_NEAR(got.scores[0].low, c["low"].get<double>(), 1e-7) << c.dump();
    EXPECT_NEAR(got.scores[0].high, c["high"].get<double>(), 1e-7) << c.dump();
    EXPECT_EQ(got.scores[0].interval, "Clopper-Pearson, one rater");
  }
}

TEST(Preference, SeveralRatersAreClusters) {  // BCa over raters of the ratio of sums, as scipy.stats.bootstrap(paired=True)
  const Json want = expected()["raters"];
  const test::TempDir dir;
  std::vector<std::string> files;
  for (std::size_t r = 0; r < want["answers"].size(); ++r)
    files.push_back(dir.write(fmt::format("{}.csv", r), kHead + answers(fmt::format("rater{}", r), want["answers"][r][0].get<std::int64_t>(), want["answers"][r][1].get<std::int64_t>())));
  const auto got = score_preference(files, .8, 100000, 1, 1);
  ASSERT_EQ(got.scores.size(), 1);
  EXPECT_EQ(got.scores[0].name, "preference_random");
  EXPECT_NEAR(got.scores[0].value, want["value"].get<double>(), 1e-12);
  EXPECT_NEAR(got.scores[0].low, want["low"].get<double>(), 3e-3);  // resampling error of both sides; the interval is .15 wide
  EXPECT_NEAR(got.scores[0].high, want["high"].get<double>(), 3e-3);
  EXPECT_NEAR(got.scores[0].details.at("p"), want["p"].get<double>(), 1e-9);
  EXPECT_EQ(got.scores[0].details.at("raters"), 12);
}

TEST(Preference, KindsAreApartAndTheInattentiveLeft) {
  const test::TempDir dir;
  const std::string one = dir.write("1.csv", kHead + answers("ann", 8, 10) + answers("ann", 2, 10, "against", 100) + answers("ann", 5, 5, "check", 200));
  const std::string two = dir.write("2.csv", kHead + answers("bob", 0, 10) + answers("bob", 0, 10, "against", 100) + answers("bob", 3, 5, "check", 200));
  const auto got = score_preference({one, two}, .8, 100, 1, 1);
  ASSERT_EQ(got.scores.size(), 2);
  EXPECT_DOUBLE_EQ(got.find("preference_random")->value, .8);
  EXPECT_DOUBLE_EQ(got.find("preference_against")->value, .2);
  ASSERT_EQ(got.notes.size(), 1);
  EXPECT_EQ(got.notes[0], "bob: 3 of 5 attention checks right, left out");
  EXPECT_DOUBLE_EQ(score_preference({one, two}, .6, 100, 1, 1).find("preference_random")->value, .4);  // 3 of 5 is enough then
  EXPECT_THROW(score_preference({two}, .8, 100, 1, 1), Error);
}

}  // namespace
}  // namespace me2::report
