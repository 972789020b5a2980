// What people and programs read: log lines, progress, times, build information.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/build_info.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/time.h"

namespace me2 {
namespace {

using testing::HasSubstr;

class Log : public testing::Test {
 protected:
  void TearDown() override {
    set_log({});
    set_progress_mode(ProgressMode::automatic);
  }
  template <class F>
  static std::string stderr_of(F f) {
    testing::internal::CaptureStderr();
    f();
    return testing::internal::GetCapturedStderr();
  }
};

TEST_F(Log, EveryLineNamesToolAndVerb) {
  set_log({"me2-x", "do"});
  EXPECT_EQ(stderr_of([] { log_info("{} trials", 3); }), "me2-x do: 3 trials\n");
  EXPECT_EQ(stderr_of([] { log_warning("odd"); }), "me2-x do: warning: odd\n");
  EXPECT_EQ(stderr_of([] { log_failure(data_error("f: bad")); }), "me2-x do: error: f: bad\n");
}

TEST_F(Log, LevelHoldsBackWhatLiesBelow) {
  set_log({"t", "v", LogLevel::error});
  EXPECT_EQ(stderr_of([] { log_warning("w"), log_info("i"), log_debug("d"); }), "");
  set_log({"t", "v", LogLevel::debug});
  EXPECT_EQ(stderr_of([] { log_debug("d"); }), "t v: debug: d\n");
}

TEST_F(Log, AMessageIsOneLineWhateverItHolds) {
  EXPECT_EQ(one_line("a\nb\tc\x1b[31m"), "a b c\\x1b[31m");
  EXPECT_LT(one_line(std::string(1 << 20, 'x')).size(), 2100u);
}

TEST_F(Log, JsonLinesParseAndCarryTheExitStatus) {
  set_log({"t", "v", LogLevel::info, true});
  const Json line = parse_json(stderr_of([] { log_failure(data_error("bad \xff byte")); }), "log");
  EXPECT_EQ(line["tool"], "t");
  EXPECT_EQ(line["verb"], "v");
  EXPECT_EQ(line["level"], "error");
  EXPECT_EQ(line["exit"], 65);
  EXPECT_THAT(line["time"].get<std::string>(), testing::MatchesRegex("....-..-..T..:..:......Z"));
}

TEST_F(Log, ProgressClosesWithItsCount) {
  set_log({"t", "v"});
  const auto text = stderr_of([] {
    Progress progress("rows", 4);
    for (int i = 0; i < 4; ++i) progress.advance();
  });
  EXPECT_THAT(text, testing::StartsWith("t v: rows: 4 in "));
}

TEST_F(Log, ProgressIsSilentWhenQuietUnlessAlways) {
  set_log({"t", "v", LogLevel::error});
  const auto work = [] { Progress("rows", 1).advance(); };
  EXPECT_EQ(stderr_of(work), "");
  set_progress_mode(ProgressMode::always);
  EXPECT_THAT(stderr_of(work), HasSubstr("rows: 1 in"));
  set_progress_mode(ProgressMode::never);
  set_log({"t", "v"});
  EXPECT_EQ(stderr_of(work), "");
}

TEST_F(Log, ProgressOfAJsonLogIsAnEvent) {
  set_log({"t", "v", LogLevel::info, true});
  const Json event = parse_json(stderr_of([] { Progress("rows", 2).advance(2); }), "log");
  EXPECT_EQ(event["event"], "finished");
  EXPECT_EQ(event["done"], 2);
  EXPECT_EQ(event["total"], 2);
}

TEST(ProgressText, TellsShareRateAndTimeLeft) {
  EXPECT_EQ(progress_line("images", 450, 1000, 45, "loss 0.2"), "images: 450/1000 (45 %), 10.0/s, 55.0 s left, loss 0.2");
  EXPECT_EQ(progress_line("images", 0, 10, 3, ""), "images: 0/10 (0 %)");
  EXPECT_EQ(progress_line("images", 3, 0, 30, ""), "images: 3, 10.0 s each");
}

TEST(ProgressText, BarFitsItsWidth) {
  const auto bar = progress_bar("images", 5, 10, 1, "", 60);
  EXPECT_LE(bar.size(), 60u);
  EXPECT_THAT(bar, HasSubstr("[########"));
  for (const int width : {10, 20, 40, 200}) EXPECT_LE(progress_bar("images", 5, 10, 1, "a note", width).size(), static_cast<std::size_t>(width));
  EXPECT_THAT(progress_bar("x", 20, 10, 1, "", 80), HasSubstr("100 %"));
}

TEST(Time, IsUtcAndDurationsReadable) {
  EXPECT_EQ(utc_time(std::chrono::system_clock::from_time_t(951782400)), "2000-02-29T00:00:00Z");
  EXPECT_EQ(duration_text(0.4211), "0.42 s");
  EXPECT_EQ(duration_text(59.99), "1:00");
  EXPECT_EQ(duration_text(3753), "1:02:33");
  EXPECT_EQ(bytes_text(1536), "1.5 KiB");
  EXPECT_EQ(bytes_text(3), "3 B");
}

TEST(BuildInfo, NamesVersionAndCommit) {
  EXPECT_THAT(version(), testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+"));
  EXPECT_THAT(git_commit(), testing::MatchesRegex("unknown|[0-9a-f]+(-dirty)?"));
  EXPECT_GE(git_commit().size(), 7u);
}

}  // namespace
}  // namespace me2
