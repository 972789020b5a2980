#include "text/unicode.h"

#include <unicode/locid.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/utf8.h>

#include <algorithm>

#include "base/error.h"

namespace me2::text {
namespace {

icu::UnicodeString to_icu(std::u32string_view points) {
  return icu::UnicodeString::fromUTF32(reinterpret_cast<const UChar32*>(points.data()), static_cast<std::int32_t>(points.size()));
}

std::u32string from_icu(const icu::UnicodeString& text) {
  std::u32string out;
  for (std::int32_t i = 0; i < text.length();) {
    const UChar32 c = text.char32At(i);
    out += static_cast<char32_t>(c);
    i += U16_LENGTH(c);
  }
  return out;
}

std::u32string normalize(std::u32string_view points, const icu::Normalizer2* (*form)(UErrorCode&)) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::UnicodeString out = form(status)->normalize(to_icu(points), status);
  if (U_FAILURE(status)) throw Error(Exit::internal, fmt::format("ICU: {}", u_errorName(status)));
  return from_icu(out);
}

const icu::Normalizer2* form_c(UErrorCode& e) { return icu::Normalizer2::getNFCInstance(e); }
const icu::Normalizer2* form_d(UErrorCode& e) { return icu::Normalizer2::getNFDInstance(e); }
const icu::Normalizer2* form_kc(UErrorCode& e) { return icu::Normalizer2::getNFKCInstance(e); }

bool assigned_in_8(char32_t c) {
  UVersionInfo age;
  u_charAge(static_cast<UChar32>(c), age);
  return age[0] != 0 && age[0] <= 8;
}

}  // namespace

std::u32string decode_utf8(std::string_view utf8) {
  std::u32string out;
  out.reserve(utf8.size());
  const auto* s = reinterpret_cast<const std::uint8_t*>(utf8.data());
  const auto length = static_cast<std::int64_t>(utf8.size());
  for (std::int64_t i = 0; i < length;) {
    UChar32 c;
    U8_NEXT_OR_FFFD(s, i, length, c);
    out += static_cast<char32_t>(c);
  }
  return out;
}

std::string encode_utf8(std::u32string_view points) {
  std::string out;
  for (const char32_t c : points) {
    std::uint8_t bytes[4];
    std::int32_t n = 0;
    UBool bad = false;
    U8_APPEND(bytes, n, 4, static_cast<UChar32>(c), bad);
    if (bad) out += "\xEF\xBF\xBD";
    else out.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(n));
  }
  return out;
}

std::u32string nfc(std::u32string_view points) { return normalize(points, form_c); }
std::u32string nfd(std::u32string_view points) { return normalize(points, form_d); }
std::u32string nfkc(std::u32string_view points) { return normalize(points, form_kc); }
std::u32string lower(std::u32string_view points) {
  if (std::any_of(points.begin(), points.end(), [](char32_t c) { return c > 127; })) return from_icu(to_icu(points).toLower(icu::Locale::getRoot()));
  std::u32string out(points);
  for (char32_t& c : out) c += c >= U'A' && c <= U'Z' ? 32 : 0;
  return out;
}
char32_t lower_one(char32_t c) { return static_cast<char32_t>(u_tolower(static_cast<UChar32>(c))); }
char32_t upper_one(char32_t c) { return static_cast<char32_t>(u_toupper(static_cast<UChar32>(c))); }

bool is_letter(char32_t c) { return U_GET_GC_MASK(static_cast<UChar32>(c)) & U_GC_L_MASK; }
bool is_number(char32_t c) { return U_GET_GC_MASK(static_cast<UChar32>(c)) & U_GC_N_MASK; }
bool is_white_space(char32_t c) { return u_isUWhiteSpace(static_cast<UChar32>(c)); }
bool is_python_space(char32_t c) { return (c >= 0x1C && c <= 0x1F) || is_white_space(c); }

bool was_punctuation(char32_t c) {
  if (c == 0x166D || c == 0x111C9) return true;  // a symbol and a mark by now
  return assigned_in_8(c) && (U_GET_GC_MASK(static_cast<UChar32>(c)) & U_GC_P_MASK);
}
bool was_control(char32_t c) {
  const auto mask = U_GET_GC_MASK(static_cast<UChar32>(c));
  if (mask & U_GC_CO_MASK) return true;
  return (mask & (U_GC_CC_MASK | U_GC_CF_MASK)) && assigned_in_8(c);
}
bool was_nonspacing_mark(char32_t c) { return assigned_in_8(c) && (U_GET_GC_MASK(static_cast<UChar32>(c)) & U_GC_MN_MASK); }

}  // namespace me2::text
