// Runs a tokenizer over JSON strings, one per line, for tests/interop/text_tokens.py.
//     me2-test-tokens wordpiece VOCAB | clip MERGES
#include <iostream>
#include <string>

#include "base/json.h"
#include "text/clip_bpe.h"
#include "text/wordpiece.h"

int main(int argc, char** argv) {
  if (argc != 3) return 64;
  const bool clip = std::string(argv[1]) == "clip";
  try {
    std::ios::sync_with_stdio(false);
    const auto run = [](const auto& encode) {
      for (std::string line; std::getline(std::cin, line);) std::cout << me2::Json(encode(me2::Json::parse(line).get<std::string>())).dump() << '\n';
    };
    if (clip) {
      const auto t = me2::text::ClipBpe::open(argv[2]);
      run([&](const std::string& s) { return t.encode(s, me2::text::ClipFlavour::hugging_face).ids; });
    } else {
      const auto t = me2::text::WordPiece::open(argv[2]);
      run([&](const std::string& s) { return t.encode(s); });
    }
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 65;
  }
}
