// The little of Unicode that tokenizers need, on ICU. Text is UTF-8 outside and code points inside.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace me2::text {

std::u32string decode_utf8(std::string_view utf8);  // malformed bytes become U+FFFD
std::string encode_utf8(std::u32string_view points);

std::u32string nfc(std::u32string_view points);
std::u32string nfd(std::u32string_view points);
std::u32string nfkc(std::u32string_view points);
std::u32string lower(std::u32string_view points);  // full mapping with context, as Python's str.lower
char32_t lower_one(char32_t c);                     // simple mappings
char32_t upper_one(char32_t c);

bool is_letter(char32_t c);        // \p{L}
bool is_number(char32_t c);        // \p{N}
bool is_white_space(char32_t c);   // Unicode property White_Space
bool is_python_space(char32_t c);  // str.isspace and re's \s: White_Space and U+001C to U+001F

// General categories as Unicode 8 had them: the tables inside the `tokenizers` package are of that age, and a character
// that was not assigned then is none of these for it.
bool was_punctuation(char32_t c);       // P*
bool was_control(char32_t c);           // Cc, Cf, Co
bool was_nonspacing_mark(char32_t c);   // Mn

}  // namespace me2::text
