#include "text/clip_bpe.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "base/json.h"
#include "text/fix_text.h"
#include "text/unicode.h"

namespace me2::text {
namespace {

std::string case_dir() {  // the case clip_tokenizer is used in place
  namespace fs = std::filesystem;
  const char* other = std::getenv("ME2_GOLDENS");
  const char* shared = std::getenv("ME2_SHARED");
  for (const fs::path& p : {other ? fs::path(other) : fs::path("/nonexistent"), (shared ? fs::path(shared) : fs::path(ME2_SOURCE_DIR) / "../shared") / "goldens"})
    if (fs::exists(p / "clip_tokenizer/strings.json")) return p / "clip_tokenizer";
  return "";
}

TEST(ClipBpe, EveryStringOfTheCaseHasTheReferencesIdsInBothFlavours) {
  if (case_dir().empty()) GTEST_SKIP() << "golden case clip_tokenizer is not on this machine";
  namespace fs = std::filesystem;
  const std::string here = fs::exists(case_dir() + "/bpe_simple_vocab_16e6.txt.gz") ? case_dir() : std::string(ME2_SOURCE_DIR) + "/../shared/goldens/clip_tokenizer";
  const ClipBpe tokenizer = ClipBpe::open(here);
  EXPECT_EQ(tokenizer.size(), 49408);
  const Json strings = read_json_file(case_dir() + "/strings.json");
  for (const auto& row : strings) {
    const auto text = row["text"].get<std::string>();
    EXPECT_EQ(tokenizer.encode(text, ClipFlavour::open_clip).ids, row["open_clip_ids"].get<std::vector<std::int64_t>>()) << row["text"];
    EXPECT_EQ(tokenizer.encode(text, ClipFlavour::hugging_face).ids, row["hf_clip_ids"].get<std::vector<std::int64_t>>()) << row["text"];
    EXPECT_EQ(encode_utf8(fix_text(decode_utf8(text))), row["fixed"].get<std::string>()) << row["text"];
  }
  EXPECT_GT(strings.size(), 10u);
}

// tests/golden/twins/clip_bpe: merges trained on our own sentences, ids by the tokenizers package, texts by ftfy (see make.py there).
TEST(ClipBpe, OurOwnSentencesHaveTheIdsOfThePackages) {
  const std::string twin = std::string(ME2_SOURCE_DIR) + "/tests/golden/twins/clip_bpe/";
  const ClipBpe tokenizer = ClipBpe::open(twin + "merges.txt");
  const Json rows = read_json_file(twin + "expected.json");
  for (const auto& row : rows) {
    const auto text = row["text"].get<std::string>();
    EXPECT_EQ(encode_utf8(fix_text(decode_utf8(text))), row["fixed"].get<std::string>()) << row["text"];
    EXPECT_EQ(encode_utf8(html_unescape(decode_utf8(text))), row["unescaped"].get<std::string>()) << row["text"];
    EXPECT_EQ(tokenizer.encode(text, ClipFlavour::hugging_face, 40).ids, row["ids"].get<std::vector<std::int64_t>>()) << row["text"];
  }
  EXPECT_GT(rows.size(), 20u);
}

TEST(ClipBpe, CutsAndSaysSo) {
  const ClipBpe tokenizer({"a b</w>"});
  const auto got = tokenizer.encode("ab ab ab ab", ClipFlavour::open_clip, 4);
  EXPECT_TRUE(got.truncated);
  EXPECT_EQ(got.ids, (std::vector<std::int64_t>{513, 512, 512, 514}));
  EXPECT_FALSE(tokenizer.encode("ab", ClipFlavour::open_clip, 4).truncated);
  EXPECT_EQ(tokenizer.encode("ab", ClipFlavour::open_clip, 5).ids, (std::vector<std::int64_t>{513, 512, 514, 0, 0}));
  EXPECT_EQ(tokenizer.encode("ab", ClipFlavour::hugging_face, 5).ids, (std::vector<std::int64_t>{513, 512, 514, 514, 514}));
}

TEST(ClipBpe, SpecialStringsHaveTheirFlavoursSpelling) {
  const ClipBpe tokenizer({"a b</w>"});
  EXPECT_EQ(tokenizer.encode("<end_of_text>ab", ClipFlavour::open_clip, 4).ids, (std::vector<std::int64_t>{513, 514, 512, 514}));
  EXPECT_EQ(tokenizer.encode("ab<|startoftext|>", ClipFlavour::hugging_face, 4).ids, (std::vector<std::int64_t>{513, 512, 513, 514}));
}

TEST(ClipBpe, MalformedVocabulariesAreRefused) {
  const auto path = (std::filesystem::temp_directory_path() / "me2-merges-test.txt").string();
  for (const char* content : {"", "#version\n", "#version\nab\n", "#version\na b c\n", "#version\n b\n"}) {
    FILE* f = std::fopen(path.c_str(), "wb");
    std::fputs(content, f);
    std::fclose(f);
    EXPECT_THROW(ClipBpe::open(path), Error) << content;
  }
  std::filesystem::remove(path);
  EXPECT_THROW(ClipBpe::open("/nonexistent/merges.txt"), Error);
}

}  // namespace
}  // namespace me2::text
