// me2-caption: image tokens -> captions, and the fitting of what that takes.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <filesystem>
#include <unordered_map>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/signals.h"
#include "cli/tool.h"
#include "models/caption_model.h"
#include "nn/count_work.h"
#include "nn/device.h"
#include "store/stage.h"
#include "train/caption_fit.h"
#include "weights/state_dict.h"
#include "weights/stored.h"

namespace me2 {

enum class Part { converter, git };
template <>
inline const EnumNames<Part>& enum_names() {
  static const EnumNames<Part> names{{Part::converter, "converter"}, {Part::git, "git"}};
  return names;
}

namespace {

at::Device start(const cli::Run& run) {
  nn::set_threads(run.threads());
  return nn::open_device(run.options().device, run.dry_run());
}

store::Array token_array(const store::StageReader& in, const std::string& name) {
  store::Array array = in.array(name);
  if (array.shape().size() != 3) throw data_error("{}: tokens [sample, T, D] expected, [{}] found", array.path(), fmt::join(array.shape(), ", "));
  return array;
}

// ---- generate

struct GenerateOptions {
  InputPath tokens;
  OutputPath out;
  std::optional<ModelPath> model, converter, git, vocab;
  std::string array = "clip_tokens";
  std::int64_t beam = 1, max_length = 20;
  bool ids = false;

  void describe(Describe& d) {
    d.positional("CLIP_TOKENS", tokens, "stage store of me2-prior sample; reads clip_tokens [sample, T, D]");
    d.positional("OUTPUT", out, "stage store; writes caption string [sample]");
    d.option("--model", model, "folder with converter/, git/ and vocabulary, or GIT's own folder or file");
    d.option("--converter", converter, "CLIP converter (bigG_to_L_epoch8.pth), in place of the model's");
    d.option("--git", git, "GIT captioner (git-large-coco), in place of the model's");
    d.option("--vocab", vocab, "vocab.txt or tokenizer.json, in place of the model's");
    d.option("--array", array, "array to read");
    d.option("--beam", beam, "beams of the search; 1 is greedy, as published");
    d.option("--max-length", max_length, "longest caption in word pieces, start and end included");
    d.option("--ids", ids, "also write the word pieces: ids i4 [sample, max-length]; always, when there is no vocabulary");
  }
};

std::string path_of(const std::optional<ModelPath>& path) { return path ? path->path : ""; }

void generate(const GenerateOptions& o, cli::Run& run) {
  const c10::InferenceMode inference;
  const at::Device device = start(run);
  if (o.max_length < 2) throw usage_error("--max-length: 2 or more expected, {} given", o.max_length);
  if (o.beam < 1) throw usage_error("--beam: 1 or more expected, {} given", o.beam);
  const store::StageReader in(o.tokens.path);
  const store::Array tokens = token_array(in, o.array);
  const auto paths = models::CaptionPaths::find(path_of(o.model), path_of(o.converter), path_of(o.git), path_of(o.vocab));
  const auto model = models::CaptionModel::load(paths, tokens.shape()[1], tokens.shape()[2], nn::parse_dtype(run.dtype_name()), device);
  const bool with_ids = o.ids || !model.vocabulary;
  if (!model.vocabulary && !o.ids)
    log_warning("{}: no vocab.txt or tokenizer.json beside it: captions are written as the numbers of their word pieces (--vocab names a vocabulary)", paths.git);
  if (o.max_length > model.git->config.positions) throw usage_error("--max-length {}: this GIT has {} positions", o.max_length, model.git->config.positions);
  if (o.beam > 1 && 2 * o.beam > model.git->config.vocab_size) throw usage_error("--beam {}: too many for a vocabulary of {}", o.beam, model.git->config.vocab_size);

  store::StageSpec spec;
  spec.kind = "caption";
  spec.stimulus = in.stimulus();
  spec.arrays.push_back({"caption", {}, store::DType::str, {}, "", model.vocabulary ? "caption" : "word pieces of the caption, by number"});
  if (with_ids) spec.arrays.push_back({"ids", {o.max_length}, store::DType::i4, {"position"}, "1", "word pieces, from start to end, padded"});
  if (run.dry_run()) {
    for (const auto& a : spec.arrays) run.plan().array(a.name, store::dtype_name(a.dtype), a.name == "ids" ? std::vector<std::int64_t>{in.samples(), o.max_length} : std::vector<std::int64_t>{in.samples()});
    run.plan().note("converter", model.converter ? paths.converter : "not needed").note("search", o.beam == 1 ? "greedy" : fmt::format("{} beams", o.beam));
    return run.plan_work(model.work(tokens.shape(), run.batch_size(16), o.beam, o.max_length).times(static_cast<double>(in.samples())));
  }
  store::WriteOptions write = run.write_options();
  if (write.rows_per_unit == 0) write.rows_per_unit = std::max<std::int64_t>(8, (in.samples() + 149) / 150);  // what a stop may lose, what --shard deals out
  store::StageWriter out(o.out.path, spec, write);
  const auto pending = out.pending();
  std::int64_t total = 0;
  for (const auto& unit : pending) total += unit.count;
  Progress progress = run.progress("captions", total);
  for (const auto& unit : pending) {
    std::vector<std::string> captions;
    std::vector<std::int32_t> ids;
    for (std::int64_t at = unit.first; at < unit.first + unit.count;) {
      const std::int64_t n = std::min<std::int64_t>(run.batch_size(16), unit.first + unit.count - at);
      at::Tensor batch = at::empty({n, tokens.shape()[1], tokens.shape()[2]}, at::kFloat);
      tokens.read_rows<float>(at, n, batch.mutable_data_ptr<float>());
      const at::Tensor finite = at::isfinite(batch).flatten(1).all(1);
      for (std::int64_t i = 0; i < n; ++i)
        if (!finite[i].item<bool>()) throw data_error("{}: sample {} (stimulus {}) has values that are not finite", tokens.path(), at + i, in.stimulus()[at + i]);
      const at::Tensor got = model.ids(batch, o.beam, o.max_length);
      for (auto& caption : model.captions(got)) captions.push_back(std::move(caption));
      at::Tensor padded = at::full({n, o.max_length}, model.git->config.pad, at::kInt);
      padded.narrow(1, 0, got.size(1)).copy_(got);
      ids.insert(ids.end(), padded.const_data_ptr<std::int32_t>(), padded.const_data_ptr<std::int32_t>() + padded.numel());
      at += n;
      progress.advance(n);
    }
    out.write_strings("caption", unit, captions);
    if (with_ids) out.write("ids", unit, ids.data());
  }
  out.publish(run.provenance());
}

// ---- train

struct TrainOptions {
  InputPath tokens, target;
  OutputPath out;
  Part part = Part::converter;
  std::optional<ModelPath> model, converter, vocab;
  std::string array = "clip_tokens", target_array;
  std::int64_t epochs = 20, layers = 2, width = 64, heads = 4, max_length = 20;
  double learning_rate = 1e-3, weight_decay = 1e-2;
  weights::Stored stored = weights::Stored::f4;

  void describe(Describe& d) {
    d.positional("TOKENS", tokens, "store with clip_tokens [sample, T, D]");
    d.positional("TARGET", target, "converter: store with the tokens to give; git: stimulus or caption store");
    d.positional("OUTPUT", out, "model directory: use it as converter/ or git/ of a caption model");
    d.option("--part", part, "what to fit");
    d.option("--model", model, "start from this part instead of at random");
    d.option("--converter", converter, "git: converter that the tokens go through first");
    d.option("--vocab", vocab, "git: vocab.txt or tokenizer.json; without it the captions' words become the vocabulary");
    d.option("--array", array, "array of TOKENS");
    d.option("--target-array", target_array, "array of TARGET (clip_tokens, or caption)");
    d.option("--epochs", epochs, "passes over the data");
    d.option("--learning-rate", learning_rate, "peak of the one-cycle schedule");
    d.option("--weight-decay", weight_decay, "AdamW's, on everything but biases");
    d.option("--layers", layers, "git: layers of a new decoder");
    d.option("--width", width, "git: width of a new decoder");
    d.option("--heads", heads, "git: attention heads of a new decoder");
    d.option("--max-length", max_length, "git: longest caption in word pieces");
    d.option("--stored", stored, "floats of the saved model as they are (f4) or in half the space (f2)");
  }
};

std::vector<train::Pair> pair_rows(const std::vector<std::int32_t>& source, const std::vector<std::int32_t>& target) {
  std::unordered_map<std::int32_t, std::int64_t> where;
  for (std::size_t i = 0; i < target.size(); ++i) where.try_emplace(target[i], static_cast<std::int64_t>(i));
  std::vector<train::Pair> pairs;
  for (std::size_t i = 0; i < source.size(); ++i)
    if (const auto it = where.find(source[i]); it != where.end()) pairs.push_back({static_cast<std::int64_t>(i), it->second});
  return pairs;
}

// Loaded when a path is given, else fresh: the parameters stay with `source`.
template <class Net, class Config>
Net build(std::unique_ptr<nn::ParamSource>& source, const std::string& path, std::uint64_t seed, at::Device device, const Config& fresh) {
  if (path.empty()) {
    source = std::make_unique<nn::Initialiser>(seed, device);
    return Net(nn::Scope(*source), fresh);
  }
  const auto dict = weights::StateDict::open(path);
  source = std::make_unique<nn::Loader>(dict, at::kFloat, device, true);
  static_cast<nn::Loader&>(*source).ignore("git.image_encoder.");
  const nn::Scope scope(*source);
  if constexpr (std::is_same_v<Net, models::ClipConverter>) return Net(scope, Config::detect(scope));
  else return Net(scope, Config::detect(scope, dict.config()));
}

void save_part(const nn::ParamSource& source, const std::string& path, Json config, const std::vector<double>& curve, weights::Stored stored, const cli::Run& run) {
  config["loss_curve"] = curve;
  config["me2"] = run.provenance();
  std::map<std::string, at::Tensor> tensors;
  for (const auto& named : source.made()) tensors[named.name] = named.tensor.detach().cpu();
  weights::save_model_dir(path, config, weights::stored_as(tensors, stored));
}

std::vector<double> plan_epochs(const TrainOptions& o, cli::Run& run, const train::CaptionFitOptions& fit, std::size_t pairs, const store::Array& tokens, const std::function<at::Tensor()>& pass) {
  at::Tensor kept;  // its graph
  const auto steps = (static_cast<std::int64_t>(pairs) + fit.batch - 1) / fit.batch * o.epochs;
  Work work = nn::training_step(nn::count_work([&] { kept = pass(); })).times(static_cast<double>(steps));
  work.held += static_cast<std::uint64_t>(std::min(tokens.size() * 4, std::int64_t{2} << 30));  // tokens in memory
  run.plan_work(work);
  return {};
}

std::vector<double> train_converter(const TrainOptions& o, cli::Run& run, at::Device device, const store::StageReader& in,
                                    const train::CaptionFitOptions& fit) {
  const store::StageReader wanted(o.target.path);
  const train::TokenRows source(token_array(in, o.array)), target(token_array(wanted, o.target_array.empty() ? "clip_tokens" : o.target_array));
  const auto pairs = pair_rows(in.stimulus(), wanted.stimulus());
  if (run.dry_run()) {
    run.plan().note("paired samples", std::to_string(pairs.size()));
    nn::Initialiser sizes(run.seed(), device);
    const models::ClipConverter net(nn::Scope(sizes), {source.tokens(), target.tokens(), source.width(), target.width()});
    return plan_epochs(o, run, fit, pairs.size(), in.array(o.array), [&] { return net(nn::meta({fit.batch, source.tokens(), source.width()})); });
  }
  std::unique_ptr<nn::ParamSource> params;
  const auto net = build<models::ClipConverter>(params, path_of(o.model), run.seed(), device,
                                                models::ClipConverterConfig{source.tokens(), target.tokens(), source.width(), target.width()});
  const auto curve = train::fit_converter(params->made(), net, source, target, pairs, fit);
  save_part(*params, o.out.path, Json{{"clip_seq_dim", source.tokens()}, {"clip_text_seq_dim", target.tokens()}, {"clip_emb_dim", source.width()}, {"clip_text_emb_dim", target.width()}}, curve, o.stored, run);
  return curve;
}

std::vector<double> train_git(const TrainOptions& o, cli::Run& run, at::Device device, const store::StageReader& in, const train::CaptionFitOptions& fit) {
  const store::Group wanted = store::Group::open(o.target.path);
  const store::Array texts = wanted.array(o.target_array.empty() ? "caption" : o.target_array);
  if (texts.shape().empty() || texts.shape().size() > 2) throw data_error("{}: captions [sample] or [sample, K] expected", texts.path());
  const auto rows = texts.shape()[0], choices = texts.shape().size() == 2 ? texts.shape()[1] : 1;
  const auto all = texts.read_strings();
  std::vector<std::vector<std::string>> captions(rows);
  for (std::int64_t i = 0; i < rows * choices; ++i)
    if (!all[i].empty()) captions[i / choices].push_back(all[i]);
  std::vector<std::int32_t> stimulus(rows);
  if (wanted.has_array("stimulus")) stimulus = wanted.array("stimulus").read<std::int32_t>();
  else for (std::int64_t i = 0; i < rows; ++i) stimulus[i] = static_cast<std::int32_t>(i);  // a stimulus store: the row is the stimulus
  auto pairs = pair_rows(in.stimulus(), stimulus);
  std::erase_if(pairs, [&](const auto& p) { return captions[p.target].empty(); });
  if (run.dry_run()) run.plan().note("samples with captions", std::to_string(pairs.size()));
  const auto vocabulary = o.vocab ? text::WordPiece::open(o.vocab->path) : text::WordPiece::of_words(all);
  const train::TokenRows source(token_array(in, o.array));
  std::optional<models::ClipConverter> converter;
  if (o.converter) converter.emplace(models::load_clip_converter(o.converter->path, at::kFloat, device));
  models::GitConfig config;
  config.vocab_size = vocabulary.size();
  config.width = o.width;
  config.layers = o.layers;
  config.heads = o.heads;
  config.mlp_width = 4 * o.width;
  config.positions = std::max<std::int64_t>(o.max_length, 32);
  config.image_width = converter ? converter->linear2.weight.size(0) : source.width();
  config.bos = vocabulary.cls();
  config.eos = vocabulary.sep();
  config.pad = vocabulary.pad();
  if (o.heads < 1 || o.width % o.heads) throw usage_error("--heads {}: they must divide --width {}", o.heads, o.width);
  std::unique_ptr<nn::ParamSource> params;
  const auto net = build<models::GitCaptioner>(params, path_of(o.model), run.seed(), device, config);
  if (net.config.vocab_size != vocabulary.size()) throw data_error("{}: {} word pieces, the vocabulary has {}", path_of(o.model), net.config.vocab_size, vocabulary.size());
  if (net.config.image_width != config.image_width) throw data_error("{}: reads tokens of width {}, these have {}", path_of(o.model), net.config.image_width, config.image_width);
  if (run.dry_run())
    return plan_epochs(o, run, fit, pairs.size(), in.array(o.array), [&] {
      const at::Tensor seen = nn::meta({fit.batch, source.tokens(), source.width()});
      return net.logits(converter ? (*converter)(seen) : seen, nn::meta({fit.batch, o.max_length - 1}, at::kLong));
    });
  const auto curve = train::fit_git(params->made(), net, converter ? &*converter : nullptr, source, captions, vocabulary, pairs, o.max_length, fit);
  const auto& c = net.config;
  save_part(*params, o.out.path,
            Json{{"vocab_size", c.vocab_size}, {"hidden_size", c.width}, {"num_hidden_layers", c.layers}, {"num_attention_heads", c.heads}, {"intermediate_size", c.mlp_width},
                 {"max_position_embeddings", c.positions}, {"layer_norm_eps", c.eps}, {"bos_token_id", c.bos}, {"eos_token_id", c.eos}, {"pad_token_id", c.pad},
                 {"vision_config", {{"hidden_size", c.image_width}, {"layer_norm_eps", c.visual_eps}}}, {"max_length", o.max_length}},
            curve, o.stored, run);
  write_file_atomic(o.out.path + "/vocab.txt", vocabulary.vocab_text());
  return curve;
}

void train_part(const TrainOptions& o, cli::Run& run) {
  const at::Device device = start(run);
  const store::StageReader in(o.tokens.path);
  const std::string partial = o.out.path + ".partial";
  train::CaptionFitOptions fit{o.epochs, run.batch_size(32), o.learning_rate, o.weight_decay, run.seed(), partial, run.options().resume, {}};
  if (!run.dry_run()) {
    const std::string digest = run.config_digest(), record = partial + "/digest";
    if (run.options().resume && std::filesystem::exists(record)) {
      if (read_file(record) != digest) throw Error(Exit::cant_create, fmt::format("{}: was begun with other options or inputs; remove it to start anew", partial));
    } else {
      std::filesystem::remove_all(partial);
      std::filesystem::create_directories(partial);
      write_file_atomic(record, digest);
    }
  }
  Progress progress = run.progress("epochs", o.epochs);
  fit.after_epoch = [&](std::int64_t epoch, double loss) {
    progress.set_done(epoch + 1);
    progress.set_note(fmt::format("loss {:.4g}", loss));
  };
  const auto curve = o.part == Part::converter ? train_converter(o, run, device, in, fit) : train_git(o, run, device, in, fit);
  if (run.dry_run()) return;
  std::filesystem::remove_all(partial);
  if (run.options().json) run.print(Json{{"loss", curve}}.dump() + "\n");
}

}  // namespace
ME2_TOOL("me2-caption", "Put what the brain saw into words",
         {cli::verb("generate", "captions from image tokens (CLIP converter and GIT)", generate),
          cli::verb("train", "fit the converter on paired tokens, or a GIT on captions", train_part)});
}  // namespace me2
