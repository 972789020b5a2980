#include "text/nltk_tokens.h"

#include <array>

#include "text/unicode.h"

namespace me2::text {
namespace {

using Text = std::u32string;
using View = std::u32string_view;

bool in(char32_t c, View set) { return set.find(c) != View::npos; }
bool digit(char32_t c) { return c >= U'0' && c <= U'9'; }
bool word_char(char32_t c) { return c == U'_' || is_letter(c) || is_number(c); }
char32_t ascii_lower(char32_t c) { return c >= U'A' && c <= U'Z' ? c + 32 : c; }

bool matches(View text, std::size_t at, View lower_word) {  // ignoring case
  if (at + lower_word.size() > text.size()) return false;
  for (std::size_t k = 0; k < lower_word.size(); ++k)
    if (ascii_lower(text[at + k]) != lower_word[k]) return false;
  return true;
}
bool boundary(View text, std::size_t at) {  // \b
  const bool before = at > 0 && word_char(text[at - 1]), after = at < text.size() && word_char(text[at]);
  return before != after;
}

Text spaced(View text, auto&& length_at) {  // " x " around every match; length_at(i): length of a match at i, or 0
  Text out;
  for (std::size_t i = 0; i < text.size();) {
    if (const std::size_t n = length_at(i)) {
      out += U' ';
      out += text.substr(i, n);
      out += U' ';
      i += n;
    } else {
      out += text[i++];
    }
  }
  return out;
}

std::size_t run(View text, std::size_t at, char32_t c) {
  std::size_t n = 0;
  while (at + n < text.size() && text[at + n] == c) ++n;
  return n;
}

Text opening_quotes(View in_text) {
  Text t = spaced(in_text, [&](std::size_t i) -> std::size_t { return in(in_text[i], U"«“‘„") ? 1 : run(in_text, i, U'`'); });
  if (!t.empty() && t[0] == U'"') t.replace(0, 1, U"``");
  t = spaced(t, [&](std::size_t i) -> std::size_t { return matches(t, i, U"``") ? 2 : 0; });
  Text out;  // ([ ([{<])("|'{2}) -> \1 ``
  for (std::size_t i = 0; i < t.size(); ++i) {
    out += t[i];
    const std::size_t n = !in(t[i], U" ([{<") || i + 1 >= t.size() ? 0 : t[i + 1] == U'"' ? 1 : matches(t, i + 1, U"''") ? 2 : 0;
    if (n) out += U" `` ", i += n;
  }
  t = std::move(out);
  out.clear();  // (')(?!re|ve|ll|m|t|s|d|n)(\w)\b -> \1 \2: a quote before a one-letter word
  for (std::size_t i = 0; i < t.size(); ++i) {
    out += t[i];
    if (t[i] != U'\'' || i + 1 >= t.size() || !word_char(t[i + 1]) || !boundary(t, i + 2)) continue;
    bool clitic = false;
    for (const View c : {View(U"re"), View(U"ve"), View(U"ll"), View(U"m"), View(U"t"), View(U"s"), View(U"d"), View(U"n")}) clitic = clitic || matches(t, i + 1, c);
    if (!clitic) out += U' ', out += t[++i];
  }
  return out;
}

Text final_period(View t, View closers, bool space_after) {  // ([^.])(\.)([closers]*)\s*$
  std::size_t end = t.size();
  while (end > 0 && is_python_space(t[end - 1])) --end;
  // With spaces among the closers the run may begin anywhere in them; regexes take the leftmost period that fits.
  std::size_t at = end;
  while (at > 0 && in(t[at - 1], closers)) --at;
  if (at < 2 || t[at - 1] != U'.' || t[at - 2] == U'.') return Text(t);
  Text out(t.substr(0, at - 1));
  out += U" . ";
  out.erase(out.size() - (space_after ? 0 : 1));
  // \1 \2 \3 : what follows the period keeps its text; the greedy class has taken trailing spaces when a space is in it.
  out += t.substr(at, (space_after ? t.size() : end) - at);
  if (space_after) out += U' ';
  return out;
}

Text punctuation(Text t) {
  t = final_period(t, U"])}>\"'»”’ ", true);
  Text out;
  for (std::size_t i = 0; i < t.size(); ++i) {  // [:,] unless before a digit; the character after it is taken with it
    if (in(t[i], U":,") && i + 1 < t.size() && !digit(t[i + 1])) {
      out += U' ', out += t[i], out += U' ', out += t[i + 1];
      ++i;
    } else {
      out += t[i];
    }
  }
  t = std::move(out);
  if (!t.empty() && in(t.back(), U":,")) {
    const char32_t c = t.back();
    t.pop_back();
    t += U' ', t += c, t += U' ';
  }
  t = spaced(t, [&](std::size_t i) -> std::size_t { return run(t, i, U'.') >= 2 ? run(t, i, U'.') : 0; });
  t = spaced(t, [&](std::size_t i) -> std::size_t { return in(t[i], U";@#$%&"); });
  t = final_period(t, U"])}>\"'", false);
  t = spaced(t, [&](std::size_t i) -> std::size_t { return in(t[i], U"?!"); });
  out.clear();  // ([^'])'  -> \1 ' followed by a space
  for (std::size_t i = 0; i < t.size(); ++i) {
    if (t[i] != U'\'' && i + 2 < t.size() && t[i + 1] == U'\'' && t[i + 2] == U' ') {
      out += t[i], out += U" ' ";
      i += 2;
    } else {
      out += t[i];
    }
  }
  t = std::move(out);
  return spaced(t, [&](std::size_t i) -> std::size_t { return t[i] == U'*'; });
}

Text clitics(View t, std::initializer_list<View> endings) {  // ([^' ])(ending) followed by a space: split before it
  Text out;
  for (std::size_t i = 0; i < t.size(); ++i) {
    out += t[i];
    if (t[i] == U'\'' || t[i] == U' ') continue;
    for (const View e : endings)
      if (t.substr(i + 1, e.size()) == e && i + 1 + e.size() < t.size() && t[i + 1 + e.size()] == U' ') {
        out += U' ', out += e, out += U' ';
        i += e.size() + 1;
        break;
      }
  }
  return out;
}

Text contraction(View t, View first, View second, bool start_boundary, bool needs_space) {
  Text out;
  for (std::size_t i = 0; i < t.size(); ++i) {
    const auto end = i + first.size() + second.size();
    const bool fits = matches(t, i, first) && matches(t, i + first.size(), second) && (!start_boundary || boundary(t, i)) &&
                      (needs_space ? end < t.size() && is_python_space(t[end]) : boundary(t, end));
    if (!fits) {
      out += t[i];
      continue;
    }
    out += U' ', out += t.substr(i, first.size()), out += U' ', out += t.substr(i + first.size(), second.size()), out += U' ';
    i = end - 1;
  }
  return out;
}

// The tokens of a sentence of ASCII letters, digits, single hyphens, commas at the end of a word and a final period, to which the rules above do nothing
// else than split off comma and period; false for any other. Most captions are such, and it is ten times as fast.
bool plain_tokens(View t, std::vector<Text>& out) {
  while (!t.empty() && t.back() == U' ') t.remove_suffix(1);
  const bool period = !t.empty() && t.back() == U'.';
  if (period) t.remove_suffix(1);
  if (t.empty()) return false;
  const auto letter = [](char32_t c) { return (c >= U'a' && c <= U'z') || (c >= U'A' && c <= U'Z'); };
  const auto end_of_word = [&](std::size_t i) { return i > 0 && (letter(t[i - 1]) || digit(t[i - 1])) && i + 1 < t.size() && t[i + 1] == U' '; };
  for (std::size_t i = 0; i < t.size(); ++i) {
    const char32_t c = t[i], before = i ? t[i - 1] : U' ';
    if (c == U',' ? !end_of_word(i) : c == U'-' ? before == U'-' : c != U' ' && !letter(c) && !digit(c)) return false;
    if (i < 3 || ascii_lower(c) != ascii_lower(before)) continue;
    for (const View w : {View(U"cannot"), View(U"gimme"), View(U"gonna"), View(U"gotta"), View(U"lemme"), View(U"wanna")})  // all with a double third letter
      if (matches(t, i - 3, w)) return false;
  }
  for (std::size_t i = 0; i < t.size();) {
    while (i < t.size() && t[i] == U' ') ++i;
    const std::size_t from = i;
    while (i < t.size() && t[i] != U' ') ++i;
    const bool comma = i > from && t[i - 1] == U',';
    if (i > from) out.emplace_back(t.substr(from, i - from - comma));
    if (comma) out.emplace_back(U",");
  }
  if (period) out.emplace_back(U".");
  return true;
}

bool closer(char32_t c) { return in(c, U")]}\"'"); }

}  // namespace

std::vector<std::u32string> split_sentences(std::u32string_view text) {
  std::vector<Text> out;
  std::size_t start = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (!in(text[i], U".?!")) continue;
    std::size_t after = i + 1;
    while (after < text.size() && closer(text[after])) ++after;
    std::size_t next = after;
    while (next < text.size() && is_python_space(text[next])) ++next;
    if (next == after || next >= text.size()) continue;  // the text goes on without a space, or ends
    if (text[i] == U'.') {
      if (i > 0 && text[i - 1] == U'.') continue;  // an ellipsis ends no sentence
      std::size_t token = i;
      while (token > start && !is_python_space(text[token - 1]) && !in(text[token - 1], U"([{\"'`,;:")) --token;
      const View word = text.substr(token, i - token);
      if (word.empty()) continue;
      const bool next_lower = is_letter(text[next]) && lower_one(text[next]) == text[next];
      const bool initial = word.size() == 1 && is_letter(word[0]);
      bool number = true;
      for (char32_t c : word) number = number && (digit(c) || in(c, U".,-"));
      // An initial before a word, or a number before a lower-case word, goes on: the orthographic rules of punkt.py.
      if ((initial && is_letter(text[next])) || (number && next_lower)) continue;
    }
    out.emplace_back(text.substr(start, after - start));
    start = next;
  }
  View rest = text.substr(start);
  while (!rest.empty() && is_python_space(rest.back())) rest.remove_suffix(1);
  if (!rest.empty()) out.emplace_back(rest);
  return out;
}

std::vector<std::u32string> treebank_tokens(std::u32string_view sentence) {
  if (std::vector<Text> plain; plain_tokens(sentence, plain)) return plain;
  Text t = punctuation(opening_quotes(sentence));
  t = spaced(t, [&](std::size_t i) -> std::size_t { return in(t[i], U"][(){}<>"); });
  t = spaced(t, [&](std::size_t i) -> std::size_t { return matches(t, i, U"--") ? 2 : 0; });
  t = U' ' + t + U' ';
  t = spaced(t, [&](std::size_t i) -> std::size_t { return in(t[i], U"»”’"); });
  t = spaced(t, [&](std::size_t i) -> std::size_t { return matches(t, i, U"''") ? 2 : 0; });
  Text quoted;
  for (const char32_t c : t) c == U'"' ? quoted += U" '' " : quoted += c;
  t = clitics(quoted, {U"'s", U"'S", U"'m", U"'M", U"'d", U"'D", U"'"});
  t = clitics(t, {U"'ll", U"'LL", U"'re", U"'RE", U"'ve", U"'VE", U"n't", U"N'T"});
  constexpr std::array<std::array<View, 2>, 8> kSplit{{{U"can", U"not"}, {U"d", U"'ye"}, {U"gim", U"me"}, {U"gon", U"na"}, {U"got", U"ta"}, {U"lem", U"me"}, {U"more", U"'n"}, {U"wan", U"na"}}};
  for (const auto& [first, second] : kSplit) t = contraction(t, first, second, true, first == U"wan");
  for (const View second : {View(U"is"), View(U"was")}) t = contraction(t, U"'t", second, false, false);
  std::vector<Text> out;
  for (std::size_t i = 0; i < t.size();) {
    while (i < t.size() && is_python_space(t[i])) ++i;
    const std::size_t from = i;
    while (i < t.size() && !is_python_space(t[i])) ++i;
    if (i > from) out.push_back(t.substr(from, i - from));
  }
  return out;
}

std::vector<std::u32string> word_tokens(std::string_view utf8) {
  std::vector<Text> out;
  for (const auto& sentence : split_sentences(decode_utf8(utf8)))
    for (auto& token : treebank_tokens(sentence)) out.push_back(std::move(token));
  return out;
}

}  // namespace me2::text
