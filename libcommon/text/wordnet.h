// WordNet 3.0 read from its dictionary files (index.*, data.*, *.exc; Debian: wordnet-base), in place: memory-mapped, found by
// bisection. Source: wndb(5), morphy(7); nltk 3.8.1 corpus/reader/wordnet.py for which forms are tried.
#pragma once
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace me2::text {

class WordNet {
 public:
  // Exit::no_input naming the file and the package when a dictionary file is not there.
  explicit WordNet(const std::string& folder);
  // The folder given, else $ME2_WORDNET, else /usr/share/wordnet.
  static std::string default_folder();
  ~WordNet();
  WordNet(WordNet&&) noexcept;

  // Lemma names without an underscore, of all synsets of all parts of speech of `word`: as written (capitals kept), adjective
  // markers such as "(p)" taken off. Thread-safe.
  std::set<std::string> single_word_synonyms(const std::string& word) const;
  // The forms of `word` (lower case) that are lemmas; part of speech: 0 noun, 1 verb, 2 adjective, 3 adverb.
  std::vector<std::string> morphy(const std::string& word, int part_of_speech) const;

 private:
  struct Part;
  std::vector<std::unique_ptr<Part>> parts_;
};

}  // namespace me2::text
