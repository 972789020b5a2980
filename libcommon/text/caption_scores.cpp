#include "text/caption_scores.h"

#include <algorithm>
#include <cmath>
#include <map>

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

using Counts = std::map<std::string, int>;
Counts ngrams(const Tokens& tokens, std::size_t n) {
  Counts out;
  for (std::size_t i = 0; i + n <= tokens.size(); ++i) {
    std::string key = tokens[i];
    for (std::size_t k = 1; k < n; ++k) key += ' ' + tokens[i + k];
    ++out[key];
  }
  return out;
}

double overlap(const Counts& a, const Counts& b) {
  double sum = 0;
  for (const auto& [key, count] : a)
    if (const auto it = b.find(key); it != b.end()) sum += std::min(count, it->second);
  return sum;
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

FMeasure rouge_n(const std::string& reference, const std::string& hypothesis, int n) {
  const Tokens r = rouge_tokens(reference), h = rouge_tokens(hypothesis);
  const auto grams = [n](const Tokens& t) { return std::max(0.0, static_cast<double>(t.size()) - n + 1); };
  return f_measure(overlap(ngrams(r, n), ngrams(h, n)), grams(r), grams(h));
}

FMeasure rouge_l(const std::string& reference, const std::string& hypothesis) {
  const Tokens r = rouge_tokens(reference), h = rouge_tokens(hypothesis);
  if (r.empty() || h.empty()) return {};
  return f_measure(static_cast<double>(longest_common_subsequence(r, h)), static_cast<double>(r.size()), static_cast<double>(h.size()));
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
  for (std::size_t n = 1; n <= 4; ++n) {
    out.guess[n - 1] = std::max(0.0, out.length - static_cast<double>(n) + 1);
    Counts most;
    for (const auto& r : references)
      for (const auto& [key, count] : ngrams(r, n)) most[key] = std::max(most[key], count);
    out.match[n - 1] = overlap(ngrams(hypothesis, n), most);
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

struct Cider::Vector {
  std::array<std::unordered_map<std::string, double>, 4> weight;
  std::array<double, 4> norm{};
  double length = 0;
};

Cider::Cider(std::span<const std::vector<Tokens>> references) : log_images_(std::log(static_cast<double>(references.size()))) {
  for (const auto& of_image : references) {
    std::map<std::string, int> seen;
    for (const auto& tokens : of_image)
      for (std::size_t n = 1; n <= 4; ++n)
        for (const auto& [key, count] : ngrams(tokens, n)) seen[key] = 1;
    for (const auto& [key, one] : seen) documents_[key] += one;
  }
}

Cider::Vector Cider::vectorise(const Tokens& tokens) const {
  Vector v;
  for (std::size_t n = 1; n <= 4; ++n) {
    for (const auto& [key, count] : ngrams(tokens, n)) {
      const auto it = documents_.find(key);
      const double weight = count * (log_images_ - std::log(it == documents_.end() ? 1.0 : std::max(1.0, it->second)));
      v.weight[n - 1][key] = weight;
      v.norm[n - 1] += weight * weight;
      if (n == 2) v.length += count;  // Fidelity: the length is counted in bigrams
    }
    v.norm[n - 1] = std::sqrt(v.norm[n - 1]);
  }
  return v;
}

double Cider::score(std::span<const Tokens> references, const Tokens& hypothesis) const {
  const Vector h = vectorise(hypothesis);
  double total = 0;
  for (const auto& reference : references) {
    const Vector r = vectorise(reference);
    const double gap = h.length - r.length, penalty = std::exp(-gap * gap / (2 * 6.0 * 6.0));
    for (int n = 0; n < 4; ++n) {
      double dot = 0;
      for (const auto& [key, weight] : h.weight[n])
        if (const auto it = r.weight[n].find(key); it != r.weight[n].end()) dot += std::min(weight, it->second) * it->second;
      if (h.norm[n] != 0 && r.norm[n] != 0) dot /= h.norm[n] * r.norm[n];
      total += dot * penalty / 4;
    }
  }
  return references.empty() ? 0 : total / static_cast<double>(references.size()) * 10;
}

}  // namespace me2::text
