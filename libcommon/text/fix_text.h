// Repairing text before it is tokenized, as far as captions need what the ftfy package does: HTML entities, UTF-8 read as
// Latin-1 or Windows-1252, C1 controls, Latin ligatures, full-width forms, curly quotes, line breaks, terminal escapes, control
// characters, NFC; repeated until nothing changes.
// Not covered: mojibake of other code pages or of double depth with lost bytes, and entity names that only HTML 5 has.
// Source: behaviour of ftfy 6.3.1 (Speer 2019) and of Python's html.unescape.
#pragma once
#include <string>

namespace me2::text {
std::u32string fix_text(const std::u32string& text);
std::u32string html_unescape(const std::u32string& text);  // as html.unescape: also without semicolon where HTML allows it
}  // namespace me2::text
