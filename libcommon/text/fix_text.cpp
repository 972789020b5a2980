#include "text/fix_text.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "text/html_entities.h"
#include "text/unicode.h"

namespace me2::text {
namespace {

using Text = std::u32string;

// Windows-1252 0x80 to 0x9F; 0: not assigned.
constexpr std::array<char32_t, 32> kWindows1252{0x20AC, 0,      0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
                                                0x2039, 0x0152, 0,      0x017D, 0,      0,      0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
                                                0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0,      0x017E, 0x0178};

// ---- HTML

std::optional<Text> numeric_reference(std::string_view digits, int base) {
  std::uint64_t value = 0;
  for (const char c : digits) value = std::min<std::uint64_t>(value * base + (c <= '9' ? c - '0' : (c | 32) - 'a' + 10), 0x110000);
  if (value == 0 || (value >= 0xD800 && value < 0xE000) || value > 0x10FFFF) return Text(1, U'\uFFFD');
  if (value >= 0x80 && value < 0xA0) return Text(1, kWindows1252[value - 0x80] ? kWindows1252[value - 0x80] : static_cast<char32_t>(value));
  const bool invalid = (value >= 1 && value <= 8) || value == 0xB || (value >= 0xE && value <= 0x1F) || value == 0x7F ||
                       (value >= 0xFDD0 && value <= 0xFDEF) || (value & 0xFFFE) == 0xFFFE;
  return invalid ? Text() : Text(1, static_cast<char32_t>(value));
}

bool ascii_digit(char32_t c) { return c >= '0' && c <= '9'; }
bool ascii_alnum(char32_t c) { return ascii_digit(c) || ((c | 32) >= 'a' && (c | 32) <= 'z'); }

// A reference at text[at] == '&': what it stands for and where it ends.
struct Reference {
  Text stands_for;
  std::size_t end;
};
std::optional<Reference> numeric_at(const Text& text, std::size_t at) {
  std::size_t p = at + 1;
  if (p >= text.size() || text[p] != '#') return std::nullopt;
  ++p;
  const bool hex = p < text.size() && (text[p] | 32) == 'x';
  if (hex) ++p;
  std::string digits;
  for (; p < text.size() && (ascii_digit(text[p]) || (hex && (text[p] | 32) >= 'a' && (text[p] | 32) <= 'f')); ++p) digits += static_cast<char>(text[p]);
  if (digits.empty()) return std::nullopt;
  if (p < text.size() && text[p] == ';') ++p;
  return Reference{*numeric_reference(digits, hex ? 16 : 10), p};
}

std::optional<Reference> reference_at(const Text& text, std::size_t at) {  // html.unescape
  if (const auto numeric = numeric_at(text, at)) return numeric;
  std::string name;
  std::size_t p = at + 1;
  for (; p < text.size() && name.size() < 32 && text[p] < 0x80 && std::u32string_view(U"\t\n\f <&#;").find(text[p]) == std::u32string_view::npos; ++p)
    name += static_cast<char>(text[p]);
  if (name.empty()) return std::nullopt;
  bool legacy = false;
  const char32_t whole = html_entity(name, &legacy);
  if (whole && p < text.size() && text[p] == ';') return Reference{Text(1, whole), p + 1};
  for (std::size_t length = name.size(); length >= 2; --length)
    if (const char32_t part = html_entity(name.substr(0, length), &legacy); part && legacy) return Reference{Text(1, part), at + 1 + length};
  return std::nullopt;
}

Text unescape_unambiguous(const Text& text) {  // only references that end in a semicolon; names in capitals too
  Text out;
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] != '&') {
      out += text[i++];
      continue;
    }
    std::size_t p = i + 1;
    if (p < text.size() && text[p] == '#') ++p;
    const std::size_t start = p;
    while (p < text.size() && p - start < 24 && ascii_alnum(text[p])) ++p;
    if (p == start || p >= text.size() || text[p] != ';') {
      out += text[i++];
      continue;
    }
    std::optional<Text> found;
    if (text[i + 1] == '#') {
      if (const auto numeric = numeric_at(text, i); numeric && numeric->end == p + 1) found = numeric->stands_for;
    } else {
      const std::string name = encode_utf8(Text(text, start, p - start));
      if (const char32_t c = html_entity(name)) {
        found = Text(1, c);
      } else if (std::none_of(name.begin(), name.end(), [](char x) { return x >= 'a' && x <= 'z'; }) && !reference_at(text, i)) {
        std::string small = name;
        for (char& x : small) x = static_cast<char>(x >= 'A' && x <= 'Z' ? x | 32 : x);
        if (const char32_t c = html_entity(small)) found = c == U'ß' ? Text(U"SS") : Text(1, upper_one(c));
      }
    }
    if (found) {
      out += *found;
      i = p + 1;
    } else {
      out += text[i++];
    }
  }
  return out;
}

// ---- UTF-8 that was read as a single-byte encoding

std::optional<std::string> as_bytes(const Text& text, bool windows) {
  std::string out;
  for (const char32_t c : text) {
    const auto it = windows && c > 0xFF ? std::find(kWindows1252.begin(), kWindows1252.end(), c) : kWindows1252.end();
    if (it != kWindows1252.end()) out += static_cast<char>(0x80 + (it - kWindows1252.begin()));
    else if (c <= 0xFF && !(windows && c >= 0x80 && c < 0xA0 && kWindows1252[c - 0x80])) out += static_cast<char>(c);
    else return std::nullopt;
  }
  return out;
}

std::optional<Text> decode_strict(const std::string& bytes) {  // nothing when it is not UTF-8, or plain ASCII
  if (std::none_of(bytes.begin(), bytes.end(), [](char c) { return c & 0x80; })) return std::nullopt;
  const Text points = decode_utf8(bytes);
  if (encode_utf8(points) != bytes) return std::nullopt;
  return points;
}

std::optional<Text> undo_encoding(const Text& text) {
  for (const bool windows : {false, true})
    if (const auto bytes = as_bytes(text, windows))
      if (const auto points = decode_strict(*bytes)) return points;
  return std::nullopt;
}

// Inside text that is otherwise sound: runs that begin with the signs of U+00C2, U+00C3 or U+00E2 and decode whole.
Text undo_runs(const Text& text) {
  Text out;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = text[i] == 0xC2 || text[i] == 0xC3 ? 2 : text[i] == 0xE2 ? 3 : text[i] == 0xF0 ? 4 : 0;
    std::optional<Text> points;
    if (length && i + length <= text.size()) points = undo_encoding(text.substr(i, length));
    if (points && points->size() == 1) {
      out += *points;
      i += length;
    } else {
      out += text[i++];
    }
  }
  return out;
}

Text fix_encoding(const Text& text) {
  if (const auto whole = undo_encoding(text)) return *whole;
  return undo_runs(text);
}

// ---- characters

const std::unordered_map<char32_t, std::u32string_view>& ligatures() {
  static const std::unordered_map<char32_t, std::u32string_view> table{
      {U'\u0132', U"IJ"}, {U'\u0133', U"ij"}, {U'\u0149', U"\u02BCn"}, {U'\u01F1', U"DZ"}, {U'\u01F2', U"Dz"}, {U'\u01F3', U"dz"},
      {U'\u01C4', U"D\u017D"}, {U'\u01C5', U"D\u017E"}, {U'\u01C6', U"d\u017E"}, {U'\u01C7', U"LJ"}, {U'\u01C8', U"Lj"}, {U'\u01C9', U"lj"},
      {U'\u01CA', U"NJ"}, {U'\u01CB', U"Nj"}, {U'\u01CC', U"nj"}, {U'\uFB00', U"ff"}, {U'\uFB01', U"fi"}, {U'\uFB02', U"fl"}, {U'\uFB03', U"ffi"},
      {U'\uFB04', U"ffl"}, {U'\uFB05', U"\u017Ft"}, {U'\uFB06', U"st"}};
  return table;
}

Text fix_characters(const Text& text) {
  Text out;
  for (char32_t c : text) {
    if (c >= 0x80 && c < 0xA0 && kWindows1252[c - 0x80]) c = kWindows1252[c - 0x80];
    if (const auto it = ligatures().find(c); it != ligatures().end()) out += it->second;
    else if (c == 0x3000) out += U' ';
    else if (c >= 0xFF01 && c < 0xFFF0) out += nfkc({&c, 1});
    else out += c;
  }
  for (char32_t& c : out) {  // quotes, also those that the steps before made
    if (c == 0x02BC || (c >= 0x2018 && c <= 0x201B)) c = U'\'';
    if (c >= 0x201C && c <= 0x201F) c = U'"';
  }
  return out;
}

Text fix_lines(const Text& text) {
  Text out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char32_t c = text[i];
    if (c == U'\r') {
      if (i + 1 < text.size() && text[i + 1] == U'\n') ++i;
      out += U'\n';
    } else {
      out += c == 0x2028 || c == 0x2029 || c == 0x85 ? U'\n' : c;
    }
  }
  return out;
}

Text remove_controls(const Text& text) {
  Text out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char32_t c = text[i];
    if (c == 0x1B && i + 1 < text.size() && text[i + 1] == U'[') {  // a terminal's colour: ESC [ digits letter
      std::size_t p = i + 2;
      while (p < text.size() && (ascii_digit(text[p]) || text[p] == U';')) ++p;
      if (p < text.size() && ascii_alnum(text[p])) {
        i = p;
        continue;
      }
    }
    const bool control = c <= 8 || c == 0xB || (c >= 0xE && c < 0x20) || c == 0x7F || (c >= 0x206A && c < 0x2070) || c == 0xFEFF || (c >= 0xFFF9 && c < 0xFFFD);
    if (!control) out += c;
  }
  return out;
}

Text fix_line(Text text, bool unescape) {
  for (int round = 0; round < 16; ++round) {  // more never happens to text that means something
    const Text before = text;
    if (unescape && text.find(U'<') == Text::npos) text = unescape_unambiguous(text);
    text = nfc(remove_controls(fix_lines(fix_characters(fix_encoding(text)))));
    if (text == before) break;
  }
  return text;
}

}  // namespace

Text html_unescape(const Text& text) {
  Text out;
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] == U'&')
      if (const auto found = reference_at(text, i)) {
        out += found->stands_for;
        i = found->end;
        continue;
      }
    out += text[i++];
  }
  return out;
}

Text fix_text(const Text& text) {
  Text out;
  bool unescape = true;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = text.find(U'\n', at);
    end = end == Text::npos ? text.size() : end + 1;
    const Text line = text.substr(at, end - at);
    if (line.find(U'<') != Text::npos) unescape = false;  // from here on this is markup, not text with entities in it
    out += fix_line(line, unescape);
    at = end;
  }
  return out;
}

}  // namespace me2::text
