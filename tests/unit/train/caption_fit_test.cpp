#include "train/caption_fit.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <csignal>

#include "base/error.h"
#include "base/signals.h"
#include "support/temp_dir.h"

namespace me2::train {
namespace {

struct Data {
  test::TempDir dir;
  at::Tensor x, y;
  Data() {
    auto generator = at::make_generator<at::CPUGeneratorImpl>(3);
    x = at::randn({20, 4, 6}, generator);
    y = at::matmul(at::randn({5, 4}, generator), at::matmul(x, at::randn({6, 3}, generator)));  // exactly what a converter can be
    auto group = store::Group::create(dir / "s.zarr");
    for (const auto& [name, t] : {std::pair{"x", x}, {"y", y}, {"turned", y.flip(0)}}) {
      store::ArraySpec spec;
      spec.shape = t.sizes().vec();
      const at::Tensor flat = t.contiguous();
      group.create_array(name, spec).write(flat.const_data_ptr<float>());
    }
  }
  TokenRows rows(const std::string& name, std::int64_t limit = 1 << 30) const { return TokenRows(store::Group::open(dir / "s.zarr").array(name), limit); }
  std::vector<Pair> pairs() const {
    std::vector<Pair> out;
    for (std::int64_t i = 0; i < 20; ++i) out.push_back({i, i});
    return out;
  }
};

struct Fitted {
  nn::Initialiser source{9};
  models::ClipConverter net{nn::Scope(source), {4, 5, 6, 3}};
};

TEST(CaptionFit, TheConverterFindsTheMapThatMadeTheData) {
  const Data data;
  Fitted f;
  const auto curve = fit_converter(f.source.made(), f.net, data.rows("x"), data.rows("y"), data.pairs(), {200, 5, 0.03, 0, 1, "", false, {}});
  EXPECT_LT(curve.back(), 0.02 * curve.front());
}

TEST(CaptionFit, PairsSayWhichRowsBelongTogether) {
  const Data data;
  Fitted f;
  std::vector<Pair> pairs;
  for (std::int64_t i = 0; i < 20; ++i) pairs.push_back({i, 19 - i});
  const auto curve = fit_converter(f.source.made(), f.net, data.rows("x"), data.rows("turned"), pairs, {200, 5, 0.03, 0, 1, "", false, {}});
  EXPECT_LT(curve.back(), 0.02 * curve.front());
}

TEST(CaptionFit, RowsReadOneByOneAreThoseHeldInMemory) {
  const Data data;
  EXPECT_TRUE(at::equal(data.rows("x").get({3, 0, 19}), data.rows("x", 0).get({3, 0, 19})));
  EXPECT_TRUE(at::equal(data.rows("x").get({3}), data.x.narrow(0, 3, 1)));
}

TEST(CaptionFit, StoppedAndResumedItEndsWithTheSameBits) {
  const Data data;
  Fitted whole, parts;
  CaptionFitOptions options{6, 7, 0.01, 0.01, 4, "", false, {}};
  const auto curve = fit_converter(whole.source.made(), whole.net, data.rows("x"), data.rows("y"), data.pairs(), options);
  options.checkpoint = data.dir / "checkpoint";
  options.after_epoch = [](std::int64_t epoch, double) {
    if (epoch == 2) request_stop(SIGTERM);
  };
  EXPECT_THROW(fit_converter(parts.source.made(), parts.net, data.rows("x"), data.rows("y"), data.pairs(), options), Error);
  clear_stop();
  Fitted resumed;
  options.resume = true;
  options.after_epoch = {};
  EXPECT_EQ(fit_converter(resumed.source.made(), resumed.net, data.rows("x"), data.rows("y"), data.pairs(), options), curve);
  EXPECT_TRUE(at::equal(resumed.net.linear2.weight, whole.net.linear2.weight));
  EXPECT_FALSE(at::equal(parts.net.linear2.weight, whole.net.linear2.weight));
}

TEST(CaptionFit, NoCommonStimulusIsAnError) {
  const Data data;
  Fitted f;
  EXPECT_THROW(fit_converter(f.source.made(), f.net, data.rows("x"), data.rows("y"), {}, {}), Error);
}

TEST(CaptionFit, GitLearnsTheNextWord) {
  const Data data;
  const auto vocabulary = text::WordPiece::of_words({"red dog", "blue cat"});
  models::GitConfig config;
  config.vocab_size = vocabulary.size();
  config.width = 16, config.layers = 1, config.heads = 2, config.mlp_width = 32, config.positions = 8, config.image_width = 6;
  config.bos = vocabulary.cls(), config.eos = vocabulary.sep(), config.pad = vocabulary.pad();
  nn::Initialiser source(2);
  const models::GitCaptioner net(nn::Scope(source), config);
  std::vector<std::vector<std::string>> captions;
  for (int i = 0; i < 20; ++i) captions.push_back({i % 2 ? "red dog" : "blue cat", i % 2 ? "red dog" : "blue cat"});
  const auto curve = fit_git(source.made(), net, nullptr, data.rows("x"), captions, vocabulary, data.pairs(), 8, {60, 10, 0.02, 0, 1, "", false, {}});
  EXPECT_LT(curve.back(), 0.2 * curve.front());
}

}  // namespace
}  // namespace me2::train
