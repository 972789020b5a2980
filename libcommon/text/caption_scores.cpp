#include "text/caption_scores.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <unordered_map>

#include "base/error.h"
#include "text/nltk_tokens.h"
#include "text/unicode.h"

namespace me2::text {
namespace {

std::size_t longest_common_subsequence(const Tokens& a, const Tokens& b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (const auto& word : a) {
    std::size_t diagonal = 0;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = word == b[j - 1] ? diagonal + 1 : std::max(above, row[j - 1]);
      diagonal = above;
    }
  }
  return row.back();
}

FMeasure f_measure(double overlap, double reference, double hypothesis) {
  FMeasure out;
  if (hypothesis > 0) out.precision = overlap / hypothesis;
  if (reference > 0) out.recall = overlap / reference;
  if (out.precision + out.recall > 0) out.f = 2 * out.precision * out.recall / (out.precision + out.recall);
  return out;
}

// n-grams (n up to 4) of words that have been numbered from 1; 0 fills up the shorter ones.
using Gram = std::array<std::uint32_t, 4>;

struct GramHash {
  std::size_t operator()(const Gram& g) const {
    std::uint64_t h = (std::uint64_t{g[0]} << 32 | g[1]) * 0x9E3779B97F4A7C15ull;
    h = (h ^ h >> 32 ^ (std::uint64_t{g[2]} << 32 | g[3])) * 0xD1B54A32D192ED03ull;
    return h ^ h >> 29;
  }
};

template <class Key>
std::vector<std::uint32_t> numbered(std::unordered_map<Key, std::uint32_t>& numbers, const Tokens& tokens) {
  std::vector<std::uint32_t> out;
  for (const auto& token : tokens) out.push_back(numbers.try_emplace(Key(token), static_cast<std::uint32_t>(numbers.size()) + 1).first->second);
  return out;
}

using Counted = std::vector<std::pair<Gram, int>>;  // sorted
Counted count_grams(const std::vector<std::uint32_t>& words, std::size_t n) {
  std::vector<Gram> all;
  for (std::size_t i = 0; i + n <= words.size(); ++i) {
    Gram g{};
    std::copy_n(words.begin() + static_cast<std::ptrdiff_t>(i), n, g.begin());
    all.push_back(g);
  }
  std::sort(all.begin(), all.end());
  Counted out;
  for (const auto& g : all) {
    if (out.empty() || out.back().first != g) out.emplace_back(g, 0);
    ++out.back().second;
  }
  return out;
}

// f(key, value in a, value in b) for the keys that two sorted lists have in common.
template <class List>
void in_common(const List& a, const List& b, auto&& f) {
  for (auto x = a.begin(), y = b.begin(); x != a.end() && y != b.end();) {
    if (x->first < y->first) ++x;
    else if (y->first < x->first) ++y;
    else f(x->first, x->second, y->second), ++x, ++y;
  }
}

}  // namespace

std::vector<std::string> rouge_tokens(std::string_view utf8) {
  // Lower-casing may bring an ASCII letter out of another one (the Kelvin sign), so it is Unicode's, as Python's.
  const std::string text = encode_utf8(lower(decode_utf8(utf8)));
  std::vector<std::string> out(1);
  for (const char c : text) {
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) out.back() += c;
    else if (!out.back().empty()) out.emplace_back();
  }
  if (out.back().empty()) out.pop_back();
  return out;
}

FMeasure rouge_n(const Tokens& reference, const Tokens& hypothesis, int n) {
  if (n < 1 || n > 4) throw data_error("ROUGE of 1 to 4 words expected, {} found", n);
  std::unordered_map<std::string_view, std::uint32_t> numbers;
  const auto counted = [&](const Tokens& t) { return count_grams(numbered(numbers, t), static_cast<std::size_t>(n)); };
  const auto grams = [n](const Tokens& t) { return std::max(0.0, static_cast<double>(t.size()) - n + 1); };
  double overlap = 0;
  in_common(counted(reference), counted(hypothesis), [&](const Gram&, int r, int h) { overlap += std::min(r, h); });
  return f_measure(overlap, grams(reference), grams(hypothesis));
}

FMeasure rouge_l(const Tokens& reference, const Tokens& hypothesis) {
  if (reference.empty() || hypothesis.empty()) return {};
  return f_measure(static_cast<double>(longest_common_subsequence(reference, hypothesis)), static_cast<double>(reference.size()), static_cast<double>(hypothesis.size()));
}

double bootstrap_median(std::span<const double> values, std::span<const std::vector<std::int64_t>> draws) {
  std::vector<double> means;
  for (const auto& draw : draws) {
    double sum = 0;
    for (const auto i : draw) {
      if (i < 0 || i >= static_cast<std::int64_t>(values.size())) throw data_error("a bootstrap draw names value {} of {}", i, values.size());
      sum += values[i];
    }
    means.push_back(sum / static_cast<double>(draw.size()));
  }
  if (means.empty()) throw data_error("no bootstrap draws");
  std::sort(means.begin(), means.end());
  const double at = 0.5 * static_cast<double>(means.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  return means[below] + (at - static_cast<double>(below)) * (means[std::min(below + 1, means.size() - 1)] - means[below]);
}

std::vector<std::string> coco_tokens(std::string_view utf8) {
  std::u32string text = lower(decode_utf8(utf8));
  // Every word's final period is split off, unless the word is an acronym (u.s.) or a title.
  std::u32string spaced;
  for (std::size_t i = 0; i < text.size(); ++i) {
    spaced += text[i];
    const bool ends_word = i + 1 == text.size() || is_python_space(text[i + 1]);
    if (ends_word && text[i] == U'.') {
      std::size_t from = i;
      while (from > 0 && !is_python_space(text[from - 1])) --from;
      const auto word = std::u32string_view(text).substr(from, i - from);
      const bool acronym = word.size() >= 3 && word[word.size() - 2] == U'.';
      const bool title = word == U"mr" || word == U"mrs" || word == U"ms" || word == U"dr" || word == U"st";
      if (!acronym && !title) spaced.insert(spaced.size() - 1, 1, U' ');
    }
  }
  static const std::vector<std::string> punctuation{"''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";"};
  std::vector<std::string> out;
  for (const auto& token : treebank_tokens(spaced)) {
    std::string word = encode_utf8(token);
    if (word == "(") word = "-lrb-";
    else if (word == ")") word = "-rrb-";
    if (std::find(punctuation.begin(), punctuation.end(), word) == punctuation.end() && word.find_first_not_of('.') != std::string::npos) out.push_back(std::move(word));
  }
  return out;
}

double coco_rouge_l(std::span<const Tokens> references, const Tokens& hypothesis) {
  double precision = 0, recall = 0;
  for (const auto& r : references) {
    const auto common = static_cast<double>(longest_common_subsequence(r, hypothesis));
    if (!hypothesis.empty()) precision = std::max(precision, common / static_cast<double>(hypothesis.size()));
    if (!r.empty()) recall = std::max(recall, common / static_cast<double>(r.size()));
  }
  constexpr double squared = 1.2 * 1.2;
  return precision > 0 && recall > 0 ? (1 + squared) * precision * recall / (recall + squared * precision) : 0;
}

BleuCounts bleu_counts(std::span<const Tokens> references, const Tokens& hypothesis) {
  BleuCounts out;
  out.length = static_cast<double>(hypothesis.size());
  double nearest = -1;
  for (const auto& r : references) {
    const double length = static_cast<double>(r.size()), gap = std::abs(length - out.length), best = std::abs(nearest - out.length);
    if (nearest < 0 || gap < best || (gap == best && length < nearest)) nearest = length;
  }
  out.reference_length = std::max(0.0, nearest);
  std::unordered_map<std::string_view, std::uint32_t> numbers;
  const auto said = numbered(numbers, hypothesis);
  std::vector<std::vector<std::uint32_t>> right;
  for (const auto& r : references) right.push_back(numbered(numbers, r));
  for (std::size_t n = 1; n <= 4; ++n) {
    out.guess[n - 1] = std::max(0.0, out.length - static_cast<double>(n) + 1);
    const Counted mine = count_grams(said, n);
    Counted most = mine;  // how often the reference that has it most often has it, and not more than the hypothesis
    for (auto& [gram, count] : most) count = 0;
    for (const auto& r : right) {
      auto at = most.begin();
      in_common(mine, count_grams(r, n), [&](const Gram& gram, int have, int reference) {
        while (at->first != gram) ++at;
        at->second = std::max(at->second, std::min(have, reference));
      });
    }
    for (const auto& [gram, count] : most) out.match[n - 1] += count;
  }
  return out;
}

std::array<double, 4> bleu(const BleuCounts& c) {
  constexpr double tiny = 1e-15, small = 1e-9;  // as bleu_scorer.py guards its logarithm and divisions
  std::array<double, 4> out{};
  double product = 1;
  const double ratio = (c.length + tiny) / (c.reference_length + small);
  for (int k = 0; k < 4; ++k) {
    product *= (c.match[k] + tiny) / (c.guess[k] + small);
    out[k] = std::pow(product, 1.0 / (k + 1)) * (ratio < 1 ? std::exp(1 - 1 / ratio) : 1);
  }
  return out;
}

struct Cider::Memory {
  using Weights = std::vector<std::pair<std::uint32_t, double>>;  // by number of the n-gram, sorted; counts until weighed
  struct Vector {
    std::array<Weights, 4> weight;
    std::array<double, 4> norm{};
    double length = 0;
  };
  std::unordered_map<std::string, std::uint32_t> words;
  std::unordered_map<Gram, std::uint32_t, GramHash> grams;
  std::vector<double> documents;             // images whose references have the n-gram
  std::vector<std::vector<Vector>> references;
  double log_images = 0;

  void weigh(Vector& v) const {
    for (int n = 0; n < 4; ++n) {
      for (auto& [gram, weight] : v.weight[n]) {
        if (n == 1) v.length += weight;  // Fidelity: the length is counted in bigrams
        weight *= log_images - std::log(gram < documents.size() ? documents[gram] : 1.0);
        v.norm[n] += weight * weight;
      }
      v.norm[n] = std::sqrt(v.norm[n]);
    }
  }
};

Cider::Cider(std::span<const std::vector<Tokens>> references) : memory_(std::make_unique<Memory>()) {
  Memory& m = *memory_;
  m.log_images = std::log(static_cast<double>(references.size()));
  std::vector<std::size_t> last;  // image that had the n-gram last
  for (std::size_t i = 0; i < references.size(); ++i) {
    m.references.emplace_back();
    for (const auto& tokens : references[i]) {
      const auto words = numbered(m.words, tokens);
      auto& v = m.references.back().emplace_back();
      for (std::size_t n = 1; n <= 4; ++n) {
        for (const auto& [gram, count] : count_grams(words, n)) {
          const auto number = m.grams.try_emplace(gram, static_cast<std::uint32_t>(m.grams.size())).first->second;
          if (number == last.size()) last.push_back(i), m.documents.push_back(1);
          else if (last[number] != i) last[number] = i, ++m.documents[number];
          v.weight[n - 1].emplace_back(number, count);
        }
        std::sort(v.weight[n - 1].begin(), v.weight[n - 1].end());
      }
    }
  }
  for (auto& of_image : m.references)
    for (auto& v : of_image) m.weigh(v);
}
Cider::~Cider() = default;

double Cider::score(std::size_t image, const Tokens& hypothesis) const {
  const Memory& m = *memory_;
  Memory::Vector h;
  std::vector<std::uint32_t> words;
  auto unknown = static_cast<std::uint32_t>(m.words.size());  // words that no reference has still make n-grams, which count in the norm
  std::unordered_map<std::string_view, std::uint32_t> others;
  for (const auto& token : hypothesis) {
    const auto it = m.words.find(token);
    words.push_back(it != m.words.end() ? it->second : others.try_emplace(token, ++unknown).first->second);
  }
  for (std::size_t n = 1; n <= 4; ++n) {
    auto number = static_cast<std::uint32_t>(m.grams.size());
    for (const auto& [gram, count] : count_grams(words, n)) {
      const auto it = m.grams.find(gram);
      h.weight[n - 1].emplace_back(it != m.grams.end() ? it->second : number++, count);
    }
    std::sort(h.weight[n - 1].begin(), h.weight[n - 1].end());
  }
  m.weigh(h);
  double total = 0;
  for (const auto& r : m.references.at(image)) {
    const double gap = h.length - r.length, penalty = std::exp(-gap * gap / (2 * 6.0 * 6.0));
    for (int n = 0; n < 4; ++n) {
      double dot = 0;
      in_common(h.weight[n], r.weight[n], [&](std::uint32_t, double mine, double right) { dot += std::min(mine, right) * right; });
      if (h.norm[n] != 0 && r.norm[n] != 0) dot /= h.norm[n] * r.norm[n];
      total += dot * penalty / 4;
    }
  }
  return m.references[image].empty() ? 0 : total / static_cast<double>(m.references[image].size()) * 10;
}

}  // namespace me2::text
