#include <algorithm>
#include <cmath>
#include <deque>
#include <mutex>
#include <unordered_map>

#include "text/caption_scores.h"
#include "text/nltk_tokens.h"
#include "text/porter.h"
#include "text/unicode.h"

namespace me2::text {
namespace {

struct Token {
  int at, word, stem;  // position, and the numbers of word and stem
};
using Sentence = std::vector<Token>;

// Last to first on both sides; what matches is taken out of both lists.
template <class Match>
std::vector<std::pair<int, int>> pair_up(Sentence& hypothesis, Sentence& reference, const Match& match) {
  std::vector<std::pair<int, int>> out;
  for (std::size_t i = hypothesis.size(); i-- > 0 && !reference.empty();) {
    const auto accepts = match(hypothesis[i]);
    for (std::size_t j = reference.size(); j-- > 0;)
      if (accepts(reference[j])) {
        out.emplace_back(hypothesis[i].at, reference[j].at);
        hypothesis.erase(hypothesis.begin() + static_cast<std::ptrdiff_t>(i));
        reference.erase(reference.begin() + static_cast<std::ptrdiff_t>(j));
        break;
      }
  }
  return out;
}

}  // namespace

struct Meteor::Memory {
  struct Word {
    std::u32string text;
    int stem = -1;                // not looked up yet
    bool known = false;           // synonyms are
    std::vector<int> synonyms{};  // of a stem, itself included; sorted
  };
  std::mutex mutex;
  std::unordered_map<std::u32string, int> numbers;
  std::deque<Word> words;  // entries stay where they are

  int number(const std::u32string& text) {  // with the mutex held
    const auto [it, fresh] = numbers.try_emplace(text, static_cast<int>(words.size()));
    if (fresh) words.push_back({text});
    return it->second;
  }

  Sentence read(const std::string& text) {
    std::vector<std::u32string> tokens = word_tokens(text);
    for (auto& token : tokens) token = lower(token);
    Sentence out;
    const std::lock_guard lock(mutex);
    for (const auto& token : tokens) {
      const int word = number(token);
      if (words[word].stem < 0) {
        const int stem = number(porter_stem(token));
        words[word].stem = stem;
      }
      out.push_back({static_cast<int>(out.size()), word, words[word].stem});
    }
    return out;
  }

  const std::vector<int>& synonyms(const WordNet& wordnet, int stem) {
    const std::lock_guard lock(mutex);
    if (!words[stem].known) {
      std::vector<int> found{stem};
      for (const auto& name : wordnet.single_word_synonyms(encode_utf8(words[stem].text))) found.push_back(number(decode_utf8(name)));
      std::sort(found.begin(), found.end());
      words[stem].synonyms = std::move(found), words[stem].known = true;
    }
    return words[stem].synonyms;
  }

  Detail compare(const WordNet& wordnet, Sentence reference, Sentence hypothesis);
};

Meteor::Meteor(const WordNet& wordnet) : wordnet_(&wordnet), memory_(std::make_unique<Memory>()) {}
Meteor::~Meteor() = default;

Meteor::Detail Meteor::Memory::compare(const WordNet& wordnet, Sentence reference, Sentence hypothesis) {
  const double hypothesis_length = static_cast<double>(hypothesis.size()), reference_length = static_cast<double>(reference.size());
  Detail d;
  d.exact = pair_up(hypothesis, reference, [](const Token& a) { return [&a](const Token& b) { return a.word == b.word; }; });
  d.stem = pair_up(hypothesis, reference, [](const Token& a) { return [&a](const Token& b) { return a.stem == b.stem; }; });
  // Fidelity: the synonym stage sees the stems, so many words are not found in WordNet, and names with capitals never match.
  d.synonym = pair_up(hypothesis, reference, [&](const Token& a) {
    return [&set = synonyms(wordnet, a.stem)](const Token& b) { return std::binary_search(set.begin(), set.end(), b.stem); };
  });
  auto all = d.exact;
  all.insert(all.end(), d.stem.begin(), d.stem.end());
  all.insert(all.end(), d.synonym.begin(), d.synonym.end());
  if (all.empty()) return d;
  std::sort(all.begin(), all.end());
  d.chunks = 1;
  for (std::size_t k = 1; k < all.size(); ++k) d.chunks += all[k].first != all[k - 1].first + 1 || all[k].second != all[k - 1].second + 1;
  const double m = static_cast<double>(all.size());
  d.precision = m / hypothesis_length;
  d.recall = m / reference_length;
  const double f = d.precision * d.recall / (0.9 * d.precision + 0.1 * d.recall);
  d.score = (1 - 0.5 * std::pow(d.chunks / m, 3)) * f;
  return d;
}

Meteor::Detail Meteor::compare(const std::string& reference, const std::string& hypothesis) const {
  return memory_->compare(*wordnet_, memory_->read(reference), memory_->read(hypothesis));
}

double Meteor::score(std::span<const std::string> references, const std::string& hypothesis) const {
  const Sentence said = memory_->read(hypothesis);
  double best = 0;
  for (const auto& reference : references) best = std::max(best, memory_->compare(*wordnet_, memory_->read(reference), said).score);
  return best;
}

}  // namespace me2::text
