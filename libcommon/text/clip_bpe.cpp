#include "text/clip_bpe.h"

#include <zlib.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "base/error.h"
#include "text/fix_text.h"
#include "text/unicode.h"

namespace me2::text {
namespace {

constexpr std::size_t kMerges = 49152 - 256 - 2, kMaxFile = 64 << 20;
using Text = std::u32string;

std::string read_maybe_gzip(const std::string& path) {
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), gzclose);  // reads plain files as they are
  if (!file) throw missing_error("{}: cannot be opened", path);
  std::string out, block(1 << 16, '\0');
  for (int n; (n = gzread(file.get(), block.data(), static_cast<unsigned>(block.size()))) != 0;) {
    if (n < 0) throw data_error("{}: not a readable gzip or text file", path);
    out.append(block.data(), static_cast<std::size_t>(n));
    if (out.size() > kMaxFile) throw data_error("{}: more than {} bytes", path, kMaxFile);
  }
  return out;
}

// Fidelity: the pattern ignores case, and U+0345, a mark, is also a case of the letter iota: neither "letters" nor "no letters"
// matches it, so that it separates pieces and is dropped.
bool separates(char32_t c) { return is_white_space(c) || c == 0x345; }

Text collapse_spaces(const Text& text) {  // runs of white space to one space, none at the ends
  Text out;
  for (const char32_t c : text) {
    if (!is_python_space(c)) out += c;
    else if (!out.empty() && out.back() != U' ') out += U' ';
  }
  if (!out.empty() && out.back() == U' ') out.pop_back();
  return out;
}

}  // namespace

ClipBpe ClipBpe::open(const std::string& path) {
  namespace fs = std::filesystem;
  if (!fs::exists(path)) throw missing_error("{}: no such vocabulary", path);
  if (fs::is_directory(path)) {
    for (const char* name : {"bpe_simple_vocab_16e6.txt.gz", "bpe_simple_vocab_16e6.txt", "bpe_simple_vocab.txt", "merges.txt"})
      if (fs::exists(fs::path(path) / name)) return open(fs::path(path) / name);
    throw missing_error("{}: no bpe_simple_vocab_16e6.txt.gz or merges.txt in this folder", path);
  }
  const std::string content = read_maybe_gzip(path);
  std::vector<std::string> merges;
  std::size_t line = 1;
  for (std::size_t at = content.find('\n'); at != std::string::npos && at + 1 < content.size() && merges.size() < kMerges; ++line) {
    std::size_t end = content.find('\n', at + 1);
    if (end == std::string::npos) end = content.size();
    std::string merge = content.substr(at + 1, end - at - 1);
    if (!merge.empty() && merge.back() == '\r') merge.pop_back();
    const auto space = merge.find(' ');
    if (space == 0 || space == std::string::npos || space + 1 == merge.size() || merge.find(' ', space + 1) != std::string::npos)
      throw data_error("{}: line {}: two symbols expected", path, line + 1);
    merges.push_back(std::move(merge));
    at = end < content.size() ? end : std::string::npos;
  }
  if (merges.empty()) throw data_error("{}: holds no merges", path);
  return ClipBpe(merges);
}

ClipBpe::ClipBpe(const std::vector<std::string>& merges) : byte_symbols_(256) {
  // Printable bytes stand for themselves; the others for U+0100, U+0101, ...: the vocabulary's order is this order.
  std::vector<std::string> order;
  const auto printable = [](int b) { return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE; };
  char32_t next = 0x100;
  for (int b = 0; b < 256; ++b)
    if (printable(b)) {
      const char32_t c = static_cast<char32_t>(b);
      order.push_back(byte_symbols_[b] = encode_utf8({&c, 1}));
    }
  for (int b = 0; b < 256; ++b)
    if (!printable(b)) {
      order.push_back(byte_symbols_[b] = encode_utf8({&next, 1}));
      ++next;
    }
  std::int64_t id = 0;
  for (const auto& symbol : order) ids_[symbol] = id++;
  for (const auto& symbol : order) ids_[symbol + "</w>"] = id++;
  for (std::size_t i = 0; i < merges.size(); ++i) {
    ranks_.try_emplace(merges[i], static_cast<std::int64_t>(i));
    std::string joined = merges[i];
    joined.erase(joined.find(' '), 1);
    ids_[joined] = id++;
  }
  start_ = id;
  end_ = id + 1;
}

void ClipBpe::merge(std::u32string_view piece, std::vector<std::int64_t>& out) const {
  std::vector<std::string> symbols;
  for (const char c : encode_utf8(piece)) symbols.push_back(byte_symbols_[static_cast<unsigned char>(c)]);
  if (symbols.empty()) return;
  symbols.back() += "</w>";
  while (symbols.size() > 1) {
    std::int64_t best = INT64_MAX;
    std::string left, right;
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto it = ranks_.find(symbols[i] + " " + symbols[i + 1]);
      if (it != ranks_.end() && it->second < best) best = it->second, left = symbols[i], right = symbols[i + 1];
    }
    if (best == INT64_MAX) break;
    std::vector<std::string> merged;
    for (std::size_t i = 0; i < symbols.size(); ++i)
      if (i + 1 < symbols.size() && symbols[i] == left && symbols[i + 1] == right) {
        merged.push_back(left + right);
        ++i;
      } else {
        merged.push_back(std::move(symbols[i]));
      }
    symbols = std::move(merged);
  }
  for (const auto& symbol : symbols) out.push_back(ids_.at(symbol));
}

// Scans left to right, first alternative first: special strings, 's 't 're 've 'm 'll 'd, letters, one number, anything else but space.
void ClipBpe::pieces(const Text& clean, const Text& start_text, const Text& end_text, std::vector<std::int64_t>& out) const {
  const auto at_text = [&](std::size_t i, const Text& what) { return clean.compare(i, what.size(), what) == 0; };
  for (std::size_t i = 0; i < clean.size();) {
    if (at_text(i, start_text) || at_text(i, end_text)) {
      const bool start = at_text(i, start_text);
      out.push_back(start ? start_ : end_);
      i += start ? start_text.size() : end_text.size();
      continue;
    }
    if (clean[i] == U'\'') {
      std::size_t taken = 0;
      // Fidelity: the pattern ignores case, and U+017F (long s) is a case of s for it.
      for (const std::u32string_view ending : {U"'s", U"'\u017F", U"'t", U"'re", U"'ve", U"'m", U"'ll", U"'d"})
        if (!taken && clean.compare(i, ending.size(), ending) == 0) taken = ending.size();
      if (taken) {
        merge(std::u32string_view(clean).substr(i, taken), out);
        i += taken;
        continue;
      }
    }
    std::size_t end = i + 1;
    if (is_letter(clean[i])) {
      while (end < clean.size() && is_letter(clean[end])) ++end;
    } else if (!is_number(clean[i])) {
      if (separates(clean[i])) {
        ++i;
        continue;
      }
      while (end < clean.size() && !is_letter(clean[end]) && !is_number(clean[end]) && !separates(clean[end])) ++end;
    }
    merge(std::u32string_view(clean).substr(i, end - i), out);
    i = end;
  }
}

ClipBpe::Encoded ClipBpe::encode(std::string_view utf8, ClipFlavour flavour, std::size_t context) const {
  if (context < 2) throw usage_error("a context of {} tokens", context);
  std::vector<std::int64_t> ids{start_};
  const Text text = decode_utf8(utf8);
  if (flavour == ClipFlavour::open_clip) {
    const Text clean = lower(collapse_spaces(html_unescape(html_unescape(fix_text(text)))));
    pieces(clean, U"<start_of_text>", U"<end_of_text>", ids);
  } else {
    // Special strings are cut out of the raw text; each part between them is cleaned by itself.
    const Text start_text = U"<|startoftext|>", end_text = U"<|endoftext|>";
    for (std::size_t at = 0; at <= text.size();) {
      const std::size_t start = text.find(start_text, at), end = text.find(end_text, at), next = std::min({start, end, text.size()});
      pieces(lower(collapse_spaces(fix_text(text.substr(at, next - at)))), start_text, end_text, ids);
      if (next == text.size()) break;
      ids.push_back(start < end ? start_ : end_);
      at = next + (start < end ? start_text.size() : end_text.size());
    }
  }
  ids.push_back(end_);
  Encoded out{std::move(ids), false};
  if (out.ids.size() > context) {
    out.truncated = true;
    out.ids.resize(context);
    out.ids.back() = end_;
  }
  out.ids.resize(context, flavour == ClipFlavour::open_clip ? 0 : end_);
  return out;
}

}  // namespace me2::text
