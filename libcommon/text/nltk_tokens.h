// Words of a text as NLTK's word_tokenize finds them, with a sentence splitter that knows no abbreviations.
// Source: nltk 3.8.1 tokenize/destructive.py (NLTKWordTokenizer) and tokenize/punkt.py, untrained. With the English Punkt model only
// texts with abbreviations before a space ("mr. smith") come out otherwise.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace me2::text {

std::vector<std::u32string> split_sentences(std::u32string_view text);
// One sentence: only its final period is split off.
std::vector<std::u32string> treebank_tokens(std::u32string_view sentence);
std::vector<std::u32string> word_tokens(std::string_view utf8);  // split_sentences, then treebank_tokens of each

}  // namespace me2::text
