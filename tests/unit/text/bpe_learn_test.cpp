#include "text/bpe_learn.h"

#include <gtest/gtest.h>

#include "text/clip_bpe.h"

namespace me2::text {
namespace {

TEST(BpeLearn, EveryWordOfTheTextsBecomesOneToken) {
  const std::vector<std::string> texts{"a red ball on the grass", "a red box", "the ball"};
  const ClipBpe bpe(learn_merges(texts));
  for (const auto& text : texts) {
    const auto ids = bpe.encode(text, ClipFlavour::open_clip, 16).ids;
    const auto words = 1 + std::count(text.begin(), text.end(), ' ');
    EXPECT_EQ(ids[static_cast<std::size_t>(words) + 1], bpe.size() - 1) << text;  // start, the words, end
  }
}

TEST(BpeLearn, TheMostFrequentPairComesFirst) {  // counted by hand: "ab" stands in four words, any other pair in fewer
  const std::vector<std::string> texts{"abc abd abe xab cd"};
  EXPECT_EQ(learn_merges(texts).front(), "a b");  // in abc, abd, abe; in xab the b ends the word
}

}  // namespace
}  // namespace me2::text
