#include "text/bpe_learn.h"

#include <map>
#include <sstream>

#include "base/error.h"

namespace me2::text {

std::vector<std::string> learn_merges(std::span<const std::string> texts, std::size_t most) {
  std::map<std::string, std::int64_t> counts;
  for (const auto& text : texts) {
    std::istringstream words(text);
    for (std::string word; words >> word;) {
      for (const char c : word)
        if (static_cast<unsigned char>(c) < 33 || static_cast<unsigned char>(c) > 126) throw data_error("the caption \"{}\" is not plain ASCII: give a vocabulary of its own", text);
      ++counts[word];
    }
  }
  std::vector<std::pair<std::vector<std::string>, std::int64_t>> words;  // symbols, the last one marked, and how often
  for (const auto& [word, n] : counts) {
    std::vector<std::string> symbols;
    for (const char c : word) symbols.emplace_back(1, c);
    symbols.back() += "</w>";
    words.emplace_back(std::move(symbols), n);
  }
  std::vector<std::string> merges;
  while (merges.size() < most) {
    std::map<std::pair<std::string, std::string>, std::int64_t> pairs;
    for (const auto& [symbols, n] : words)
      for (std::size_t i = 0; i + 1 < symbols.size(); ++i) pairs[{symbols[i], symbols[i + 1]}] += n;
    if (pairs.empty()) break;
    auto best = pairs.begin();
    for (auto it = pairs.begin(); it != pairs.end(); ++it)
      if (it->second > best->second) best = it;
    const auto [left, right] = best->first;
    merges.push_back(left + " " + right);
    for (auto& [symbols, n] : words)
      for (std::size_t i = 0; i + 1 < symbols.size(); ++i)
        if (symbols[i] == left && symbols[i + 1] == right) {
          symbols[i] += right;
          symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(i) + 1);
        }
  }
  return merges;
}

std::string merges_text(std::span<const std::string> merges) {
  std::string out = "#version: 0.2\n";
  for (const auto& merge : merges) out += merge + "\n";
  return out;
}

}  // namespace me2::text
