#include "report/paper.h"

#include <map>
#include <tuple>
#include <vector>

#include "report/build_report.h"

namespace me2::report {

std::optional<double> paper_figure(const std::string& setting, const std::string& score) {
  static const std::map<std::string, std::map<std::string, double>> figures{
      {"40", {{"pixcorr", .322}, {"ssim", .431}, {"alexnet2", .961}, {"alexnet5", .986}, {"inception", .954}, {"clip", .930}, {"effnet", .619}, {"swav", .344},
              {"image_retrieval", .988}, {"brain_retrieval", .983}, {"meteor", .248}, {"rouge_l", .326}, {"rouge1", .353}, {"sentence", .479},
              {"clip_b", .737}, {"clip_l", .638}}},
      {"1", {{"pixcorr", .195}, {"ssim", .419}, {"alexnet2", .842}, {"alexnet5", .906}, {"inception", .812}, {"clip", .792}, {"effnet", .810}, {"swav", .468},
             {"image_retrieval", .790}, {"brain_retrieval", .574}}}};
  const auto column = figures.find(setting);
  if (column == figures.end()) return {};
  const auto it = column->second.find(score);
  return it == column->second.end() ? std::nullopt : std::optional(it->second);
}

// "People": Pearson correlation with similarity ratings of MindEye2 outputs (SEED, ICLR 2026: 1,000 pairs, 22 raters).
ScoreMeaning meaning_of(const std::string& score) {
  static const std::map<std::string, ScoreMeaning> meanings{
      {"pixcorr", {"PixCorr", "correlation of pixels; rewards blur (people .117)"}},
      {"ssim", {"SSIM", "local structure; rewards blur and collapse (people .112)"}},
      {"alexnet2", {"AlexNet(2)", "two-way identification on edges and colours (people .187)"}},
      {"alexnet5", {"AlexNet(5)", "two-way identification on textures and parts (people .258)"}},
      {"inception", {"Inception", "two-way identification, saturates (people .475)"}},
      {"clip", {"CLIP", "two-way identification, saturates (people .436)"}},
      {"effnet", {"EffNet-B", "feature distance (people .748)"}},
      {"swav", {"SwAV", "feature distance (people .576)"}},
      {"image_retrieval", {"image retrieval", "a brain embedding finds its image among 300 (the reference's bwd)"}},
      {"brain_retrieval", {"brain retrieval", "an image finds its brain embedding among 300 (the reference's fwd)"}},
      {"repeat_retrieval", {"repeat retrieval", "half of an image's repeats finds the other half: what the measurements tell apart by themselves"}},
      {"meteor", {"METEOR", "words, stems and synonyms in common with the reference (NLTK's variant)"}},
      {"rouge1", {"ROUGE-1", "words in common"}},
      {"rouge_l", {"ROUGE-L", "longest common sequence of words"}},
      {"bleu1", {"BLEU-1", "words in common, over the corpus"}},
      {"bleu2", {"BLEU-2", "pairs of words in common"}},
      {"bleu3", {"BLEU-3", "triples of words in common"}},
      {"bleu4", {"BLEU-4", "runs of four words in common"}},
      {"cider", {"CIDEr", "n-grams weighted by how rare they are"}},
      {"sentence", {"Sentence", "cosine of sentence embeddings: whether the captions mean the same"}},
      {"cap_sim", {"Cap-Sim", "cosine of sentence embeddings of captions of reconstruction and image: the same objects (people .666)"}},
      {"caption_category", {"caption: object", "share of captions that name the scene's main object"}},
      {"caption_colour", {"caption: colour", "share of captions that name its colour"}},
      {"caption_background", {"caption: background", "share of captions that name the background"}},
      {"recon_category", {"picture: object", "share of reconstructions in which towers trained on other scenes see the right main object"}},
      {"recon_colour", {"picture: colour", "the same for its colour"}},
      {"recon_background", {"picture: background", "the same for the background"}},
      {"tower_retrieval", {"tower retrieval", "a reconstruction finds its own image among all, in those towers' embedding"}},
      {"tower_two_way", {"tower two-way", "a reconstruction is nearer to its own image than to another one"}},
      {"clip_b", {"CLIP-B", "cosine of CLIP ViT-B/32 text embeddings"}},
      {"clip_l", {"CLIP-L", "cosine of CLIP ViT-L/14 text embeddings"}},
      {"rsa", {"RSA", "rank correlation of dissimilarities with those measured in brains"}}};
  const auto it = meanings.find(score);
  if (it != meanings.end()) return it->second;
  static const std::vector<std::tuple<std::string, std::string, std::string>> variants{
      {"_1_repeat", ", one repeat", "from one presentation of each image"}, {"_2_repeats", ", two repeats", "from the mean of two presentations"},
      {"_3_repeats", ", three repeats", "from the mean of three presentations"}, {"_img_ref", ", image", "of captions of the images seen against references"},
      {"_brain_img", ", brain-image", "of captions from the brain against captions of the images seen"}, {"_relative", ", relative", "brain-image over image: 1 is as good as captioning the image"}};
  for (const auto& [ending, label, text] : variants)
    if (score.ends_with(ending)) {
      const auto of = meaning_of(score.substr(0, score.size() - ending.size()));
      return {of.label + label, of.text.empty() ? text : of.text + "; " + text};
    }
  if (score.starts_with("brain_corr_")) return {"brain corr. " + score.substr(11), "GNet's prediction from the reconstruction against the measured response"};
  return {score, ""};
}

}  // namespace me2::report
