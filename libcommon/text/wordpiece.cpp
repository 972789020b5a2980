#include "text/wordpiece.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "text/unicode.h"

namespace me2::text {
namespace {

constexpr std::size_t kMaxWord = 100;  // characters; longer words are [UNK]
constexpr std::int64_t kMaxVocabulary = 5'000'000;

bool is_cjk(char32_t c) {
  // Fidelity: U+2B820 to U+2B91F are not among them, as in the package.
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B81F) ||
         (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

bool is_punctuation(char32_t c) {
  if (c < 0x80) return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
  return was_punctuation(c);
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) text.replace(at, from.size(), to);
}

std::vector<std::string> read_lines(const std::string& path) {
  std::vector<std::string> lines;
  const std::string content = read_file(path);
  for (std::size_t at = 0; at < content.size();) {
    std::size_t end = content.find('\n', at);
    if (end == std::string::npos) end = content.size();
    std::string line = content.substr(at, end - at);
    if (!line.empty() && line.back() == '\r') line.pop_back();
    lines.push_back(std::move(line));
    at = end + 1;
  }
  return lines;
}

}  // namespace

WordPiece WordPiece::open(const std::string& path) {
  namespace fs = std::filesystem;
  if (!fs::exists(path)) throw missing_error("{}: no such vocabulary", path);
  if (fs::is_directory(path)) {
    for (const char* name : {"vocab.txt", "tokenizer.json"})
      if (fs::exists(fs::path(path) / name)) return open(fs::path(path) / name);
    throw missing_error("{}: no vocab.txt or tokenizer.json in this folder", path);
  }
  if (!path.ends_with(".json")) {
    try {
      return WordPiece(read_lines(path));
    } catch (const Error& e) {
      throw Error(e.exit(), fmt::format("{}: {}", path, e.what()));
    }
  }
  const Json json = read_json_file(path);
  const auto model = json.find("model");
  if (model == json.end() || !model->contains("vocab") || !(*model)["vocab"].is_object()) throw data_error("{}: model.vocab {{token: id}} expected", path);
  std::vector<std::string> tokens((*model)["vocab"].size());
  for (const auto& [token, id] : (*model)["vocab"].items()) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= tokens.size()) throw data_error("{}: token {}: id {} of a vocabulary of {}", path, token, id.dump(), tokens.size());
    tokens[id.get<std::size_t>()] = token;
  }
  bool lowercase = true;
  if (json.contains("normalizer") && json["normalizer"].is_object()) lowercase = json["normalizer"].value("lowercase", true);
  try {
    return WordPiece(std::move(tokens), lowercase);
  } catch (const Error& e) {
    throw Error(e.exit(), fmt::format("{}: {}", path, e.what()));
  }
}

WordPiece::WordPiece(std::vector<std::string> vocabulary, bool lowercase) : tokens_(std::move(vocabulary)), lowercase_(lowercase) {
  if (size() > kMaxVocabulary) throw data_error("a vocabulary of {} tokens", size());
  for (std::size_t i = 0; i < tokens_.size(); ++i) ids_.try_emplace(tokens_[i], static_cast<std::int64_t>(i));
  const auto need = [this](const char* token) {
    const std::int64_t found = id(token);
    if (found < 0) throw data_error("the vocabulary of {} tokens lacks {}", size(), token);
    return found;
  };
  pad_ = need("[PAD]");
  unk_ = need("[UNK]");
  cls_ = need("[CLS]");
  sep_ = need("[SEP]");
  mask_ = id("[MASK]");
}

std::int64_t WordPiece::id(std::string_view token) const {
  const auto it = ids_.find(std::string(token));
  return it == ids_.end() ? -1 : it->second;
}

void WordPiece::encode_word(std::u32string_view word, std::vector<std::int64_t>& out) const {
  if (word.empty()) return;
  if (word.size() > kMaxWord) return out.push_back(unk_);
  std::vector<std::string> utf8;
  for (const char32_t c : word) utf8.push_back(encode_utf8({&c, 1}));
  std::vector<std::int64_t> pieces;
  for (std::size_t start = 0; start < word.size();) {
    std::string candidate = start ? "##" : "";
    for (std::size_t i = start; i < word.size(); ++i) candidate += utf8[i];
    std::size_t end = word.size();
    std::int64_t found = -1;
    for (; end > start; --end) {
      if (const auto it = ids_.find(candidate); it != ids_.end()) {
        found = it->second;
        break;
      }
      candidate.resize(candidate.size() - utf8[end - 1].size());
    }
    if (found < 0) return out.push_back(unk_);
    pieces.push_back(found);
    start = end;
  }
  out.insert(out.end(), pieces.begin(), pieces.end());
}

void WordPiece::encode_plain(std::u32string_view text, std::vector<std::int64_t>& out) const {
  split_words(text, lowercase_, [&](std::u32string_view word) { encode_word(word, out); });
}

void WordPiece::split_words(std::u32string_view text, bool lowercase, const std::function<void(std::u32string_view)>& take) {
  std::u32string clean;
  for (const char32_t c : text) {
    const bool layout = c == '\t' || c == '\n' || c == '\r';
    if (c == 0 || c == 0xFFFD || (!layout && was_control(c))) continue;
    if (layout || is_white_space(c)) clean += U' ';
    else if (is_cjk(c)) clean += {U' ', c, U' '};
    else clean += c;
  }
  if (lowercase) {
    std::u32string stripped;
    for (const char32_t c : nfd(clean))
      if (!was_nonspacing_mark(c)) stripped += lower_one(c);
    clean = std::move(stripped);
  }
  std::u32string word;
  for (const char32_t c : clean) {
    const bool punctuation = is_punctuation(c);
    if (!punctuation && !is_white_space(c)) {
      word += c;
      continue;
    }
    if (!word.empty()) take(word);
    word.clear();
    if (punctuation) take({&c, 1});
  }
  if (!word.empty()) take(word);
}

WordPiece WordPiece::of_words(const std::vector<std::string>& texts) {
  std::set<std::string> words, letters;
  for (const auto& text : texts)
    split_words(decode_utf8(text), true, [&](std::u32string_view word) {
      words.insert(encode_utf8(word));
      for (const char32_t c : word) letters.insert(encode_utf8({&c, 1}));
    });
  std::vector<std::string> tokens{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  tokens.insert(tokens.end(), words.begin(), words.end());
  for (const auto& letter : letters) {
    if (!words.contains(letter)) tokens.push_back(letter);
    tokens.push_back("##" + letter);
  }
  return WordPiece(std::move(tokens));
}

std::string WordPiece::vocab_text() const {
  std::string out;
  for (const auto& token : tokens_) out += token + "\n";
  return out;
}

std::vector<std::int64_t> WordPiece::encode(std::string_view text, bool special, std::size_t max_length) const {
  std::vector<std::int64_t> out;
  // Special tokens are recognised in the raw text, exactly as they are written.
  while (!text.empty()) {
    std::size_t first = text.size(), length = 0;
    std::int64_t found = -1;
    for (const std::int64_t token : {pad_, unk_, cls_, sep_, mask_}) {
      if (token < 0) continue;
      if (const std::size_t at = text.find(tokens_[token]); at < first) first = at, length = tokens_[token].size(), found = token;
    }
    encode_plain(decode_utf8(text.substr(0, first)), out);
    if (found >= 0) out.push_back(found);
    text.remove_prefix(first + length);
  }
  if (max_length > 0) out.resize(std::min(out.size(), max_length - std::min<std::size_t>(max_length, special ? 2 : 0)));
  if (special) {
    out.insert(out.begin(), cls_);
    out.push_back(sep_);
  }
  return out;
}

std::string WordPiece::decode(std::span<const std::int64_t> ids, bool keep_special) const {
  std::string out;
  bool first = true;
  for (const std::int64_t id : ids) {
    if (id < 0 || id >= size()) throw data_error("token {} is not in a vocabulary of {}", id, size());
    if (!keep_special && (id == pad_ || id == unk_ || id == cls_ || id == sep_ || id == mask_)) continue;
    const std::string& token = tokens_[id];
    if (first) out += token;
    else if (token.starts_with("##")) out += token.substr(2);
    else out += " " + token;
    first = false;
  }
  // Fidelity: plain replacements, one after the other, wherever they match.
  static constexpr std::pair<const char*, const char*> kClean[] = {{" .", "."},   {" ?", "?"},   {" !", "!"},   {" ,", ","},    {" ' ", "'"},
                                                                   {" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kClean) replace_all(out, from, to);
  return out;
}

}  // namespace me2::text
