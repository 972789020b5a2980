#include "text/porter.h"

#include <functional>
#include <map>
#include <string_view>
#include <vector>

#include "text/unicode.h"

namespace me2::text {
namespace {

using Word = std::u32string;
using View = std::u32string_view;
using Condition = std::function<bool(const Word& stem)>;

struct Rule {
  View suffix, replacement;
  Condition condition;
};

bool consonant(const Word& w, std::size_t i) {
  if (View(U"aeiou").find(w[i]) != View::npos) return false;
  return w[i] != U'y' || i == 0 || !consonant(w, i - 1);
}

int measure(const Word& stem) {  // m of [C](VC)^m[V]
  int m = 0;
  for (std::size_t i = 1; i < stem.size(); ++i) m += !consonant(stem, i - 1) && consonant(stem, i);
  return m;
}

bool positive(const Word& stem) { return measure(stem) > 0; }
bool above_one(const Word& stem) { return measure(stem) > 1; }

bool has_vowel(const Word& stem) {
  for (std::size_t i = 0; i < stem.size(); ++i)
    if (!consonant(stem, i)) return true;
  return false;
}

bool double_consonant(const Word& w) { return w.size() >= 2 && w[w.size() - 1] == w[w.size() - 2] && consonant(w, w.size() - 1); }

bool ends_cvc(const Word& w) {
  const auto n = w.size();
  if (n >= 3 && consonant(w, n - 3) && !consonant(w, n - 2) && consonant(w, n - 1) && View(U"wxy").find(w[n - 1]) == View::npos) return true;
  return n == 2 && !consonant(w, 0) && consonant(w, 1);
}

Word cut(const Word& w, View suffix) { return w.substr(0, w.size() - suffix.size()); }

using Rules = std::vector<Rule>;
Word apply(const Word& w, const Rules& rules) {  // the first rule whose suffix fits decides
  for (const auto& rule : rules) {
    if (!w.ends_with(rule.suffix)) continue;
    const Word stem = cut(w, rule.suffix);
    return !rule.condition || rule.condition(stem) ? stem + Word(rule.replacement) : w;
  }
  return w;
}

Word step1a(const Word& w) {
  if (w.ends_with(U"ies") && w.size() == 4) return cut(w, U"ies") + U"ie";
  static const Rules rules{{U"sses", U"ss", {}}, {U"ies", U"i", {}}, {U"ss", U"ss", {}}, {U"s", U"", {}}};
  return apply(w, rules);
}

Word step1b(const Word& w) {
  if (w.ends_with(U"ied")) return cut(w, U"ied") + (w.size() == 4 ? U"ie" : U"i");
  if (w.ends_with(U"eed")) return positive(cut(w, U"eed")) ? cut(w, U"eed") + U"ee" : w;
  Word stem;
  bool found = false;
  for (const View suffix : {View(U"ed"), View(U"ing")})
    if (!found && w.ends_with(suffix) && has_vowel(cut(w, suffix))) stem = cut(w, suffix), found = true;
  if (!found) return w;
  for (const auto& [from, to] : {std::pair{View(U"at"), View(U"ate")}, {View(U"bl"), View(U"ble")}, {View(U"iz"), View(U"ize")}})
    if (stem.ends_with(from)) return cut(stem, from) + Word(to);
  if (double_consonant(stem)) return View(U"lsz").find(stem.back()) == View::npos ? stem.substr(0, stem.size() - 1) : stem;
  return measure(stem) == 1 && ends_cvc(stem) ? stem + U"e" : stem;
}

Word step1c(const Word& w) {
  static const Rules rules{{U"y", U"i", [](const Word& s) { return s.size() > 1 && consonant(s, s.size() - 1); }}};
  return apply(w, rules);
}

Word step2(const Word& w) {
  if (w.ends_with(U"alli") && positive(cut(w, U"alli"))) return step2(cut(w, U"alli") + U"al");
  static const Rules rules{{U"ational", U"ate", positive}, {U"tional", U"tion", positive}, {U"enci", U"ence", positive}, {U"anci", U"ance", positive},
                           {U"izer", U"ize", positive}, {U"bli", U"ble", positive}, {U"alli", U"al", positive}, {U"entli", U"ent", positive},
                           {U"eli", U"e", positive}, {U"ousli", U"ous", positive}, {U"ization", U"ize", positive}, {U"ation", U"ate", positive},
                           {U"ator", U"ate", positive}, {U"alism", U"al", positive}, {U"iveness", U"ive", positive}, {U"fulness", U"ful", positive},
                           {U"ousness", U"ous", positive}, {U"aliti", U"al", positive}, {U"iviti", U"ive", positive}, {U"biliti", U"ble", positive},
                           {U"fulli", U"ful", positive}, {U"logi", U"log", [](const Word& stem) { return positive(stem + U'l'); }}};
  return apply(w, rules);
}

Word step3(const Word& w) {
  static const Rules rules{{U"icate", U"ic", positive}, {U"ative", U"", positive}, {U"alize", U"al", positive}, {U"iciti", U"ic", positive},
                           {U"ical", U"ic", positive}, {U"ful", U"", positive}, {U"ness", U"", positive}};
  return apply(w, rules);
}

Word step4(const Word& w) {
  static const Condition ion = [](const Word& s) { return measure(s) > 1 && (s.back() == U's' || s.back() == U't'); };
  static const Rules rules{{U"al", U"", above_one}, {U"ance", U"", above_one}, {U"ence", U"", above_one}, {U"er", U"", above_one}, {U"ic", U"", above_one},
                           {U"able", U"", above_one}, {U"ible", U"", above_one}, {U"ant", U"", above_one}, {U"ement", U"", above_one},
                           {U"ment", U"", above_one}, {U"ent", U"", above_one}, {U"ion", U"", ion}, {U"ou", U"", above_one}, {U"ism", U"", above_one},
                           {U"ate", U"", above_one}, {U"iti", U"", above_one}, {U"ous", U"", above_one}, {U"ive", U"", above_one}, {U"ize", U"", above_one}};
  return apply(w, rules);
}

Word step5(Word w) {
  if (w.ends_with(U"e")) {
    const Word stem = cut(w, U"e");
    if (measure(stem) > 1 || (measure(stem) == 1 && !ends_cvc(stem))) w = stem;
  }
  return w.ends_with(U"ll") && measure(w.substr(0, w.size() - 1)) > 1 ? w.substr(0, w.size() - 1) : w;
}

}  // namespace

std::u32string porter_stem(std::u32string_view word) {
  static const std::map<Word, Word> irregular{{U"sky", U"sky"}, {U"skies", U"sky"}, {U"dying", U"die"}, {U"lying", U"lie"}, {U"tying", U"tie"},
                                              {U"news", U"news"}, {U"innings", U"inning"}, {U"inning", U"inning"}, {U"outings", U"outing"},
                                              {U"outing", U"outing"}, {U"cannings", U"canning"}, {U"canning", U"canning"}, {U"howe", U"howe"},
                                              {U"proceed", U"proceed"}, {U"exceed", U"exceed"}, {U"succeed", U"succeed"}};
  const Word w = lower(word);
  if (const auto it = irregular.find(w); it != irregular.end()) return it->second;
  if (w.size() <= 2) return w;
  return step5(step4(step3(step2(step1c(step1b(step1a(w)))))));
}

}  // namespace me2::text
