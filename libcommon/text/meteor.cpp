#include <algorithm>
#include <cmath>
#include <mutex>
#include <set>
#include <unordered_map>

#include "text/caption_scores.h"
#include "text/nltk_tokens.h"
#include "text/porter.h"
#include "text/unicode.h"

namespace me2::text {
namespace {

struct Token {
  int at;
  std::u32string word;
};

std::vector<Token> tokens_of(const std::string& text) {
  std::vector<Token> out;
  for (const auto& word : word_tokens(text)) out.push_back({static_cast<int>(out.size()), lower(word)});
  return out;
}

// Last to first on both sides; what matches is taken out of both lists.
template <class Match>
std::vector<std::pair<int, int>> pair_up(std::vector<Token>& hypothesis, std::vector<Token>& reference, const Match& match) {
  std::vector<std::pair<int, int>> out;
  for (std::size_t i = hypothesis.size(); i-- > 0;) {
    const auto accepts = match(hypothesis[i].word);
    for (std::size_t j = reference.size(); j-- > 0;)
      if (accepts(reference[j].word)) {
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
  std::mutex mutex;
  std::unordered_map<std::u32string, std::u32string> stems;
  std::unordered_map<std::u32string, std::set<std::u32string>> synonyms;  // of a stem, itself included; entries stay where they are

  template <class Map, class Make>
  const typename Map::mapped_type& get(Map& map, const std::u32string& key, const Make& make) {
    {
      const std::lock_guard lock(mutex);
      if (const auto it = map.find(key); it != map.end()) return it->second;
    }
    auto value = make(key);
    const std::lock_guard lock(mutex);
    return map.emplace(key, std::move(value)).first->second;
  }
};

Meteor::Meteor(const WordNet& wordnet) : wordnet_(&wordnet), memory_(std::make_unique<Memory>()) {}
Meteor::~Meteor() = default;

Meteor::Detail Meteor::compare(const std::string& reference_text, const std::string& hypothesis_text) const {
  std::vector<Token> hypothesis = tokens_of(hypothesis_text), reference = tokens_of(reference_text);
  const double hypothesis_length = static_cast<double>(hypothesis.size()), reference_length = static_cast<double>(reference.size());
  Detail d;
  const auto equal = [](const std::u32string& a) { return [&a](const std::u32string& b) { return a == b; }; };
  d.exact = pair_up(hypothesis, reference, equal);
  for (auto* side : {&hypothesis, &reference})
    for (auto& token : *side) token.word = memory_->get(memory_->stems, token.word, [](const std::u32string& word) { return porter_stem(word); });
  d.stem = pair_up(hypothesis, reference, equal);
  // Fidelity: the synonym stage sees the stems, so many words are not found in WordNet, and names with capitals never match.
  if (!reference.empty())
    d.synonym = pair_up(hypothesis, reference, [&](const std::u32string& stem) {
      const auto& set = memory_->get(memory_->synonyms, stem, [&](const std::u32string& word) {
        std::set<std::u32string> out{word};
        for (const auto& name : wordnet_->single_word_synonyms(encode_utf8(word))) out.insert(decode_utf8(name));
        return out;
      });
      return [&set](const std::u32string& word) { return set.contains(word); };
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

double Meteor::score(std::span<const std::string> references, const std::string& hypothesis) const {
  double best = 0;
  for (const auto& reference : references) best = std::max(best, compare(reference, hypothesis).score);
  return best;
}

}  // namespace me2::text
