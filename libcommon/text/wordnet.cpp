#include "text/wordnet.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <utility>

#include "base/error.h"
#include "base/file.h"

namespace me2::text {
namespace {

constexpr std::array kNames{"noun", "verb", "adj", "adv"};
using Rules = std::vector<std::pair<std::string_view, std::string_view>>;
const std::array<Rules, 4> kRules{
    Rules{{"s", ""}, {"ses", "s"}, {"ves", "f"}, {"xes", "x"}, {"zes", "z"}, {"ches", "ch"}, {"shes", "sh"}, {"men", "man"}, {"ies", "y"}},
    Rules{{"s", ""}, {"ies", "y"}, {"es", "e"}, {"es", ""}, {"ed", "e"}, {"ed", ""}, {"ing", "e"}, {"ing", ""}},
    Rules{{"er", ""}, {"est", ""}, {"er", "e"}, {"est", "e"}},
    Rules{}};

std::string_view text_of(const MappedFile& file) { return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()}; }

std::string_view next_word(std::string_view& line) {
  const auto start = line.find_first_not_of(' ');
  if (start == std::string_view::npos) return line = {};
  const auto end = std::min(line.find(' ', start), line.size());
  const auto word = line.substr(start, end - start);
  line.remove_prefix(end);
  return word;
}

long number(std::string_view word, int base, const std::string& where) {
  long value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value, base);
  if (error != std::errc() || end != word.data() + word.size() || value < 0) throw data_error("{}: a number expected, \"{}\" found", where, word);
  return value;
}

}  // namespace

struct WordNet::Part {
  MappedFile index, data;
  std::map<std::string, std::vector<std::string>, std::less<>> exceptions;

  Part(const std::string& index_path, const std::string& data_path) : index(index_path), data(data_path) {}

  std::string_view entry(std::string_view lemma) const {  // the index line, empty when there is none
    const auto text = text_of(index);
    std::size_t low = 0, high = text.size();  // byte positions; the lines are sorted, the licence's lines start with a space
    while (low < high) {
      const auto middle = low + (high - low) / 2;
      const auto start = middle == 0 ? 0 : text.rfind('\n', middle - 1) + 1;  // npos + 1 == 0
      const auto end = std::min(text.find('\n', middle), text.size());
      const auto line = text.substr(start, end - start);
      const auto key = line.substr(0, line.find(' '));
      if (key == lemma && !key.empty()) return line;
      if (key < lemma) low = end + 1;
      else high = start;
    }
    return {};
  }
};

WordNet::WordNet(const std::string& folder) {
  for (const auto* name : kNames) {
    const auto path = [&](const std::string& file) { return folder + "/" + file; };
    try {
      parts_.push_back(std::make_unique<Part>(path(std::string("index.") + name), path(std::string("data.") + name)));
      const std::string lines = read_file(path(std::string(name) + ".exc"));
      for (std::size_t at = 0; at < lines.size();) {
        const auto end = std::min(lines.find('\n', at), lines.size());
        std::string_view line(lines.data() + at, end - at);
        const std::string form(next_word(line));
        while (!(line.empty())) {
          const auto word = next_word(line);
          if (!word.empty()) parts_.back()->exceptions[form].emplace_back(word);
        }
        at = end + 1;
      }
    } catch (const Error& e) {
      throw missing_error("{} (METEOR needs WordNet's dictionary files: Debian's wordnet-base, or --wordnet FOLDER)", e.what());
    }
  }
}
WordNet::~WordNet() = default;
WordNet::WordNet(WordNet&&) noexcept = default;

std::string WordNet::default_folder() {
  const char* set = std::getenv("ME2_WORDNET");
  return set && *set ? set : "/usr/share/wordnet";
}

std::vector<std::string> WordNet::morphy(const std::string& word, int part_of_speech) const {
  const Part& part = *parts_.at(part_of_speech);
  const auto known = [&](const std::vector<std::string>& forms) {
    std::vector<std::string> out;
    for (const auto& form : forms)
      if (!form.empty() && !part.entry(form).empty() && std::find(out.begin(), out.end(), form) == out.end()) out.push_back(form);
    return out;
  };
  const auto apply = [&](const std::vector<std::string>& forms) {
    std::vector<std::string> out;
    for (const auto& form : forms)
      for (const auto& [suffix, replacement] : kRules[part_of_speech])
        if (form.ends_with(suffix)) out.push_back(form.substr(0, form.size() - suffix.size()) + std::string(replacement));
    return out;
  };
  if (const auto it = part.exceptions.find(word); it != part.exceptions.end()) {
    std::vector<std::string> forms{word};
    forms.insert(forms.end(), it->second.begin(), it->second.end());
    return known(forms);
  }
  std::vector<std::string> forms = apply({word}), first = forms;
  first.insert(first.begin(), word);
  if (auto found = known(first); !found.empty()) return found;
  while (!forms.empty()) {
    forms = apply(forms);
    if (auto found = known(forms); !found.empty()) return found;
  }
  return {};
}

std::set<std::string> WordNet::single_word_synonyms(const std::string& word) const {
  std::set<std::string> out;
  std::string lemma = word;
  for (char& c : lemma) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  for (int p = 0; p < 4; ++p) {
    const Part& part = *parts_[p];
    for (const auto& form : morphy(lemma, p)) {
      auto line = part.entry(form);  // lemma pos synset_cnt p_cnt [ptr...] sense_cnt tagsense_cnt offset...
      const std::string& where = part.index.path();
      next_word(line), next_word(line);
      const long synsets = number(next_word(line), 10, where);
      for (long skip = number(next_word(line), 10, where) + 2; skip > 0; --skip) next_word(line);
      for (long s = 0; s < synsets; ++s) {
        const auto offset = static_cast<std::size_t>(number(next_word(line), 10, where));
        const auto data = text_of(part.data);
        if (offset >= data.size()) throw data_error("{}: \"{}\" points beyond the end of {}", where, form, part.data.path());
        auto entry = data.substr(offset, std::min(data.find('\n', offset), data.size()) - offset);
        next_word(entry), next_word(entry), next_word(entry);  // offset, file number, type
        for (long words = number(next_word(entry), 16, part.data.path()); words > 0; --words) {
          std::string name(next_word(entry));
          next_word(entry);  // lex_id
          if (name.ends_with(')')) name = name.substr(0, name.find('('));
          if (name.find('_') == std::string::npos) out.insert(std::move(name));
        }
      }
    }
  }
  return out;
}

}  // namespace me2::text
