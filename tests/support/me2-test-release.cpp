// A made-up MindEye2 release for the command-line tests: the networks of the download under their official file names, in the official
// containers, with every official tensor name, and nothing but sizes changed. Weights are by formula (weights/formula.h), so that the files
// need not be kept and a reference in another language computes on the same ones.
//     me2-test-release make FOLDER            writes the files into FOLDER (made when it is not there)
//     me2-test-release further FOLDER         what fine-tuning needs besides, in FOLDER/release and FOLDER/models
//     me2-test-release noise FILE --rows N    random draws for N samples, by the same formula, as safetensors
#include <ATen/ATen.h>

#include <filesystem>
#include <fstream>

#include "base/json.h"
#include "cli/tool.h"
#include "diffusion/edm_schedule.h"
#include "models/clip_converter.h"
#include "models/clip_text.h"
#include "models/convnext.h"
#include "models/git_captioner.h"
#include "models/mindeye.h"
#include "models/open_clip.h"
#include "models/unclip_unet.h"
#include "models/vae.h"
#include "weights/formula.h"
#include "weights/torch_file.h"

namespace me2 {
namespace {

constexpr std::int64_t kTokens = 16, kWidth = 64, kHidden = 32, kVoxels = 22;  // voxels: of tests/golden/medarc_layout, subject 1
constexpr std::int64_t kMerges = 1, kWords = 2 * 256 + kMerges + 2;           // of the made-up byte-pair vocabulary

using Tensors = std::map<std::string, at::Tensor>;

// What a network made from scratch holds: buffers as they are, parameters by formula over the sorted names.
void add(Tensors& out, const nn::Initialiser& made, const std::string& prefix = "") {
  std::map<std::string, std::vector<std::int64_t>> shapes;
  for (const auto& n : made.made()) shapes[n.name] = n.tensor.sizes().vec();
  auto entries = weights::formula_entries(shapes);
  for (const auto& n : made.made()) out[prefix + n.name] = n.buffer ? n.tensor.clone() : entries.at(n.name).load().contiguous();
}

template <class Net, class... Args>
void add_net(Tensors& out, const std::string& prefix, const Args&... args) {
  nn::Initialiser fresh(1);
  const Net net(nn::Scope(fresh), args...);
  add(out, fresh, prefix);
}

models::UnetConfig unet(std::int64_t context, std::int64_t numbers) {
  models::UnetConfig c;
  c.model_channels = 32;
  c.channel_mult = {1, 2, 2};
  c.transformer_depth = {0, 1, 2};
  c.context_dim = context;
  c.adm_in_channels = numbers;
  return c;
}

models::VaeConfig vae(bool diffusers, std::vector<std::int64_t> channels) {
  models::VaeConfig c;
  c.diffusers_names = diffusers;
  c.channels = std::move(channels);
  c.blocks = 1;
  return c;
}

models::OpenClipVisionConfig tower() {
  models::OpenClipVisionConfig c;
  c.patch_size = 56;  // 16 tokens of a picture of 224
  c.width = kWidth;
  c.layers = 2;
  c.heads = 1;
  c.mlp_width = 128;
  c.embed_dim = 32;
  return c;
}

void engine(Tensors& out, std::int64_t context, std::int64_t numbers) {
  add_net<models::UnclipUnet>(out, "model.diffusion_model.", unet(context, numbers));
  add_net<models::Vae>(out, "first_stage_model.", vae(false, {32, 32, 32, 32}));
}

Tensors mindeye(std::vector<std::int64_t> voxels) {
  models::MindEyeConfig c;
  c.voxels = std::move(voxels);
  c.backbone.hidden = kHidden;
  c.backbone.tokens = kTokens;
  c.backbone.width = kWidth;
  c.backbone.head.widths = {32, 32, 32};
  c.backbone.head.aux_width = 32;
  c.match_prior(2, 4, 16);
  nn::Initialiser fresh(1);
  const models::MindEye net(fresh, c);
  Tensors out;
  add(out, fresh);
  return out;
}

void write_text(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

// A vocabulary in which 0, 100, 101, 102 mean what they mean to BERT, then some words.
std::string vocabulary(std::int64_t& size) {
  std::string out = "[PAD]\n";
  for (int i = 1; i < 100; ++i) out += "[unused" + std::to_string(i) + "]\n";
  out += "[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
  size = 104;
  for (const char* word : {"a", "the", "man", "woman", "dog", "cat", "on", "in", "with", "red", "blue", "green", "house", "street", "table", "sitting", "standing",
                           "large", "small", "field", "beach", "train", "car", "food"}) {
    out += std::string(word) + "\n";
    ++size;
  }
  return out;
}

struct MakeOptions {
  std::string folder;
  void describe(Describe& d) { d.positional("FOLDER", folder, "where to write"); }
};

void make(const MakeOptions& o, cli::Run&) {
  const std::string logs = o.folder + "/train_logs/final_subj01_pretrained_1sess_24bs";
  std::filesystem::create_directories(logs);
  std::filesystem::create_directories(o.folder + "/git-large-coco");
  weights::save_torch_zip(logs + "/last.pth", mindeye({kVoxels}), {{"epoch", std::int64_t{149}}});

  Tensors unclip;
  engine(unclip, kWidth, 1024);
  unclip["denoiser.sigmas"] = at::tensor(diffusion::EdmSchedule().table());
  add_net<models::OpenClipVision>(unclip, "conditioner.embedders.0.model.visual.", tower());
  weights::save_torch_zip(o.folder + "/unclip6_epoch0_step110000.ckpt", unclip, {{"global_step", std::int64_t{110000}}}, "state_dict");

  Tensors sdxl;
  models::ClipTextConfig first;
  first.vocab_size = kWords;
  first.width = 64;
  first.mlp_width = 128;
  first.layers = 2;
  first.heads = 1;
  models::OpenClipTextConfig second;
  second.vocab_size = kWords;
  second.width = 64;
  second.layers = 2;
  second.heads = 1;
  second.mlp_width = 128;
  second.embed_dim = 64;
  engine(sdxl, 128, 64 + 6 * 32);
  add_net<models::ClipText>(sdxl, "conditioner.embedders.0.transformer.text_model.", first);
  add_net<models::OpenClipText>(sdxl, "conditioner.embedders.1.model.", second);
  for (auto& [name, tensor] : sdxl) tensor = tensor.to(at::kHalf);
  sdxl["conditioner.embedders.0.transformer.text_model.embeddings.position_ids"] = at::arange(77).unsqueeze(0);  // as files in the wild
  weights::save_safetensors(o.folder + "/zavychromaxl_v30.safetensors", sdxl, {{"modelspec.architecture", "stable-diffusion-xl-v1-base"}});
  write_text(o.folder + "/merges.txt", "#version: 0.2\nt h\n");

  Tensors autoencoder;
  add_net<models::Vae>(autoencoder, "", vae(true, {32, 32, 32, 64}));
  weights::save_torch_zip(o.folder + "/sd_image_var_autoenc.pth", autoencoder, {}, "");

  Tensors converter;
  models::ClipConverterConfig sizes;
  sizes.tokens_in = kTokens;
  sizes.tokens_out = kTokens + 1;
  sizes.width_in = kWidth;
  sizes.width_out = 48;
  add_net<models::ClipConverter>(converter, "", sizes);
  weights::save_torch_zip(o.folder + "/bigG_to_L_epoch8.pth", converter, {{"epoch", std::int64_t{8}}});

  models::GitConfig git;
  write_text(o.folder + "/git-large-coco/vocab.txt", vocabulary(git.vocab_size));
  git.width = 64;
  git.layers = 2;
  git.heads = 2;
  git.mlp_width = 128;
  git.positions = 64;
  git.image_width = sizes.width_out;
  git.has_position_ids = true;
  Tensors captioner;
  add_net<models::GitCaptioner>(captioner, "", git);
  weights::save_torch_zip(o.folder + "/git-large-coco/pytorch_model.bin", captioner, {}, "");
  const Json config = {{"architectures", {"GitForCausalLM"}}, {"bos_token_id", 101}, {"eos_token_id", 102}, {"pad_token_id", 0},
                       {"hidden_size", git.width}, {"layer_norm_eps", 1e-12}, {"model_type", "git"}, {"num_attention_heads", git.heads},
                       {"vocab_size", git.vocab_size}, {"vision_config", {{"layer_norm_eps", 1e-5}}}};
  write_text(o.folder + "/git-large-coco/config.json", config.dump(2));
}

void further(const MakeOptions& o, cli::Run&) {
  const std::string release = o.folder + "/release", models_folder = o.folder + "/models";
  for (const auto& folder : {release + "/train_logs/final_multisubject_subj01", models_folder}) std::filesystem::create_directories(folder);
  weights::save_torch_zip(release + "/train_logs/final_multisubject_subj01/last.pth", mindeye({30, 25, 20, 28, 24, 21, 19}), {{"epoch", std::int64_t{149}}});
  Tensors convnext, clip;
  models::ConvNextConfig sizes;
  sizes.dims = {8, 16, 24, 32};
  sizes.depths = {1, 1, 1, 1};
  sizes.projector = {32, 32, 32};
  add_net<models::ConvNext>(convnext, "", sizes);
  weights::save_torch_zip(release + "/convnext_xlarge_alpha0.75_fullckpt.pth", convnext, {{"epoch", std::int64_t{20}}});
  add_net<models::OpenClipVision>(clip, "visual.", tower());
  weights::save_safetensors(models_folder + "/open_clip_vit_bigG_14.safetensors", clip);
}

struct NoiseOptions {
  std::string file;
  std::int64_t rows = 1, pixels = 64;
  void describe(Describe& d) {
    d.positional("FILE", file, "safetensors to write");
    d.option("--rows", rows, "samples");
    d.option("--pixels", pixels, "side of the pictures");
  }
};

// Uniform numbers of variance 1: the formula of a one-dimensional tensor without "weight" in its name is .02 times uniform in [-1, 1).
at::Tensor draws(std::uint64_t index, std::vector<std::int64_t> shape) {
  std::int64_t count = 1;
  for (const auto n : shape) count *= n;
  return (weights::formula_tensor("draws", index, {count}) * (std::sqrt(3.0) / .02)).reshape(shape);
}

void noise(const NoiseOptions& o, cli::Run&) {
  const auto n = o.rows, side = o.pixels / 8;
  weights::save_safetensors(o.file, {{"prior", draws(1001, {19, n, kTokens, kWidth})},
                                     {"z", draws(1002, {n, 4, side, side})},
                                     {"noise", draws(1003, {n, 4, side, side})},
                                     {"offset", draws(1004, {n})},
                                     {"uc_crossattn", draws(1005, {n, kTokens, kWidth})}});
}

}  // namespace
ME2_TOOL("me2-test-release", "A made-up MindEye2 release", {cli::verb("make", "write its files", make), cli::verb("further", "and more of them", further), cli::verb("noise", "draws by formula", noise)})
}  // namespace me2
