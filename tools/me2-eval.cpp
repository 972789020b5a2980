// me2-eval: scores of reconstructions, captions and embeddings, ours or any other method's.
#include <algorithm>
#include <optional>

#include <c10/core/InferenceMode.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/tool.h"
#include "eval_compare.h"
#include "eval_preference.h"
#include "eval_rerun.h"
#include "nn/device.h"
#include "eval_report.h"
#include "report/scores.h"
#include "report/baselines.h"
#include "report/caption_evaluation.h"
#include "report/evaluation.h"
#include "report/retrieval_evaluation.h"
#include "report/scene_evaluation.h"

namespace me2 {

enum class CaptionStyle { automatic, coco, mindeye2 };
template <>
inline const EnumNames<CaptionStyle>& enum_names() {
  static const EnumNames<CaptionStyle> names{{CaptionStyle::automatic, "auto"}, {CaptionStyle::coco, "coco"}, {CaptionStyle::mindeye2, "mindeye2"}};
  return names;
}

namespace {

struct OutputOptions {  // --json is a common option
  bool csv = false;
  std::optional<OutputPath> per_image;
  std::optional<OutputPath> out;
  void describe(Describe& d) {
    d.option("--csv", csv, "print the scores as CSV");
    d.option("--per-image", per_image, "write a CSV with one row per image and one column per score");
    d.option("--out", out, "write the scores as JSON (docs/scores-schema.md)");
  }
};

void emit(const report::Scores& scores, const OutputOptions& options, cli::Run& run) {
  const std::string json = report::scores_json(scores, run.provenance()).dump(1) + "\n";
  if (options.per_image) write_file_atomic(options.per_image->path, report::per_image_csv(scores));
  if (options.out) write_file_atomic(options.out->path, json);
  run.print(run.options().json ? json : options.csv ? report::scores_csv(scores) : report::scores_table(scores));
}

void check_names(const std::vector<std::string>& given, std::vector<std::string> known) {
  for (const auto& name : given)
    if (std::find(known.begin(), known.end(), name) == known.end()) throw usage_error("--metrics: {} expected, \"{}\" found", fmt::join(known, ", "), name);
}

// ---- score

struct ScoreVerb {
  std::optional<InputPath> recon, truth, lowlevel, captions, references, split_file, scene_labels, predicted, train_tokens, train_images, image_captions, betas, regions;
  int gnet_subject = 0;
  std::optional<ModelPath> scorer;
  std::vector<std::string> metrics, baselines;
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
    d.positional("RECON", recon, "reconstructions: store, .npy (u1 or float [n,3,H,W]), .pt, or a folder of images");
    d.option("--truth", truth, "the images that were seen, in any of the same forms; joined by id or name");
    d.option("--baseline", baselines, "pictures scored beside RECON. mean: the mean of all; other: another image's; nearest: the training image whose tokens are nearest to "
                                      "the predicted ones; NAME=PICTURES: any others, as from true tokens or a mean brain");
    d.option("--predicted", predicted, "for --baseline nearest: predicted tokens of the images scored, store or .npy");
    d.option("--train-tokens", train_tokens, "for --baseline nearest: tokens of training images, store or .npy; rows of images scored do not count");
    d.option("--train-images", train_images, "for --baseline nearest: the training images, as RECON; found by id");
    d.option("--blend", lowlevel, "low-level images: scored is .75 RECON + .25 of these");
    d.option("--blend-weight", blend_weight, "weight of RECON when blending");
    d.option("--captions", captions, "captions to score: {\"id\": \"text\"} or a store with caption");
    d.option("--references", references, "reference captions: {\"id\": [\"text\", ...]} or a store with caption");
    d.option("--image-captions", image_captions, "captions of the images seen, made by the captioner: also score these, --captions against them, and the ratio");
    d.option("--metrics", metrics, "which scores (default: all); bleu stands for bleu1 to bleu4, brain_corr for all regions");
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

void score_caption_files(const ScoreVerb& o, cli::Run& run) {
  const auto& right = o.references ? o.references : o.scene_labels;
  if (!o.captions || !right) throw usage_error("--captions and --references go together{}", o.image_captions && !o.captions ? "; --image-captions comes with both" : "");
  auto known = report::caption_score_names();
  known.push_back("bleu");
  if (o.scene_labels) known.insert(known.end(), report::scene_caption_score_names().begin(), report::scene_caption_score_names().end());
  check_names(o.metrics, known);
  const auto captions = report::read_captions(o.captions->path), references = report::read_captions(right->path);
  if (run.dry_run()) return;
  report::CaptionOptions how;
  how.metrics = o.metrics;
  if (o.wordnet) how.wordnet = o.wordnet->path;
  if (o.sentence) how.sentence = o.sentence->path;
  if (o.clip_b) how.clip_b = o.clip_b->path;
  if (o.clip_l) how.clip_l = o.clip_l->path;
  if (o.clip_vocab) how.clip_vocabulary = o.clip_vocab->path;
  how.coco_rouge = o.style == CaptionStyle::coco;
  if (o.style == CaptionStyle::automatic)
    for (const auto& [id, texts] : references) how.coco_rouge = how.coco_rouge || texts.size() > 1;
  if (o.scene_labels) how.scene_labels = o.scene_labels->path;
  how.allow_missing = o.allow_missing, how.resamples = o.resamples, how.seed = run.seed(), how.threads = run.threads();
  emit(o.image_captions ? report::score_captions_three_ways(captions, report::read_captions(o.image_captions->path), references, how)
                        : report::score_captions(captions, references, how), o.output, run);
}

void score(const ScoreVerb& o, cli::Run& run) {
  nn::set_threads(run.threads());
  const c10::InferenceMode guard;
  if (o.resamples < 1) throw usage_error("--resamples: 1 or more expected");
  if (o.captions || o.references || o.image_captions) return score_caption_files(o, run);
  const auto& seen = o.truth ? o.truth : o.scene_labels;
  if (!o.recon || !seen) throw usage_error("RECON and --truth, or --captions and --references, expected");
  if (!(o.blend_weight >= 0 && o.blend_weight <= 1)) throw usage_error("--blend-weight: a number from 0 to 1 expected");
  if (o.scorer && !o.scene_labels) throw usage_error("--scorer needs --scene-labels");
  auto known = report::image_score_names();
  if (o.scene_labels) known.insert(known.end(), report::scene_image_score_names().begin(), report::scene_image_score_names().end());
  auto named = o.metrics;
  std::erase_if(named, [](const std::string& name) { return name.starts_with("brain_corr_"); });  // regions are known once --betas is read
  check_names(named, known);
  if (o.gnet_subject < 0) throw usage_error("--gnet-subject: 1 or more expected");
  const auto recon = report::ImageSet::open(o.recon->path, o.array), truth = report::ImageSet::open(seen->path, o.array);
  std::optional<report::ImageSet> low;
  if (o.lowlevel) low = report::ImageSet::open(o.lowlevel->path, o.array);
  std::vector<std::pair<std::string, std::optional<report::ImageSet>>> baselines;  // without pictures: made once the ids are known
  for (const auto& text : o.baselines) {
    const auto equals = text.find('=');
    if (text == "nearest" && !(o.predicted && o.train_tokens && o.train_images)) throw usage_error("--baseline nearest needs --predicted, --train-tokens and --train-images");
    if (text == "mean" || text == "other" || text == "nearest") {
      baselines.emplace_back(text, std::nullopt);
      continue;
    }
    if (equals == 0 || equals == std::string::npos || equals + 1 == text.size()) throw usage_error("--baseline: mean, other, nearest or NAME=PICTURES expected, \"{}\" found", text);
    baselines.emplace_back(text.substr(0, equals), report::ImageSet::open(text.substr(equals + 1), o.array));
  }
  report::ScoreOptions how;
  how.metrics = o.metrics;
  if (o.nets) how.nets = report::NetFiles::in_folder(o.nets->path);
  const auto take = [](std::string& slot, const std::optional<ModelPath>& given) {
    if (given) slot = given->path;
  };
  take(how.nets.alexnet, o.alexnet), take(how.nets.inception, o.inception), take(how.nets.clip, o.clip), take(how.nets.effnet, o.effnet), take(how.nets.swav, o.swav);
  take(how.brain.gnet, o.gnet);
  if (o.betas) how.brain.betas = o.betas->path;
  if (o.regions) how.brain.regions = o.regions->path;
  how.brain.subject = o.gnet_subject;
  how.blend = o.blend_weight, how.antialias = o.antialias, how.allow_missing = o.allow_missing, how.resamples = o.resamples;
  how.batch_size = run.batch_size(16), how.seed = run.seed(), how.threads = run.threads();
  if (o.scene_labels) how.scene_labels = o.scene_labels->path;
  if (o.scorer) how.scorer = o.scorer->path;
  if (o.split_file) how.splits = report::read_split_file(o.split_file->path);
  if (run.dry_run()) return;
  auto scores = report::score_images(recon, truth, low ? &*low : nullptr, how);
  const report::Reconstructions scored{recon, truth, low ? &*low : nullptr, o.blend_weight, o.antialias, scores.ids};
  for (const auto& [name, set] : baselines)
    report::add_baseline(scores, name, set ? *set : name == "mean" ? report::mean_picture(scored) : name == "other" ? report::other_pictures(scored, run.seed())
                         : report::nearest_pictures(scores.ids, o.predicted->path, o.train_tokens->path, o.train_images->path, o.array), truth, how);
  emit(scores, o.output, run);
}

// ---- retrieval

struct RetrievalVerb {
  InputPath brain;
  InputPath truth;
  report::RetrievalOptions options;
  std::optional<InputPath> draws_file, train_tokens;
  int ways = 300, draws = 30;
  OutputOptions output;
  void describe(Describe& d) {
    d.positional("BRAIN", brain, "brain embeddings: stage store (clip [sample, T, D]) or .npy [n, ...]");
    d.required("--truth", truth, "image embeddings of the same stimuli: target store or .npy");
    d.option("--brain-array", options.brain_array, "array of BRAIN (default: clip, clip_tokens, clip_pooled or tokens)");
    d.option("--truth-array", options.image_array, "array of --truth (default: the same list)");
    d.option("--ways", ways, "candidates of a draw");
    d.option("--draws", draws, "draws of candidates");
    d.option("--draws-file", draws_file, ".npy [draws, ways] of positions, in place of random draws");
    d.option("--train-tokens", train_tokens, "embeddings of training images, as --truth: also score the nearest of them in place of BRAIN");
    d.option("--allow-missing", options.allow_missing, "score the stimuli both sides have");
    output.describe(d);
  }
};

void retrieval(const RetrievalVerb& o, cli::Run& run) {
  nn::set_threads(run.threads());
  const c10::InferenceMode guard;
  auto how = o.options;
  if (o.ways < 2 || o.draws < 1) throw usage_error("--ways: 2 or more, --draws: 1 or more expected");
  how.ways = o.ways, how.draws = o.draws, how.seed = run.seed(), how.threads = run.threads();
  if (o.draws_file) how.draws_file = o.draws_file->path;
  if (o.train_tokens) how.train_tokens = o.train_tokens->path;
  if (run.dry_run()) return;
  emit(report::score_retrieval(o.brain.path, o.truth.path, how), o.output, run);
}

// ---- rsa

struct RsaVerb {
  InputPath features;
  InputPath rdms;
  OutputOptions output;
  void describe(Describe& d) {
    d.positional("FEATURES", features, ".npy [n, F] of features, or [n, n] of dissimilarities");
    d.required("--rdms", rdms, ".npy [subjects, n, n] or [subjects, sessions, n, n] of measured dissimilarities");
    output.describe(d);
  }
};

void rsa(const RsaVerb& o, cli::Run& run) {
  if (run.dry_run()) return;
  emit(report::score_rsa(o.features.path, o.rdms.path), o.output, run);
}

}  // namespace
ME2_TOOL("me2-eval", "Score reconstructions, captions and embeddings",
         {cli::verb("score", "reconstructions against the images seen, or captions against references", score),
          cli::verb("retrieval", "find the image of a brain embedding, and the brain embedding of an image", retrieval),
          cli::verb("rsa", "representational similarity of features with measured brains", rsa),
          cli::verb("report", "one self-contained HTML page: pictures, scores, figures, provenance", report_page),
          cli::verb("compare", "two or more runs: differences with intervals and tests", compare),
          cli::verb("preference", "a survey page: which of two pictures is more like the one seen", preference),
          cli::verb("preference-score", "what the answers to a survey say", preference_score),
          cli::verb("rerun", "replay what a result came from, and say what differs", rerun)})
}  // namespace me2
