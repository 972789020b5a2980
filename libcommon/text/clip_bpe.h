// CLIP's byte-pair tokenizer, in the two flavours SDXL's text encoders were trained behind: open_clip's (pads with 0) and Hugging
// Face's slow tokenizer with ftfy (pads with the end token). They differ in cleaning and in the spelling of special strings.
// Source: Radford et al. 2021 (CLIP); behaviour of open_clip 2.24 tokenize() and transformers 4.37 CLIPTokenizer.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace me2::text {

enum class ClipFlavour { open_clip, hugging_face };

class ClipBpe {
 public:
  // bpe_simple_vocab_16e6.txt[.gz], bpe_simple_vocab.txt (me2-embed encoder writes it), merges.txt, or a folder that has one of them. The
  // first line is skipped, at most 48,894 merges are used. Exit::no_input, Exit::data.
  static ClipBpe open(const std::string& path);
  explicit ClipBpe(const std::vector<std::string>& merges);  // "left right", best first

  struct Encoded {
    std::vector<std::int64_t> ids;  // `context` of them: start, text, end, padding
    bool truncated = false;         // the text was longer: cut, with the end token last
  };
  Encoded encode(std::string_view text, ClipFlavour flavour, std::size_t context = 77) const;
  std::int64_t size() const { return end_ + 1; }  // start is size() - 2, end is size() - 1

 private:
  void pieces(const std::u32string& clean, const std::u32string& start_text, const std::u32string& end_text, std::vector<std::int64_t>& out) const;
  void merge(std::u32string_view piece, std::vector<std::int64_t>& out) const;
  std::unordered_map<std::string, std::int64_t> ranks_;  // "left right"
  std::unordered_map<std::string, std::int64_t> ids_;
  std::vector<std::string> byte_symbols_;
  std::int64_t start_, end_;
};

}  // namespace me2::text
