// A byte-pair vocabulary of one's own, for text towers trained on few words (Sennrich et al. 2016).
#pragma once
#include <span>
#include <string>
#include <vector>

namespace me2::text {

// Merges ("left right", best first) learned from the words of lower-case ASCII texts, until every word is one symbol or `most` are
// made. Ties go to the pair that is first in byte order, so the same texts give the same merges. ClipBpe takes them as they are.
std::vector<std::string> learn_merges(std::span<const std::string> texts, std::size_t most = 48894);

// The file ClipBpe::open reads: a header line, then one merge a line.
std::string merges_text(std::span<const std::string> merges);

}  // namespace me2::text
