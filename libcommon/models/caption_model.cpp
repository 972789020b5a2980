#include "models/caption_model.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <filesystem>
#include <span>

#include "base/error.h"
#include "base/json.h"
#include "nn/count_work.h"
#include "weights/identify.h"
#include "weights/state_dict.h"

namespace me2::models {
namespace fs = std::filesystem;
namespace {

std::string first_of(const std::string& folder, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (fs::exists(fs::path(folder) / name)) return fs::path(folder) / name;
  return "";
}

}  // namespace

CaptionPaths CaptionPaths::find(const std::string& model, const std::string& converter, const std::string& git, const std::string& vocabulary) {
  CaptionPaths found{converter, git, vocabulary};
  for (const auto& path : {model, converter, git, vocabulary})
    if (!path.empty() && !fs::exists(path)) throw missing_error("{}: no such file or folder", path);
  const bool folder = !model.empty() && fs::is_directory(model);
  if (found.converter.empty() && folder) found.converter = first_of(model, {"converter", "bigG_to_L_epoch8.pth"});
  if (found.git.empty()) found.git = folder ? first_of(model, {"git", "git-large-coco"}) : model;
  if (found.git.empty()) found.git = model;  // the folder itself is GIT's
  if (found.git.empty()) throw missing_error("no captioner: --model or --git expected");
  if (found.vocabulary.empty()) {
    std::vector<std::string> places{fs::is_directory(found.git) ? found.git : fs::path(found.git).parent_path().string()};
    if (folder) places.push_back(model);
    for (const auto& place : places)
      if (found.vocabulary.empty()) found.vocabulary = first_of(place.empty() ? "." : place, {"vocab.txt", "tokenizer.json"});
  }
  return found;
}

ClipConverter load_clip_converter(const std::string& path, at::ScalarType dtype, at::Device device) {
  nn::Loader loader(weights::part_with(weights::StateDict::open(path), "linear2.weight"), dtype, device);
  const nn::Scope scope(loader);
  if (!scope.has("linear1.weight")) throw data_error("{}: not a CLIP converter; this looks like {}", path, weights::identify(loader.dict()));
  ClipConverter converter(scope, ClipConverterConfig::detect(scope));
  loader.finish();
  return converter;
}

GitCaptioner load_git(const std::string& path, at::ScalarType dtype, at::Device device) {
  const auto dict = weights::StateDict::open(path).without_prefix("module.");
  if (!dict.has("git.embeddings.word_embeddings.weight")) throw data_error("{}: not a GIT captioner; this looks like {}", path, weights::identify(dict));
  nn::Loader loader(dict, dtype, device);
  loader.ignore("git.image_encoder.");  // bypassed: the tokens come from the brain
  const nn::Scope scope(loader);
  GitCaptioner git(scope, GitConfig::detect(scope, dict.config()));
  loader.finish();
  return git;
}

CaptionModel CaptionModel::load(const CaptionPaths& paths, std::int64_t tokens, std::int64_t width, at::ScalarType dtype, at::Device device) {
  CaptionModel model;
  model.git.emplace(load_git(paths.git, dtype, device));
  const GitConfig& git = model.git->config;
  if (!paths.converter.empty()) {
    auto converter = load_clip_converter(paths.converter, dtype, device);
    const auto in = converter.linear1.weight.size(1), in_width = converter.linear2.weight.size(1), out = converter.linear2.weight.size(0);
    if (in == tokens && in_width == width) {
      if (out != git.image_width) throw data_error("{}: gives tokens of width {}, GIT ({}) reads {}", paths.converter, out, paths.git, git.image_width);
      model.converter.emplace(std::move(converter));
    } else if (width != git.image_width) {
      throw data_error("{}: converts tokens of [{}, {}], these are [{}, {}]", paths.converter, in, in_width, tokens, width);
    }
  } else if (width != git.image_width) {
    throw data_error("{}: GIT reads tokens of width {}, these have {}; a converter (converter/ in the model folder, or --converter) is needed", paths.git, git.image_width, width);
  }
  if (!paths.vocabulary.empty()) {
    model.vocabulary.emplace(text::WordPiece::open(paths.vocabulary));
    if (model.vocabulary->size() != git.vocab_size)
      throw data_error("{}: {} tokens, GIT ({}) has {}", paths.vocabulary, model.vocabulary->size(), paths.git, git.vocab_size);
  }
  return model;
}

at::Tensor CaptionModel::features(const at::Tensor& tokens) const {
  const at::Tensor x = tokens.to(git->word.weight.device(), git->word.weight.scalar_type());
  return converter ? (*converter)(x) : x;
}

Work CaptionModel::work(const store::Shape& tokens, std::int64_t batch, std::int64_t beams, std::int64_t max_length) const {
  const c10::InferenceMode guard;
  const auto steps = static_cast<double>(max_length - 1), rows = static_cast<double>(batch);
  at::Tensor x;
  Work work = nn::count_work([&] { x = features(nn::meta({batch, tokens.at(1), tokens.at(2)})); });
  // Word after word costs what all words at once do, in more calls; the picture's tokens are seen once. Of beams each has its words.
  Work words = nn::count_work([&] { git->logits(x, nn::meta({batch, max_length - 1}, at::kLong)); });
  words.calls *= steps;
  words.flops += steps * static_cast<double>(beams - 1) * rows * 2 * static_cast<double>(words.weights / 4);
  words.held *= static_cast<std::uint64_t>(beams);
  work += words;
  return work.times(1 / rows);
}

at::Tensor CaptionModel::ids(const at::Tensor& tokens, std::int64_t beams, std::int64_t max_length) const {
  const at::Tensor x = features(tokens);
  return (beams == 1 ? git->greedy(x, max_length).ids : git->beam(x, beams, max_length)).cpu();
}

std::vector<std::string> CaptionModel::captions(const at::Tensor& ids) const {
  std::vector<std::string> out;
  const at::Tensor rows = ids.contiguous();
  for (std::int64_t i = 0; i < rows.size(0); ++i) {
    const std::span<const std::int64_t> row(rows.const_data_ptr<std::int64_t>() + i * rows.size(1), static_cast<std::size_t>(rows.size(1)));
    if (vocabulary) {
      out.push_back(vocabulary->decode(row));
      continue;
    }
    std::string& numbers = out.emplace_back();
    for (const auto id : row)
      if (id != git->config.bos && id != git->config.eos && id != git->config.pad) numbers += (numbers.empty() ? "" : " ") + std::to_string(id);
  }
  return out;
}

}  // namespace me2::models
