#include "report/caption_evaluation.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <limits>
#include <span>
#include <tuple>

#include "base/error.h"
#include "base/json.h"
#include "base/random.h"
#include "metrics/bootstrap.h"
#include "models/minilm.h"
#include "report/clip_towers.h"
#include "report/scene_evaluation.h"
#include "store/parallel.h"
#include "store/zarr.h"
#include "text/caption_scores.h"
#include "text/wordpiece.h"
#include "weights/state_dict.h"

namespace me2::report {
namespace {

namespace fs = std::filesystem;

at::Tensor embed(const models::SentenceEncoder& net, const text::WordPiece& words, const std::string& text) {
  const auto ids = words.encode(text, true, static_cast<std::size_t>(std::min<std::int64_t>(256, net.config.positions)));
  const at::Tensor x = at::tensor(ids, at::kLong).unsqueeze(0);
  return net(x, at::ones_like(x))[0];
}

// Cosine with the nearest reference.
std::vector<double> sentence_scores(const std::vector<std::string>& hypotheses, const std::vector<std::vector<std::string>>& references, const std::string& model) {
  const auto net = models::load_sentence_encoder(weights::StateDict::open(model));
  const auto words = text::WordPiece::open(fs::is_directory(model) ? model : fs::path(model).parent_path().string());
  std::vector<double> out;
  for (std::size_t i = 0; i < hypotheses.size(); ++i) {
    const at::Tensor h = embed(net, words, hypotheses[i]);
    double best = -1;
    for (const auto& r : references[i]) best = std::max(best, at::dot(h, embed(net, words, r)).item<double>());
    out.push_back(best);
  }
  return out;
}

// Cosine of CLIP's text embeddings with the nearest reference's.
std::vector<double> clip_scores(const std::vector<std::string>& hypotheses, const std::vector<std::vector<std::string>>& references, const std::string& model,
                                const std::string& vocabulary) {
  const ClipText embedded(model, vocabulary);
  const at::Tensor h = embedded(hypotheses);
  std::vector<double> out;
  for (std::size_t i = 0; i < hypotheses.size(); ++i) out.push_back(at::mv(embedded(references[i]), h[static_cast<std::int64_t>(i)]).max().item<double>());
  return out;
}

// What rouge_score's BootstrapAggregator (and so the reference) prints in place of the mean: the median of 1,000 means of resamples. It
// draws from numpy's generator without a seed, so that its third decimal is chance.
double bootstrap_median(const std::vector<double>& values, std::uint64_t seed) {
  Random random(seed, "rouge aggregate");
  std::vector<double> means(1000);
  for (auto& mean : means) {
    for (std::size_t i = 0; i < values.size(); ++i) mean += values[random.below(values.size())];
    mean /= static_cast<double>(values.size());
  }
  std::sort(means.begin(), means.end());
  return (means[499] + means[500]) / 2;
}

}  // namespace

const std::vector<std::string>& caption_score_names() {
  static const std::vector<std::string> names{"meteor", "rouge1", "rouge_l", "bleu1", "bleu2", "bleu3", "bleu4", "cider", "sentence", "cap_sim", "clip_b", "clip_l"};
  return names;
}

Captions read_captions(const std::string& path) {
  Captions out;
  if (fs::is_directory(path)) {
    const auto group = store::Group::open(path);
    const auto array = group.array("caption");
    const auto texts = array.read_strings();
    const auto rows = array.shape().at(0);
    std::vector<std::int64_t> ids(rows);
    for (std::int64_t i = 0; i < rows; ++i) ids[i] = i;
    if (group.has_array("stimulus")) ids = group.array("stimulus").read<std::int64_t>();
    const auto per_row = rows ? static_cast<std::int64_t>(texts.size()) / rows : 0;
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t k = 0; k < per_row; ++k)
        if (const auto& text = texts[i * per_row + k]; per_row == 1 || !text.empty()) out[std::to_string(ids[i])].push_back(text);
    return out;
  }
  const Json json = read_json_file(path);
  if (!json.is_object()) throw data_error("{}: an object {{\"id\": \"text\"}} or {{\"id\": [\"text\", ...]}} expected", path);
  for (const auto& [id, value] : json.items()) {
    const auto add = [&, &id = id](const Json& text) {
      if (!text.is_string()) throw data_error("{}: \"{}\": a text or a list of texts expected", path, id);
      out[id].push_back(text.get<std::string>());
    };
    if (value.is_array()) {
      if (value.empty()) throw data_error("{}: \"{}\": no text", path, id);
      for (const auto& text : value) add(text);
    } else {
      add(value);
    }
  }
  if (out.empty()) throw data_error("{}: no captions", path);
  return out;
}

Scores score_captions(const Captions& captions, const Captions& references, const CaptionOptions& options) {
  Scores out;
  std::vector<std::string> hypotheses, missing;
  std::vector<std::vector<std::string>> refs;
  std::int64_t empty = 0, most_refs = 0;
  for (const auto& [id, texts] : captions) {
    const auto it = references.find(id);
    if (it == references.end()) {
      missing.push_back(id + " (has no reference)");
      continue;
    }
    out.ids.push_back(id);
    hypotheses.push_back(texts.front());
    refs.push_back(it->second);
    empty += texts.front().find_first_not_of(" \t\r\n") == std::string::npos;
    most_refs = std::max<std::int64_t>(most_refs, static_cast<std::int64_t>(it->second.size()));
  }
  for (const auto& [id, texts] : references)
    if (!captions.contains(id)) missing.push_back(id + " (has no caption)");
  if (!missing.empty()) {
    const auto text = fmt::format("{}{}", fmt::join(missing.begin(), missing.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(10, missing.size())), ", "), missing.size() > 10 ? ", ..." : "");
    if (!options.allow_missing) throw data_error("{} ids are missing on one side: {} (--allow-missing scores the others)", missing.size(), text);
    out.notes.push_back(fmt::format("{} ids missing on one side, left out: {}", missing.size(), text));
  }
  if (out.ids.empty()) throw data_error("captions and references have no id in common");
  if (empty) out.notes.push_back(fmt::format("{} empty caption{}, scored as they are", empty, empty == 1 ? "" : "s"));
  out.notes.push_back(fmt::format("{} captions, up to {} reference{} each", out.ids.size(), most_refs, most_refs == 1 ? "" : "s"));

  const auto wants = [&](const std::string& name) {
    const auto& m = options.metrics;
    return m.empty() || std::find(m.begin(), m.end(), name) != m.end() || (name.starts_with("bleu") && std::find(m.begin(), m.end(), "bleu") != m.end());
  };
  const auto n = static_cast<std::int64_t>(hypotheses.size());
  std::vector<Score> scores;
  std::vector<metrics::Scored> scored;
  const auto add = [&](const std::string& name, const std::string& note, std::vector<double> values) {
    Score s;
    s.name = name, s.note = note, s.per_image = values;
    scores.push_back(std::move(s));
    scored.push_back({std::move(values), 1, {}});
  };
  const auto each = [&](const std::function<double(std::int64_t)>& f) {
    std::vector<double> values(n);
    store::parallel_for(n, options.threads, [&](std::int64_t i) { values[i] = f(i); });
    return values;
  };
  if (wants("meteor")) {
    const text::WordNet wordnet(options.wordnet.empty() ? text::WordNet::default_folder() : options.wordnet);
    const text::Meteor meteor(wordnet);
    add("meteor", "NLTK's METEOR with WordNet; not the Java METEOR 1.5 of the COCO leaderboards", each([&](std::int64_t i) { return meteor.score(refs[i], hypotheses[i]); }));
  }
  const auto best = [&](auto&& f) {
    return each([&](std::int64_t i) {
      const auto said = text::rouge_tokens(hypotheses[i]);
      double value = 0;
      for (const auto& r : refs[i]) value = std::max(value, f(text::rouge_tokens(r), said).f);
      return value;
    });
  };
  if (wants("rouge1")) add("rouge1", "rouge_score F1", best([](const auto& r, const auto& h) { return text::rouge_n(r, h, 1); }));
  const bool coco = wants("cider") || wants("bleu1") || wants("bleu2") || wants("bleu3") || wants("bleu4") || (wants("rouge_l") && options.coco_rouge);
  std::vector<text::Tokens> tokens(coco ? n : 0);
  std::vector<std::vector<text::Tokens>> ref_tokens(coco ? n : 0);
  if (coco)
    store::parallel_for(n, options.threads, [&](std::int64_t i) {
      tokens[i] = text::coco_tokens(hypotheses[i]);
      for (const auto& r : refs[i]) ref_tokens[i].push_back(text::coco_tokens(r));
    });
  if (wants("rouge_l")) {
    if (options.coco_rouge) add("rouge_l", "COCO evaluation: beta 1.2, best precision and recall over references", each([&](std::int64_t i) { return text::coco_rouge_l(ref_tokens[i], tokens[i]); }));
    else add("rouge_l", "rouge_score F1", best([](const auto& r, const auto& h) { return text::rouge_l(r, h); }));
  }
  std::vector<text::BleuCounts> counts;
  for (int k = 0; k < 4; ++k) {
    const std::string name = "bleu" + std::to_string(k + 1);
    if (!wants(name)) continue;
    if (counts.empty()) {
      counts.resize(n);
      store::parallel_for(n, options.threads, [&](std::int64_t i) { counts[i] = text::bleu_counts(ref_tokens[i], tokens[i]); });
    }
    metrics::Scored s;
    s.columns = 10;
    s.statistic = [k, n](std::span<const double> m) {
      text::BleuCounts c;
      for (int j = 0; j < 4; ++j) c.match[j] = m[j] * static_cast<double>(n), c.guess[j] = m[4 + j] * static_cast<double>(n);
      c.length = m[8] * static_cast<double>(n), c.reference_length = m[9] * static_cast<double>(n);
      return text::bleu(c)[k];
    };
    Score score;
    score.name = name, score.note = "over the corpus, COCO tokenisation";
    for (const auto& c : counts) {
      s.values.insert(s.values.end(), c.match.begin(), c.match.end());
      s.values.insert(s.values.end(), c.guess.begin(), c.guess.end());
      s.values.push_back(c.length), s.values.push_back(c.reference_length);
      score.per_image.push_back(text::bleu(c)[k]);
    }
    score.drawn = s;
    scores.push_back(std::move(score));
    scored.push_back(std::move(s));
  }
  if (wants("cider")) {
    const text::Cider cider(ref_tokens);
    add("cider", "as the leaderboards (CIDEr-D, document frequencies of these references)", each([&](std::int64_t i) { return cider.score(static_cast<std::size_t>(i), tokens[i]); }));
  }
  // Cap-Sim is the same cosine; what makes it one are the captions, those of reconstructions and of the images, so it is to be asked for.
  const bool cap_sim = !options.metrics.empty() && wants("cap_sim");
  std::vector<double> cosines;
  for (const char* name : {"sentence", "cap_sim"}) {
    if (name[0] == 'c' ? !cap_sim : !wants(name)) continue;
    if (options.sentence.empty()) {
      out.not_run.emplace_back(name, "needs --sentence FOLDER (all-MiniLM-L6-v2)");
      continue;
    }
    if (cosines.empty()) cosines = sentence_scores(hypotheses, refs, options.sentence);
    add(name, name[0] == 'c' ? "--captions taken to be of reconstructions, --references of the images, both by one captioner" : "cosine of sentence embeddings, nearest reference", cosines);
  }
  for (const auto& [name, file, needs] : {std::tuple{"clip_b", &options.clip_b, "needs --clip-b FILE (OpenAI CLIP ViT-B/32)"},
                                          std::tuple{"clip_l", &options.clip_l, "needs --clip-l FILE (OpenAI CLIP ViT-L/14)"}}) {
    if (!wants(name)) continue;
    if (file->empty()) out.not_run.emplace_back(name, needs);
    else add(name, "cosine of CLIP text embeddings, nearest reference", clip_scores(hypotheses, refs, *file, options.clip_vocabulary));
  }
  metrics::BootstrapOptions how;
  how.resamples = options.resamples, how.seed = options.seed, how.threads = options.threads;
  const auto intervals = metrics::bca(scored, how);
  for (std::size_t k = 0; k < scores.size(); ++k) {
    scores[k].value = intervals[k].value, scores[k].low = intervals[k].low, scores[k].high = intervals[k].high, scores[k].n = intervals[k].n;
    if (scores[k].note == "rouge_score F1") scores[k].details["bootstrap_median"] = bootstrap_median(scores[k].per_image, options.seed);
    out.scores.push_back(std::move(scores[k]));
  }
  if (!options.scene_labels.empty()) {
    SceneOptions scene;
    scene.wants = wants, scene.resamples = options.resamples, scene.seed = options.seed, scene.threads = options.threads;
    add_scene_caption_scores(out, hypotheses, SceneLabels::read(options.scene_labels), scene);
  }
  return out;
}

Scores score_captions_three_ways(const Captions& captions, const Captions& image_captions, const Captions& references, const CaptionOptions& options) {
  Captions brain = captions, image = image_captions, right = references;
  if (options.allow_missing) {  // the same images in all three
    const auto keep = [&](Captions& set) {
      std::erase_if(set, [&](const auto& entry) { return !captions.contains(entry.first) || !image_captions.contains(entry.first) || !references.contains(entry.first); });
    };
    keep(brain), keep(image), keep(right);
  }
  CaptionOptions others = options;
  others.scene_labels.clear();
  Scores out = score_captions(brain, right, options);
  const Scores seen = score_captions(image, right, others), agreement = score_captions(brain, image, others);
  if (const auto left_out = captions.size() - brain.size()) out.notes.push_back(fmt::format("{} captions whose image lacks a reference or an image caption, left out", left_out));
  std::vector<metrics::Scored> ratios;
  std::vector<Score> relative;
  for (const auto& [set, suffix, what] : {std::tuple{&seen, "_img_ref", "captions of the images seen, against references"}, std::tuple{&agreement, "_brain_img", "against captions of the images seen"}})
    for (Score s : set->scores) {
      s.name += suffix;
      s.note = fmt::format("{}; {}", what, s.note);
      out.scores.push_back(std::move(s));
    }
  for (std::size_t k = 0; k < seen.scores.size(); ++k) {
    const Score& top = agreement.scores[k];
    const Score& base = seen.scores[k];
    Score s;
    s.name = top.name + "_relative", s.n = top.n, s.note = "brain against image captions, over image captions against references";
    s.value = top.value / base.value;
    s.low = s.high = std::numeric_limits<double>::quiet_NaN();
    if (top.name.starts_with("bleu")) {
      s.interval = "none";
      out.scores.push_back(std::move(s));
      continue;
    }
    metrics::Scored ratio;
    ratio.columns = 2;
    ratio.statistic = [](std::span<const double> means) { return means[0] / means[1]; };
    for (std::size_t i = 0; i < top.per_image.size(); ++i) ratio.values.push_back(top.per_image[i]), ratio.values.push_back(base.per_image[i]);
    s.drawn = ratio;
    ratios.push_back(std::move(ratio));
    relative.push_back(std::move(s));
  }
  metrics::BootstrapOptions how;
  how.resamples = options.resamples, how.seed = options.seed, how.threads = options.threads;
  const auto intervals = metrics::bca(ratios, how);
  for (std::size_t k = 0; k < relative.size(); ++k) {
    relative[k].low = intervals[k].low, relative[k].high = intervals[k].high;
    out.scores.push_back(std::move(relative[k]));
  }
  return out;
}

}  // namespace me2::report
