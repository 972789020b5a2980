#include "report/html.h"

#include "base/json.h"
#include "report/build_report.h"
#include "report/caption_evaluation.h"
#include "report/evaluation.h"
#include "report/report_tables.h"
#include "report/scene_evaluation.h"
#include "report/svg.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace me2::report {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(Svg, TextIsEscaped) { EXPECT_THAT(scatter("<b>&\"", "x", "y", {}), HasSubstr("&lt;b&gt;&amp;&quot;")); }

TEST(Svg, ABarEndsWhereItsValueIs) {  // the axis from 0 to 1 starts at 150 and is 270 wide
  const auto svg = bar_chart("t", {{"a", .5, .4, .6, .25}});
  EXPECT_THAT(svg, HasSubstr("width=\"135.0\" height=\"14\""));
  EXPECT_THAT(svg, HasSubstr("M258.0"));  // the interval's lower end: 150 + .4 * 270
  EXPECT_THAT(svg, HasSubstr("M217.5"));  // the reference tick: 150 + .25 * 270
}

TEST(Svg, PointsThatAreNotNumbersAreLeftOut) {
  const auto svg = scatter("t", "x", "y", {{"g", "red", {{0, 0}, {NAN, 1}, {1, 1}}, {}}});
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
}

TEST(Html, DataUriIsBase64) {  // RFC 4648 test vectors
  EXPECT_EQ(data_uri("text/plain", "f"), "data:text/plain;base64,Zg==");
  EXPECT_EQ(data_uri("text/plain", "fo"), "data:text/plain;base64,Zm8=");
  EXPECT_EQ(data_uri("text/plain", "foo"), "data:text/plain;base64,Zm9v");
}

TEST(Html, ThePageNeedsNoNetworkAndEscapesCaptions) {
  ReportPage page;
  page.title = "t";
  ReportCard card;
  card.id = "17";
  card.caption = "<script>alert(1)</script>";
  card.scores = {{"pixcorr", .5}, {"clip_b", NAN}};
  page.cards = {card};
  page.scores = {{"pixcorr", "PixCorr", .5, .4, .6, .322, 1, false, "m (people .117)"}};
  const auto html = render_page(page);
  EXPECT_THAT(html, Not(HasSubstr("<script>alert")));
  EXPECT_THAT(html, Not(HasSubstr("src=\"http")));
  EXPECT_THAT(html, Not(HasSubstr("<link")));
  EXPECT_THAT(html, HasSubstr("data-pixcorr=\"0.5\""));
  EXPECT_THAT(html, HasSubstr("people: "));  // what the figure in the table's explanations is
  EXPECT_THAT(html, HasSubstr("0.322"));  // the paper's figure beside ours
  EXPECT_THAT(html, HasSubstr("clip_b undefined"));
}

TEST(ReportTables, BaselinesSplitsAndDetailsStandBesideTheScore) {
  const auto first = Json::parse(R"({"scores": {"clip": {"value": 0.9, "details": {"way_50": 0.4, "pool": 300, "baseline_shuffled": 0.5}}},
                                     "splits": {"easy": {"clip": {"value": 0.95}}}})");
  const auto second = Json::parse(R"({"scores": {"swav": {"value": 0.3, "higher_is_better": false}}, "baselines": {"mean": {"swav": {"value": 0.7}, "other": {"value": null}}}})");
  const auto given = Json::parse(R"({"scores": {"ssim": {"value": 0.9}}, "baselines": {"refined": {"ssim": {"value": 0.8}}, "mean": {"ssim": {"value": 0.1}}, "true": {"ssim": {"value": 1}}}})");
  EXPECT_THAT(report_tables({given}).at(0).text, StartsWith("mean: the mean of all reconstructions in place of each; refined, true: pictures given for comparison. "));
  const auto tables = report_tables({first, second});
  using Row = std::vector<std::string>;
  ASSERT_EQ(tables.size(), 3u);
  EXPECT_EQ(tables[0].head, (Row{"score", "this run", "mean", "shuffled"}));
  EXPECT_EQ(tables[0].rows.at(0), (Row{"CLIP", "0.900", "", "0.500"}));
  EXPECT_EQ(tables[0].rows.at(1), (Row{"SwAV ↓", "0.300", "0.700", ""}));
  EXPECT_EQ(tables[1].rows.at(0), (Row{"CLIP", "0.900", "0.950"}));
  EXPECT_EQ(tables[2].rows.at(1), (Row{"CLIP", "pool", "300", "images that candidates are drawn from"}));
  EXPECT_EQ(tables[2].rows.at(0)[3], "share that is found among that many candidates");
  EXPECT_TRUE(report_tables({}).empty());
}

TEST(Report, SubjectsStandBesideTheirMean) {
  Json file;
  file["scores"]["ssim"]["value"] = .5;
  file["subjects"]["s1"]["ids"] = file["subjects"]["s2"]["ids"] = Json::array({"1"});
  file["subjects"]["s1"]["scores"]["ssim"]["value"] = .4, file["subjects"]["s2"]["scores"]["ssim"]["value"] = .6;
  const auto tables = report_tables({file});
  ASSERT_EQ(tables.size(), 1u);
  EXPECT_EQ(tables[0].title, "Each subject");
  EXPECT_EQ(tables[0].head, (std::vector<std::string>{"score", "mean", "s1", "s2"}));
  EXPECT_EQ(tables[0].rows.at(0), (std::vector<std::string>{"SSIM", "0.500", "0.400", "0.600"}));
}

TEST(Html, WorstOfALowerIsBetterScoreIsTheHighest) {
  ReportPage page;
  page.sort_by = "swav";
  page.scores = {{"swav", "SwAV", .4, {}, {}, {}, 3, true, ""}};
  for (int i = 0; i < 3; ++i) {
    ReportCard card;
    card.id = "image" + std::to_string(i);
    card.scores = {{"swav", i * .1}};
    page.cards.push_back(card);
  }
  const auto html = render_page(page);
  EXPECT_THAT(html.substr(html.find("<h3>Best"), html.find("<h3>Median") - html.find("<h3>Best")), HasSubstr("image0"));
  EXPECT_THAT(html.substr(html.find("<h3>Worst"), html.find("<h2>Every") - html.find("<h3>Worst")), HasSubstr("image2"));
}

TEST(Report, EveryScoreIsExplainedAndHowWellPeopleAgreeIsSaidWhereKnown) {
  std::vector<std::string> names{"image_retrieval", "brain_retrieval", "repeat_retrieval", "image_retrieval_1_repeat", "brain_retrieval_2_repeats", "image_retrieval_3_repeats",
                                 "brain_corr_V1", "rsa", "meteor_img_ref", "clip_b_brain_img", "sentence_relative"};
  for (const auto& list : {image_score_names(), caption_score_names(), scene_caption_score_names(), scene_image_score_names()})
    for (const auto& name : list)
      if (name != "brain_corr") names.push_back(name);
  for (const auto& name : names) {
    EXPECT_FALSE(meaning_of(name).text.empty()) << name;
    EXPECT_NE(meaning_of(name).label, name) << name;
  }
  const std::vector<std::pair<std::string, std::string>> people{{"pixcorr", ".117"}, {"ssim", ".112"}, {"alexnet2", ".187"}, {"alexnet5", ".258"}, {"inception", ".475"}, {"clip", ".436"},
                                                                {"effnet", ".748"}, {"swav", ".576"}, {"cap_sim", ".666"}};  // SEED, ICLR 2026
  for (const auto& [name, r] : people) EXPECT_THAT(meaning_of(name).text, HasSubstr("people " + r)) << name;
  EXPECT_EQ(meaning_of("cap_sim").label, "Cap-Sim");
}

}  // namespace
}  // namespace me2::report
