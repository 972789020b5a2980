// The shared caption_metrics case in place (nltk 3.8.1, rouge_score 0.1.2), our own twin (tests/golden/twins/caption_metrics/make.py:
// nltk and rouge_score), and the published COCO leaderboard of BrainHub on its own captions.
#include <cstdlib>
#include <filesystem>

#include <gtest/gtest.h>

#include "base/json.h"
#include "text/caption_scores.h"
#include "text/nltk_tokens.h"
#include "text/porter.h"
#include "text/unicode.h"

namespace me2::text {
namespace {

namespace fs = std::filesystem;

std::string shared() {
  const char* set = std::getenv("ME2_SHARED");
  return set ? set : std::string(ME2_SOURCE_DIR) + "/../shared";
}

std::vector<std::string> utf8(const std::vector<std::u32string>& words) {
  std::vector<std::string> out;
  for (const auto& w : words) out.push_back(encode_utf8(w));
  return out;
}

const WordNet* wordnet() {
  static const std::unique_ptr<WordNet> words =
      fs::exists(WordNet::default_folder() + "/index.noun") ? std::make_unique<WordNet>(WordNet::default_folder()) : nullptr;
  return words.get();
}

void run_case(const std::string& file, double tolerance) {
  const Json expected = read_json_file(file);
  const Meteor meteor(*wordnet());
  for (const auto& [name, set] : expected["sets"].items()) {
    double meteor_sum = 0, rouge1_sum = 0, rouge_l_sum = 0;
    for (const auto& pair : set["pairs"]) {
      const auto hypothesis = pair["hypothesis"].get<std::string>(), reference = pair["reference"].get<std::string>();
      SCOPED_TRACE(name + ": " + hypothesis + " | " + reference);
      const auto& want = pair["meteor"];
      if (want.contains("ref_tokens")) {
        EXPECT_EQ(utf8(word_tokens(reference)), want["ref_tokens"].get<std::vector<std::string>>());
        EXPECT_EQ(utf8(word_tokens(hypothesis)), want["hyp_tokens"].get<std::vector<std::string>>());
      }
      const auto got = meteor.compare(reference, hypothesis);
      EXPECT_NEAR(got.score, want["score"].get<double>(), tolerance);
      const auto right = rouge_tokens(reference), said = rouge_tokens(hypothesis);
      const auto one = rouge_n(right, said), longest = rouge_l(right, said);
      EXPECT_NEAR(one.f, pair["rouge1"]["fmeasure"].get<double>(), tolerance);
      EXPECT_NEAR(one.precision, pair["rouge1"]["precision"].get<double>(), tolerance);
      EXPECT_NEAR(longest.f, pair["rougeL"]["fmeasure"].get<double>(), tolerance);
      EXPECT_NEAR(longest.recall, pair["rougeL"]["recall"].get<double>(), tolerance);
      meteor_sum += got.score, rouge1_sum += one.f, rouge_l_sum += longest.f;
    }
    const double n = static_cast<double>(set["pairs"].size());
    EXPECT_NEAR(meteor_sum / n, set["meteor_mean"].get<double>(), tolerance);
    EXPECT_NEAR(rouge1_sum / n, set["rouge1_plain_mean"].get<double>(), tolerance);
    EXPECT_NEAR(rouge_l_sum / n, set["rougeL_plain_mean"].get<double>(), tolerance);
  }
  for (const auto& [word, stem] : expected["porter_stem"].items()) EXPECT_EQ(encode_utf8(porter_stem(decode_utf8(word))), stem.get<std::string>()) << word;
  for (const auto& [word, names] : expected["wordnet_single_word_synonyms"].items()) {
    const auto want = names.get<std::vector<std::string>>();
    EXPECT_EQ(wordnet()->single_word_synonyms(word), std::set<std::string>(want.begin(), want.end())) << word;
  }
}

TEST(CaptionScores, Golden) {
  const char* extra = std::getenv("ME2_GOLDENS");
  std::string dir = extra ? std::string(extra) + "/caption_metrics" : "";
  if (dir.empty() || !fs::exists(dir)) dir = shared() + "/goldens/caption_metrics";
  if (!fs::exists(dir)) GTEST_SKIP() << "golden case caption_metrics is not on this machine";
  if (!wordnet()) GTEST_SKIP() << "WordNet's files are not on this machine";
  run_case(dir + "/expected.json", 1e-9);
}

TEST(CaptionScores, OwnTwin) {
  if (!wordnet()) GTEST_SKIP() << "WordNet's files are not on this machine";
  run_case(std::string(ME2_SOURCE_DIR) + "/tests/golden/twins/caption_metrics/expected.json", 1e-9);
}

TEST(CaptionScores, EmptyTextsScoreZero) {
  EXPECT_EQ(rouge_n({}, {"a", "dog"}).f, 0);
  EXPECT_EQ(rouge_l({"a", "dog"}, {}).f, 0);
  if (!wordnet()) GTEST_SKIP() << "WordNet's files are not on this machine";
  EXPECT_EQ(Meteor(*wordnet()).compare("", "").score, 0);
}

TEST(CaptionScores, BootstrapMedianInterpolates) {  // means 1, 3 -> 2
  const std::vector<double> values{1, 3};
  const std::vector<std::vector<std::int64_t>> draws{{0, 0}, {1, 1}};
  EXPECT_DOUBLE_EQ(bootstrap_median(values, draws), 2);
}

TEST(CocoTokens, PunctuationGoesAndParenthesesStayAsTheirCode) {
  EXPECT_EQ(coco_tokens("A man (sitting) on a bench. Two dogs' toys, it isn't 3,500!"),
            (Tokens{"a", "man", "-lrb-", "sitting", "-rrb-", "on", "a", "bench", "two", "dogs", "toys", "it", "is", "n't", "3,500"}));
}

// BLEU by hand: hypothesis "the cat", reference "the cat sat": precision 1 and 1, brevity exp(1 - 3/2).
TEST(Bleu, BrevityPenalty) {
  const std::vector<Tokens> references{{"the", "cat", "sat"}};
  const auto b = bleu(bleu_counts(references, {"the", "cat"}));
  EXPECT_NEAR(b[0], std::exp(-0.5), 1e-8);
  EXPECT_NEAR(b[1], std::exp(-0.5), 1e-8);
}

TEST(CocoScores, EveryCaptionAndTheCorpusArePycocoevalcaps) {  // tests/golden/twins/coco_captions: repeats, ties in length, long and short captions
  const Json want = read_json_file(std::string(ME2_SOURCE_DIR) + "/tests/golden/twins/coco_captions/expected.json");
  std::vector<Tokens> captions;
  std::vector<std::vector<Tokens>> references;
  for (const auto& text : want["captions"]) captions.push_back(coco_tokens(text.get<std::string>()));
  for (const auto& list : want["references"]) {
    references.emplace_back();
    for (const auto& text : list) references.back().push_back(coco_tokens(text.get<std::string>()));
  }
  const Cider cider(references);
  BleuCounts all;
  double cider_sum = 0;
  for (std::size_t i = 0; i < captions.size(); ++i) {
    const auto counts = bleu_counts(references[i], captions[i]);
    for (int k = 0; k < 4; ++k) {
      all.match[k] += counts.match[k], all.guess[k] += counts.guess[k];
      EXPECT_NEAR(bleu(counts)[k], want["bleu_each"][i][k].get<double>(), 1e-9) << i << " " << k;
    }
    all.length += counts.length, all.reference_length += counts.reference_length;
    const double one = cider.score(i, captions[i]);
    cider_sum += one;
    EXPECT_NEAR(one, want["cider_each"][i].get<double>(), 1e-9) << i;
    EXPECT_NEAR(coco_rouge_l(references[i], captions[i]), want["rouge_l_each"][i].get<double>(), 1e-9) << i;
  }
  for (int k = 0; k < 4; ++k) EXPECT_NEAR(bleu(all)[k], want["bleu"][k].get<double>(), 1e-9);
  EXPECT_NEAR(cider_sum / static_cast<double>(captions.size()), want["cider"].get<double>(), 1e-9);
}

// BrainHub's published numbers for subject 1 (SOURCE.md of real/brainhub_captions).
TEST(Leaderboard, BrainHub) {
  const std::string dir = shared() + "/real/brainhub_captions/caption/";
  if (!fs::exists(dir)) GTEST_SKIP() << "real/brainhub_captions is not on this machine";
  const Json references = read_json_file(dir + "fmri_cococap.json");
  struct Published {
    const char* model;
    double bleu1, bleu4, rouge, cider;
  };
  for (const auto& p : {Published{"umbrae-v-1-4", 59.44, 19.03, 43.71, 61.06}, Published{"braincap", 55.96, 14.51, 40.69, 41.30}}) {
    const Json captions = read_json_file(dir + "comparison/" + p.model + "/sub01_decoded_caption.json");
    std::vector<std::vector<Tokens>> all;
    std::vector<Tokens> hypotheses;
    for (const auto& [id, texts] : references.items()) {
      all.emplace_back();
      for (const auto& t : texts) all.back().push_back(coco_tokens(t.get<std::string>()));
      hypotheses.push_back(coco_tokens(captions[id].get<std::string>()));
    }
    const Cider cider(all);
    BleuCounts total;
    double rouge = 0, cider_sum = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
      const auto c = bleu_counts(all[i], hypotheses[i]);
      for (int k = 0; k < 4; ++k) total.match[k] += c.match[k], total.guess[k] += c.guess[k];
      total.length += c.length, total.reference_length += c.reference_length;
      rouge += coco_rouge_l(all[i], hypotheses[i]);
      cider_sum += cider.score(i, hypotheses[i]);
    }
    const auto b = bleu(total);
    const double n = static_cast<double>(all.size());
    EXPECT_NEAR(b[0] * 100, p.bleu1, 0.3) << p.model;
    EXPECT_NEAR(b[3] * 100, p.bleu4, 0.3) << p.model;
    EXPECT_NEAR(rouge / n * 100, p.rouge, 0.3) << p.model;
    EXPECT_NEAR(cider_sum / n * 100, p.cider, 2) << p.model;
  }
}

}  // namespace
}  // namespace me2::text
