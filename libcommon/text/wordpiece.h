// BERT's uncased WordPiece, both ways: text -> ids and ids -> text, as the `tokenizers` package and transformers do it.
// Source: Devlin et al. 2019; behaviour checked against tokenizers (BertNormalizer, BertPreTokenizer, WordPiece).
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace me2::text {

class WordPiece {
 public:
  // vocab.txt (one token per line), tokenizer.json, or a folder that has one of them. Exit::no_input, Exit::data.
  static WordPiece open(const std::string& path);
  explicit WordPiece(std::vector<std::string> vocabulary, bool lowercase = true);  // index = id

  // Specials, then every word of `texts` once, sorted, then the single characters of these as first and as later piece: small data
  // has no vocabulary of its own, and every word made of known letters can be written.
  static WordPiece of_words(const std::vector<std::string>& texts);
  std::string vocab_text() const;  // vocab.txt

  // With special: [CLS] ... [SEP]. max_length > 0 cuts to that many ids, specials included.
  std::vector<std::int64_t> encode(std::string_view text, bool special = true, std::size_t max_length = 0) const;
  // Pieces joined; [PAD], [UNK], [CLS], [SEP] and [MASK] are left out unless keep_special; spaces before punctuation are cleaned.
  // Exit::data for an id outside the vocabulary.
  std::string decode(std::span<const std::int64_t> ids, bool keep_special = false) const;

  std::int64_t size() const { return static_cast<std::int64_t>(tokens_.size()); }
  std::int64_t id(std::string_view token) const;  // -1 when it is not in the vocabulary
  std::int64_t cls() const { return cls_; }
  std::int64_t sep() const { return sep_; }
  std::int64_t pad() const { return pad_; }

 private:
  // Calls `word` with each word and punctuation mark of a text, cleaned.
  static void split_words(std::u32string_view text, bool lowercase, const std::function<void(std::u32string_view)>& word);
  void encode_plain(std::u32string_view text, std::vector<std::int64_t>& out) const;
  void encode_word(std::u32string_view word, std::vector<std::int64_t>& out) const;
  std::vector<std::string> tokens_;
  std::unordered_map<std::string, std::int64_t> ids_;
  bool lowercase_;
  std::int64_t pad_, unk_, cls_, sep_, mask_;
};

}  // namespace me2::text
