#include "train/encoder_stage.h"

#include <ATen/ATen.h>

#include <filesystem>
#include <set>
#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/random.h"
#include "base/signals.h"
#include "nn/count_work.h"
#include "store/zarr.h"
#include "text/bpe_learn.h"
#include "text/clip_bpe.h"

namespace me2::train {
namespace {

namespace fs = std::filesystem;

// The training material, in memory: images as bytes, everything else small.
struct Material {
  at::Tensor images;   // u8 [n, 3, S, S]
  at::Tensor ids;      // i64 [n * K, L]
  at::Tensor patches;  // i64 [n, T] or undefined
  at::Tensor words;    // f32 [n * K, W]
  std::int64_t choices = 1, patch_labels = 0;
};

// What each patch shows: 0 background, 1 + category of the object that covers a fifth of it or more.
at::Tensor patch_labels(const store::Group& group, std::int64_t n, std::int64_t side, std::int64_t patch) {
  const auto segmentation = group.array("segmentation").read<std::uint8_t>();
  const auto main = group.array("category").read<std::int16_t>(), second = group.array("second_category").read<std::int16_t>();
  const auto grid = side / patch, enough = patch * patch / 5;
  auto labels = at::zeros({n, grid * grid}, at::kLong);
  auto out = labels.accessor<std::int64_t, 2>();
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t cell = 0; cell < grid * grid; ++cell) {
      std::int64_t covered[3] = {};
      for (std::int64_t y = 0; y < patch; ++y)
        for (std::int64_t x = 0; x < patch; ++x)
          ++covered[segmentation[static_cast<std::size_t>((i * side + cell / grid * patch + y) * side + cell % grid * patch + x)]];
      if (covered[1] > enough) out[i][cell] = 1 + main[static_cast<std::size_t>(i)];
      else if (covered[2] > enough) out[i][cell] = 1 + second[static_cast<std::size_t>(i)];
    }
  return labels;
}

Material read_material(const std::string& path, const text::ClipBpe& bpe, const std::vector<std::string>& captions, std::int64_t context, std::int64_t patch) {
  const auto group = store::Group::open(path);
  const auto images = group.array("image");
  const auto& shape = images.shape();
  if (shape.size() != 4 || shape[1] != 3 || shape[2] != shape[3]) throw data_error("{}: shape [n, 3, side, side] expected, [{}] found", images.path(), fmt::join(shape, ", "));
  Material m;
  m.images = at::empty(shape, at::kByte);
  images.read_bytes({store::Shape(4, 0), shape}, store::DType::u1, m.images.data_ptr());
  m.choices = static_cast<std::int64_t>(captions.size()) / shape[0];
  m.ids = at::empty({static_cast<std::int64_t>(captions.size()), context}, at::kLong);
  std::set<std::string> words;
  std::vector<std::vector<std::string>> split;
  for (std::size_t i = 0; i < captions.size(); ++i) {
    const auto ids = bpe.encode(captions[i], text::ClipFlavour::open_clip, static_cast<std::size_t>(context)).ids;
    std::copy(ids.begin(), ids.end(), m.ids.data_ptr<std::int64_t>() + static_cast<std::ptrdiff_t>(i) * context);
    std::istringstream stream(captions[i]);
    auto& own = split.emplace_back();
    for (std::string word; stream >> word;) own.push_back(word), words.insert(word);
  }
  if (words.size() <= 4096) {  // beyond that they are no closed set of words
    const std::vector<std::string> all(words.begin(), words.end());
    m.words = at::zeros({static_cast<std::int64_t>(captions.size()), static_cast<std::int64_t>(all.size())});
    auto out = m.words.accessor<float, 2>();
    for (std::size_t i = 0; i < split.size(); ++i)
      for (const auto& word : split[i]) out[static_cast<std::int64_t>(i)][std::lower_bound(all.begin(), all.end(), word) - all.begin()] = 1;
  }
  if (group.has_array("segmentation") && group.has_array("category")) {
    m.patches = patch_labels(group, shape[0], shape[2], patch);
    m.patch_labels = m.patches.max().item<std::int64_t>() + 1;
  }
  return m;
}

// The batch of a step depends on (seed, step) only, so a resumed run sees what an uninterrupted one does.
EncoderBatch draw_batch(const Material& m, std::int64_t batch, std::uint64_t seed, std::int64_t step) {
  Random draws(seed, fmt::format("encoder batch/{}", step));
  const auto n = static_cast<std::uint64_t>(m.images.size(0));
  std::vector<std::int64_t> rows, texts;
  for (std::int64_t i = 0; i < batch; ++i) {
    rows.push_back(static_cast<std::int64_t>(draws.below(n)));
    texts.push_back(rows.back() * m.choices + static_cast<std::int64_t>(draws.below(static_cast<std::uint64_t>(m.choices))));
  }
  const auto row = at::tensor(rows, at::kLong), text = at::tensor(texts, at::kLong);
  EncoderBatch b;
  b.images = m.images.index_select(0, row).to(at::kFloat) / 255;
  b.ids = m.ids.index_select(0, text);
  if (m.patches.defined()) b.patches = m.patches.index_select(0, row);
  if (m.words.defined()) b.words = m.words.index_select(0, text);
  return b;
}

}  // namespace

Work encoder_work(const EncoderOptions& o, std::int64_t batch) {
  Json config = read_json_file(o.config.path);
  const auto images = store::Group::open(o.stimuli.path).array("image");
  config["open_clip"]["text_cfg"]["vocab_size"] = std::int64_t{49408};  // before the words are learned: the largest
  nn::Initialiser source(0, at::kMeta);
  const models::OpenClipVision vision(nn::Scope(source).sub("visual"), models::OpenClipVisionConfig::from_json(config));
  const models::OpenClipText text(nn::Scope(source), models::OpenClipTextConfig::from_json(config));
  const auto size = vision.config.image_size;
  std::vector<at::Tensor> kept;
  Work work = nn::training_step(nn::count_work([&] {
    const auto seen = vision(nn::meta({batch, 3, size, size}));
    kept = {seen.tokens, seen.pooled, text(nn::meta({batch, text.config.context_length}, at::kLong)).pooled};
  })).times(static_cast<double>(o.steps));
  work.held += static_cast<std::uint64_t>(2 * images.size());  // pictures as bytes, and what is small beside them
  return work;
}

Json train_encoder(const EncoderOptions& o, std::int64_t batch, std::uint64_t seed, bool resume, const Json& provenance,
                   const std::string& config_digest, const std::function<void(std::int64_t, const EncoderLosses&)>& report) {
  Json config = read_json_file(o.config.path);
  const auto group = store::Group::open(o.stimuli.path);
  if (!group.has_array("caption")) throw data_error("{}: no captions; me2-preprocess stimuli --captions adds them", o.stimuli.path);
  const auto captions = group.array("caption").read_strings();
  const auto merges = o.vocab ? read_file(o.vocab->path) : text::merges_text(text::learn_merges(captions));
  const std::string partial = o.model.path + ".partial", state_file = partial + "/state.safetensors";
  if (!resume) fs::remove_all(partial);
  fs::create_directories(partial);
  const std::string vocab_file = partial + "/bpe_simple_vocab.txt", digest_file = partial + "/digest";
  if (resume && fs::exists(digest_file) && read_file(digest_file) != config_digest)
    throw usage_error("{}: begun with other options or inputs; remove it, or give the same ones", partial);
  write_file_atomic(digest_file, config_digest);
  write_file_atomic(vocab_file, merges);
  const auto bpe = text::ClipBpe::open(vocab_file);
  Json& clip = config["open_clip"];
  clip["text_cfg"]["vocab_size"] = bpe.size();
  const auto material = read_material(o.stimuli.path, bpe, captions, clip["text_cfg"].value("context_length", std::int64_t{77}), clip.at("vision_cfg").at("patch_size"));
  EncoderTrainOptions options{o.lr, o.weight_decay, o.steps, std::min<std::int64_t>(100, o.steps), o.contrastive, o.pixels, o.patches, o.words, seed};
  EncoderTrainer trainer(config, options, material.patch_labels, material.words.defined() ? material.words.size(1) : 0);
  Json curve = Json::array();
  if (resume && fs::exists(state_file)) {
    trainer.load_state(weights::StateDict::open(state_file));
    curve = read_json_file(partial + "/curve.json");
  }
  const auto checkpoint = [&] {  // the curve first: one that runs ahead of the state is cut when resuming
    write_file_atomic(partial + "/curve.json", curve.dump());
    weights::save_safetensors(state_file, trainer.state());
  };
  while (!curve.empty() && curve.back()["step"].get<std::int64_t>() > trainer.done()) curve.erase(curve.end() - 1);
  while (trainer.done() < o.steps) {
    if (stop_requested()) {
      checkpoint();
      check_stop();
    }
    const auto losses = trainer.step(draw_batch(material, batch, seed, trainer.done()));
    const auto done = trainer.done();
    if (done % 50 == 0 || done == o.steps || done == 1)
      curve.push_back({{"step", done}, {"loss", losses.total}, {"contrastive", losses.contrastive}, {"pixels", losses.pixels}, {"patches", losses.patches},
                       {"words", losses.words}, {"batch_top1", losses.batch_top1}});
    if (done % o.checkpoint_steps == 0) checkpoint();
    report(done, losses);
  }
  config["curve"] = curve;
  config["me2"] = provenance;
  weights::save_model_dir(o.model.path, config, weights::stored_as(trainer.model(), o.stored));
  write_file_atomic(o.model.path + "/bpe_simple_vocab.txt", merges);
  fs::remove_all(partial);
  return curve;
}

}  // namespace me2::train
