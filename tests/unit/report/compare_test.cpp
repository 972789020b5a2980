// Comparisons of runs against scipy and statsmodels: tests/golden/twins/statistics (make.py names the versions).
#include "report/compare_runs.h"

#include <cmath>
#include <map>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/json.h"
#include "support/temp_dir.h"

namespace me2::report {
namespace {

Json expected() { return read_json_file(std::string(ME2_SOURCE_DIR) + "/tests/golden/twins/statistics/expected.json"); }

std::string csv(const std::string& name, const Json& values) {
  std::string out = "id," + name + "\n";
  for (std::size_t i = 0; i < values.size(); ++i) out += fmt::format("{},{}\n", i, values[i].get<double>());
  return out;
}

Comparison compare_case(const std::string& name, const Json& c, CompareOptions options = {}) {
  const test::TempDir dir;
  options.margin = c["margin"].get<double>(), options.resamples = 100000;
  const auto table = compare_runs({dir.write("a.csv", csv(name, c["a"])), dir.write("b.csv", csv(name, c["b"]))}, options);
  EXPECT_EQ(table.rows.size(), 1);
  return table.rows.at(0);
}

TEST(Compare, IntervalPermutationAndEquivalenceAreScipysAndStatsmodels) {
  const Json all = expected();
  for (const auto& [name, c] : all["paired"].items()) {
    const auto got = compare_case(name, c);
    const double width = c["high"].get<double>() - c["low"].get<double>();
    EXPECT_NEAR(got.difference, c["difference"].get<double>(), 1e-12) << name;
    EXPECT_NEAR(got.low, c["low"].get<double>(), width * .02) << name;  // resampling error of both sides
    EXPECT_NEAR(got.high, c["high"].get<double>(), width * .02) << name;
    EXPECT_NEAR(got.p_equivalence, c["p_equivalence"].get<double>(), 1e-9) << name;
    const double p = c["p_permutation"].get<double>();
    EXPECT_NEAR(got.p, p, c["a"].size() <= 13 ? 1e-12 : 4 * std::sqrt(p * (1 - p) / 100000) + 3e-5) << name;  // exact where all flips are taken
    EXPECT_EQ(got.n, static_cast<std::int64_t>(c["a"].size())) << name;
    EXPECT_EQ(got.interval, "BCa bootstrap over images");
  }
}

TEST(Compare, HolmIsOverAllRows) {
  const Json all = expected();
  const test::TempDir dir;
  std::string a = "id", b = "id";  // one table of all scores; images that a score lacks stay empty
  std::size_t rows = 0;
  for (const auto& [name, c] : all["paired"].items()) a += "," + name, b += "," + name, rows = std::max(rows, c["a"].size());
  for (std::size_t i = 0; i < rows; ++i) {
    a += "\n" + std::to_string(i), b += "\n" + std::to_string(i);
    for (const auto& [name, c] : all["paired"].items()) {
      a += "," + (i < c["a"].size() ? fmt::format("{}", c["a"][i].get<double>()) : std::string());
      b += "," + (i < c["b"].size() ? fmt::format("{}", c["b"][i].get<double>()) : std::string());
    }
  }
  CompareOptions options;
  options.resamples = 100000;
  const auto table = compare_runs({dir.write("a.csv", a + "\n"), dir.write("b.csv", b + "\n")}, options);
  ASSERT_EQ(table.rows.size(), 4);
  for (const auto& row : table.rows) {
    const double want = all["holm"][row.score].get<double>();
    EXPECT_NEAR(row.p_holm, want, .02 * want + 1.6e-3) << row.score;  // four times five standard errors of the smallest p
    if (row.score == "pixcorr") { EXPECT_DOUBLE_EQ(row.p_holm, 4 * row.p); }
    EXPECT_TRUE(std::isnan(row.p_equivalence));
  }
}

TEST(Compare, TheVerdictFollowsWhatIsBetterAndTheCorrectedP) {
  Comparison c;
  c.a = "new", c.b = "old", c.difference = .1, c.p = .001, c.p_holm = .004, c.p_equivalence = .9;
  EXPECT_EQ(c.verdict(0), "new better");
  c.higher_is_better = false;
  EXPECT_EQ(c.verdict(0), "old better");
  c.p_holm = .051;
  EXPECT_EQ(c.verdict(0), "no difference shown");
  c.p_equivalence = .049;
  EXPECT_EQ(c.verdict(.2), "equivalent within 0.2");
  EXPECT_EQ(c.verdict(0), "no difference shown");
  c.p_holm = std::nan("");
  EXPECT_EQ(c.verdict(.2), "not tested");
  const auto effnet = compare_case("effnet", expected()["paired"]["effnet"]);
  EXPECT_FALSE(effnet.higher_is_better);
}

TEST(Compare, ThePairedBootstrapPFindsWhatIsThereAndNotWhatIsNot) {
  const Json all = expected();
  EXPECT_LT(compare_case("pixcorr", all["paired"]["pixcorr"]).p_bootstrap, .01);
  const auto none = compare_case("alexnet2", all["paired"]["alexnet2"]);
  EXPECT_NEAR(none.p_bootstrap, all["paired"]["alexnet2"]["p_permutation"].get<double>(), .03);  // both near the t test at n = 40
}

TEST(Compare, SubjectsOfAColumnAndOfSeveralFilesAreTheSame) {
  const test::TempDir dir;
  std::string joined = "id,subject,ssim\n", one = "id,ssim\n", two = "id,ssim\n", old_joined = joined, old = one;
  for (int i = 0; i < 30; ++i) {
    const double base = .3 + .01 * (i % 7), x = base + .02 + .001 * (i % 3), y = base + .05 + .001 * (i % 5);
    joined += fmt::format("{0},s1,{1}\n{0},s2,{2}\n", i, x, y), old_joined += fmt::format("{0},s1,{1}\n{0},s2,{1}\n", i, base);
    one += fmt::format("{},{}\n", i, x), two += fmt::format("{},{}\n", i, y), old += fmt::format("{},{}\n", i, base);
  }
  const auto a = compare_runs({dir.write("new.csv", joined), dir.write("old.csv", old_joined)}, {});
  CompareOptions labels;
  labels.runs = {"new", "new", "old", "old"}, labels.subjects = {"s1", "s2", "s1", "s2"};
  const auto b = compare_runs({dir.write("1.csv", one), dir.write("2.csv", two), dir.write("3.csv", old), dir.write("4.csv", old)}, labels);
  ASSERT_EQ(a.rows.size(), 1);
  EXPECT_EQ(a.rows[0].subjects, 2);
  EXPECT_EQ(a.rows[0].interval, "bootstrap over subjects and images within");
  EXPECT_DOUBLE_EQ(a.rows[0].difference, b.rows[0].difference);
  EXPECT_DOUBLE_EQ(a.rows[0].low, b.rows[0].low);
  EXPECT_DOUBLE_EQ(a.rows[0].p, b.rows[0].p);
  EXPECT_NEAR(a.rows[0].difference, .5 * (.021 + .052), 1e-3);
  EXPECT_THROW(compare_runs({dir.write("twice.csv", "id,subject,ssim\n1,s1,.1\n1,s1,.2\n"), dir / "old.csv"}, {}), Error);
}

}  // namespace
}  // namespace me2::report
