// Scores of one caption against references, and of a corpus: METEOR, ROUGE, BLEU and CIDEr.
// Sources: nltk 3.8.1 translate/meteor_score.py; rouge_score 0.1.2; pycocoevalcap bleu_scorer.py, rouge.py, cider_scorer.py,
// tokenizer/ptbtokenizer.py.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/wordnet.h"

namespace me2::text {

// METEOR with WordNet synonyms as NLTK computes it: alpha .9, beta 3, gamma .5. This is not the Java METEOR 1.5 of the COCO
// leaderboards (no paraphrase tables, no tuned weights), so its numbers are not comparable with theirs.
class Meteor {
 public:
  explicit Meteor(const WordNet& wordnet);
  ~Meteor();
  struct Detail {
    double score = 0, precision = 0, recall = 0;
    std::vector<std::pair<int, int>> exact, stem, synonym;  // (hypothesis, reference) positions, in the order found
    int chunks = 0;
  };
  Detail compare(const std::string& reference, const std::string& hypothesis) const;
  double score(std::span<const std::string> references, const std::string& hypothesis) const;  // the best reference

 private:
  struct Memory;  // the words met so far with their stems and synonyms: captions share most of theirs. Thread-safe.
  const WordNet* wordnet_;
  std::unique_ptr<Memory> memory_;
};

struct FMeasure {
  double precision = 0, recall = 0, f = 0;
};
std::vector<std::string> rouge_tokens(std::string_view text);  // lower case, runs of a-z and 0-9
using Tokens = std::vector<std::string>;
FMeasure rouge_n(const Tokens& reference, const Tokens& hypothesis, int n = 1);  // of rouge_tokens
FMeasure rouge_l(const Tokens& reference, const Tokens& hypothesis);

// The reference's headline ROUGE: the median of bootstrap means (rouge_score's BootstrapAggregator) for the draws given.
double bootstrap_median(std::span<const double> values, std::span<const std::vector<std::int64_t>> draws);

// Lower-case Penn Treebank words without punctuation, as the COCO caption evaluation sees them.
// Fidelity: parentheses stay as -lrb- and -rrb-, because its list of punctuation has them in capitals.
std::vector<std::string> coco_tokens(std::string_view text);

double coco_rouge_l(std::span<const Tokens> references, const Tokens& hypothesis);  // best precision and recall, beta 1.2

struct BleuCounts {  // of one caption, or summed over a corpus
  std::array<double, 4> match{}, guess{};
  double length = 0, reference_length = 0;  // the reference nearest in length, the shorter of two
};
BleuCounts bleu_counts(std::span<const Tokens> references, const Tokens& hypothesis);
std::array<double, 4> bleu(const BleuCounts& counts);  // BLEU-1..4

// CIDEr as the leaderboards report it (the scorer is CIDEr-D: clipped, Gaussian length penalty sigma 6, times 10). Document
// frequencies come from the references given.
class Cider {
 public:
  explicit Cider(std::span<const std::vector<Tokens>> references);  // of each image
  ~Cider();
  double score(std::size_t image, const Tokens& hypothesis) const;  // against the references of that image

 private:
  struct Memory;
  std::unique_ptr<Memory> memory_;
};

}  // namespace me2::text
