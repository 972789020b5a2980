// me2-eval score: reconstructions against the images seen, or captions against references, of one subject or several.
#pragma once
#include <map>
#include <memory>

#include <c10/core/InferenceMode.h>

#include "eval_output.h"
#include "nn/device.h"
#include "report/baselines.h"
#include "report/caption_evaluation.h"
#include "report/evaluation.h"
#include "report/scene_evaluation.h"
#include "report/scoring_work.h"

namespace me2 {

enum class CaptionStyle { automatic, coco, mindeye2 };
template <>
inline const EnumNames<CaptionStyle>& enum_names() {
  static const EnumNames<CaptionStyle> names{{CaptionStyle::automatic, "auto"}, {CaptionStyle::coco, "coco"}, {CaptionStyle::mindeye2, "mindeye2"}};
  return names;
}

struct ScoreVerb {
  std::vector<InputPath> recon, truth, lowlevel, captions, references, image_captions, predicted, betas;
  std::optional<InputPath> split_file, scene_labels, train_tokens, train_images, regions;
  std::vector<std::string> subjects;
  int gnet_subject = 0;
  std::optional<ModelPath> scorer;
  std::vector<std::string> metrics;
  std::vector<NamedInput> baselines;
  std::optional<InputPath> nets;
  std::optional<ModelPath> alexnet, inception, clip, effnet, swav, gnet, sentence, clip_b, clip_l;
  std::optional<InputPath> wordnet, clip_vocab;
  std::string array = "image";
  double blend_weight = 0.75;
  bool antialias = false, allow_missing = false;
  int resamples = 10000;
  CaptionStyle style = CaptionStyle::automatic;
  OutputOptions output;

  void describe(Describe& d) {
    d.positionals("RECON", recon, "reconstructions: store, .npy (u1 or float [n,3,H,W]), .pt, or a folder of images; of several subjects: one each");
    d.option("--truth", truth, "the images that were seen, in any of the same forms; joined by id or name; for all subjects, or one each (so too for --blend, "
                               "--references, --image-captions, --predicted, --betas)");
    d.option("--subject", subjects, "label of each subject (default: what its store says, else the file's name); several: scores of each, and their mean");
    d.option("--baseline", baselines, "pictures scored beside RECON. mean: the mean of all; other: another image's; nearest: the training image whose tokens are nearest to "
                                      "the predicted ones; NAME=PICTURES: any others, as from true tokens or a mean brain; NAME again for each subject, or one for all");
    d.option("--predicted", predicted, "for --baseline nearest: predicted tokens of the images scored, store or .npy");
    d.option("--train-tokens", train_tokens, "for --baseline nearest: tokens of training images, store or .npy; rows of images scored do not count");
    d.option("--train-images", train_images, "for --baseline nearest: the training images, as RECON; found by id");
    d.option("--blend", lowlevel, "low-level images: scored is .75 RECON + .25 of these");
    d.option("--blend-weight", blend_weight, "weight of RECON when blending");
    d.option("--captions", captions, "captions to score: {\"id\": \"text\"} or a store with caption; of several subjects: one each");
    d.option("--references", references, "reference captions: {\"id\": [\"text\", ...]} or a store with caption");
    d.option("--image-captions", image_captions, "captions of the images seen, made by the captioner: also score these, --captions against them, and the ratio");
    d.option("--metrics", metrics, "which scores (default: all but cap_sim); bleu stands for bleu1 to bleu4, brain_corr for all regions");
    d.option("--nets", nets, "folder with the networks: alexnet*, inception*, clip* or ViT-L-14*, efficientnet*, swav* or resnet50*");
    d.option("--alexnet", alexnet, "torchvision AlexNet");
    d.option("--inception", inception, "torchvision Inception v3");
    d.option("--clip", clip, "OpenAI CLIP ViT-L/14");
    d.option("--effnet", effnet, "torchvision EfficientNet-B1");
    d.option("--swav", swav, "SwAV ResNet-50");
    d.option("--gnet", gnet, "gnet_multisubject.pt, for brain_corr_REGION");
    d.option("--betas", betas, "subject store with the measured responses to the images, for brain_corr_REGION");
    d.option("--regions", regions, "brain_region_masks.hdf5 (default: the regions of --betas)");
    d.option("--gnet-subject", gnet_subject, "whose readout of --gnet (default: the number in the name of --betas' subject)");
    d.option("--sentence", sentence, "folder of a sentence encoder with its vocabulary (all-MiniLM-L6-v2)");
    d.option("--clip-b", clip_b, "OpenAI CLIP ViT-B/32, for captions");
    d.option("--clip-l", clip_l, "OpenAI CLIP ViT-L/14, for captions");
    d.option("--clip-vocab", clip_vocab, "bpe_simple_vocab_16e6.txt[.gz] or merges.txt (default: beside the CLIP file)");
    d.option("--wordnet", wordnet, "WordNet's dictionary folder (default: ME2_WORDNET, else /usr/share/wordnet)");
    d.option("--caption-style", style, "rouge_l as the COCO evaluation or as MindEye2 (rouge_score); auto: coco when an image has several references");
    d.option("--scene-labels", scene_labels, "stimulus store of rendered scenes (me2-preprocess simulate): also score whether captions and pictures show the right things; "
                                             "stands for --truth and --references where those are not given");
    d.option("--scorer", scorer, "CLIP towers trained on such scenes (me2-embed encoder), for recon_category, recon_colour, recon_background, tower_retrieval, tower_two_way");
    d.option("--array", array, "array of a store that holds the images");
    d.option("--antialias", antialias, "antialias when shrinking (torchvision 0.17 and later; the published figures did not)");
    d.option("--split-file", split_file, "also score the test ids of a split file (laion_fmri_splits format)");
    d.option("--allow-missing", allow_missing, "score the images both sides have");
    d.option("--resamples", resamples, "bootstrap resamples behind the intervals");
    output.describe(d);
  }
};


inline void check_names(const std::vector<std::string>& given, const std::vector<std::string>& known) {
  for (const auto& name : given)
    if (std::find(known.begin(), known.end(), name) == known.end()) throw usage_error("--metrics: {} expected, \"{}\" found", fmt::join(known, ", "), name);
}

inline void score_caption_files(const ScoreVerb& o, cli::Run& run) {
  if (o.captions.empty() || (o.references.empty() && !o.scene_labels))
    throw usage_error("--captions and --references go together{}", !o.image_captions.empty() && o.captions.empty() ? "; --image-captions comes with both" : "");
  auto known = report::caption_score_names();
  known.push_back("bleu");
  if (o.scene_labels) known.insert(known.end(), report::scene_caption_score_names().begin(), report::scene_caption_score_names().end());
  check_names(o.metrics, known);
  report::CaptionOptions how;
  how.metrics = o.metrics;
  if (o.wordnet) how.wordnet = o.wordnet->path;
  if (o.sentence) how.sentence = o.sentence->path;
  if (o.clip_b) how.clip_b = o.clip_b->path;
  if (o.clip_l) how.clip_l = o.clip_l->path;
  if (o.clip_vocab) how.clip_vocabulary = o.clip_vocab->path;
  if (o.scene_labels) how.scene_labels = o.scene_labels->path;
  how.allow_missing = o.allow_missing, how.resamples = o.resamples, how.seed = run.seed(), how.threads = run.threads();
  const auto subjects = o.captions.size();
  Work planned;
  emit_subjects(o.captions, o.subjects, o.resamples, o.output, run, [&](std::size_t i) {
    const auto right = of_subject(o.references, i, subjects, "--references"), seen = of_subject(o.image_captions, i, subjects, "--image-captions");
    const auto captions = report::read_captions(o.captions[i].path), references = report::read_captions(right ? right->path : o.scene_labels->path);
    how.coco_rouge = o.style == CaptionStyle::coco;
    if (o.style == CaptionStyle::automatic)
      for (const auto& [id, texts] : references) how.coco_rouge = how.coco_rouge || texts.size() > 1;
    if (run.dry_run()) {
      planned += report::caption_work(captions, references, how).times(seen ? 2 : 1);
      return report::Scores();
    }
    return seen ? report::score_captions_three_ways(captions, report::read_captions(seen->path), references, how) : report::score_captions(captions, references, how);
  });
  if (run.dry_run()) run.plan_work(planned);
}

inline report::ScoreOptions score_options(const ScoreVerb& o, const cli::Run& run) {
  report::ScoreOptions how;
  how.metrics = o.metrics;
  if (o.nets) how.nets = report::NetFiles::in_folder(o.nets->path);
  const auto take = [](std::string& slot, const auto& given) {
    if (given) slot = given->path;
  };
  take(how.nets.alexnet, o.alexnet), take(how.nets.inception, o.inception), take(how.nets.clip, o.clip), take(how.nets.effnet, o.effnet), take(how.nets.swav, o.swav);
  take(how.brain.gnet, o.gnet), take(how.brain.regions, o.regions), take(how.scene_labels, o.scene_labels), take(how.scorer, o.scorer);
  how.brain.subject = o.gnet_subject;
  how.blend = o.blend_weight, how.antialias = o.antialias, how.allow_missing = o.allow_missing, how.resamples = o.resamples;
  how.batch_size = run.batch_size(16), how.seed = run.seed(), how.threads = run.threads();
  if (o.split_file) how.splits = report::read_split_file(o.split_file->path);
  if (!o.baselines.empty() || o.recon.size() > 1) how.truth_features = std::make_shared<report::KeptFeatures>();
  if (std::any_of(o.baselines.begin(), o.baselines.end(), [](const auto& b) { return b.name == "other" && b.path.empty(); })) how.recon_features = std::make_shared<report::KeptFeatures>();
  return how;
}

// The sets --baseline names for subject i, in the order given; without a path for those made once the ids are known.
inline std::vector<NamedInput> baselines_of(const ScoreVerb& o, std::size_t i, std::size_t subjects) {
  std::vector<std::string> names;
  std::map<std::string, std::vector<NamedInput>> sets;
  for (const auto& b : o.baselines) {
    if (b.path.empty() && b.name != "mean" && b.name != "other" && b.name != "nearest")
      throw usage_error("--baseline: mean, other, nearest or NAME=PICTURES expected, \"{}\" found", b.name);
    if (b.path.empty() && b.name == "nearest" && (o.predicted.empty() || !o.train_tokens || !o.train_images))
      throw usage_error("--baseline nearest needs --predicted, --train-tokens and --train-images");
    auto& of = sets[b.name];
    if (of.empty()) names.push_back(b.name);
    of.push_back(b);
  }
  std::vector<NamedInput> out;
  for (const auto& name : names) out.push_back(*of_subject(sets[name], i, subjects, ("--baseline " + name).c_str()));
  return out;
}

inline void score(const ScoreVerb& o, cli::Run& run) {
  nn::set_threads(run.threads());
  const c10::InferenceMode guard;
  if (o.resamples < 1) throw usage_error("--resamples: 1 or more expected");
  if (!o.captions.empty() || !o.references.empty() || !o.image_captions.empty()) return score_caption_files(o, run);
  if (o.recon.empty() || (o.truth.empty() && !o.scene_labels)) throw usage_error("RECON and --truth, or --captions and --references, expected");
  if (!(o.blend_weight >= 0 && o.blend_weight <= 1)) throw usage_error("--blend-weight: a number from 0 to 1 expected");
  if (o.scorer && !o.scene_labels) throw usage_error("--scorer needs --scene-labels");
  if (o.gnet_subject < 0) throw usage_error("--gnet-subject: 1 or more expected");
  auto known = report::image_score_names();
  if (o.scene_labels) known.insert(known.end(), report::scene_image_score_names().begin(), report::scene_image_score_names().end());
  auto named = o.metrics;
  std::erase_if(named, [](const std::string& name) { return name.starts_with("brain_corr_"); });  // regions are known once --betas is read
  check_names(named, known);
  const auto how = score_options(o, run);
  const auto subjects = o.recon.size();
  Work planned;
  emit_subjects(o.recon, o.subjects, o.resamples, o.output, run, [&](std::size_t i) {
    const auto seen = of_subject(o.truth, i, subjects, "--truth"), blended = of_subject(o.lowlevel, i, subjects, "--blend");
    const auto betas = of_subject(o.betas, i, subjects, "--betas"), predicted = of_subject(o.predicted, i, subjects, "--predicted");
    const auto recon = report::ImageSet::open(o.recon[i].path, o.array), truth = report::ImageSet::open(seen ? seen->path : o.scene_labels->path, o.array);
    std::optional<report::ImageSet> low;
    if (blended) low = report::ImageSet::open(blended->path, o.array);
    std::vector<std::pair<std::string, std::optional<report::ImageSet>>> sets;  // all opened before any is scored
    for (const auto& b : baselines_of(o, i, subjects)) sets.emplace_back(b.name, b.path.empty() ? std::nullopt : std::optional(report::ImageSet::open(b.path, o.array)));
    if (run.dry_run()) {
      planned += report::score_work(recon, truth, 1 + static_cast<std::int64_t>(sets.size()), how);
      return report::Scores();
    }
    auto options = how;
    if (betas) options.brain.betas = betas->path;
    auto scores = report::score_images(recon, truth, low ? &*low : nullptr, options);
    const report::Reconstructions scored{recon, truth, low ? &*low : nullptr, o.blend_weight, o.antialias, scores.ids};
    for (const auto& [name, set] : sets)
      report::add_baseline(scores, name, set ? *set : name == "mean" ? report::mean_picture(scored) : name == "other" ? report::other_pictures(scored, run.seed())
                           : report::nearest_pictures(scores.ids, predicted->path, o.train_tokens->path, o.train_images->path, o.array), truth, options);
    return scores;
  });
  if (run.dry_run()) run.plan_work(planned);
}

}  // namespace me2
