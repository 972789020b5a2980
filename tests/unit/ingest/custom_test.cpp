// Expected numbers: tests/golden/readers/make.py (numpy least squares on scipy.stats.gamma regressors), and identities.
#include "ingest/custom.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/random.h"
#include "ingest/glm.h"
#include "store/nifti.h"
#include "store/npy.h"
#include "store/subject.h"
#include "store/table.h"
#include "support/files.h"
#include "support/import_custom.h"

namespace me2::ingest {
namespace {

using store::SubjectStore;

struct Glm {
  Json json = read_json_file(std::string(ME2_SOURCE_DIR) + "/tests/golden/readers/glm.json");
  Series series;
  std::vector<TrialEvent> events;
  std::vector<double> times;
  Glm() {
    for (const Json& row : json["series"])
      for (const Json& x : row) series.values.push_back(x.get<float>());
    series.times = static_cast<std::int64_t>(json["series"].size());
    series.voxels = 3;
    series.tr = json["tr"];
    for (const Json& e : json["events"]) events.push_back({e[0], e[1]});
    for (std::int64_t t = 0; t < series.times; ++t) times.push_back(series.time_of(t));
  }
  void expect(const char* name, const std::vector<float>& got, double tolerance) const {
    std::size_t i = 0;
    for (const Json& row : json[name])
      for (const Json& x : row) EXPECT_NEAR(got[i++], x.get<double>(), tolerance) << name;
    EXPECT_EQ(i, got.size());
  }
};

TEST(GLM, ResponsesLeastSquaresBlocksAndTrendsEqualNumpy) {
  Glm g;
  for (std::size_t e = 0; e < g.events.size(); ++e) {
    const auto r = response(g.events[e], g.times);
    for (std::size_t t = 0; t < r.size(); ++t) EXPECT_NEAR(r[t], g.json["response"][e][t].get<double>(), 1e-12);
  }
  g.expect("lss", least_squares_separate(g.series, g.events, g.json["drift"]), 2e-5);
  g.expect("block", block_average(g.series, g.events, g.json["shift"]), 1e-4);
  detrend(g.series, g.json["drift"]);
  g.expect("detrended", g.series.values, 2e-5);
}

TEST(GLM, WhatCannotBeEstimatedIsAnError) {
  Glm g;
  ME2_EXPECT_ERROR(least_squares_separate(g.series, std::vector<TrialEvent>{{5, 1}, {5, 1}}, 1), Exit::data, "cannot be told");
  ME2_EXPECT_ERROR(least_squares_separate(g.series, std::vector<TrialEvent>{{500, 1}}, 1), Exit::data, "no response");
  ME2_EXPECT_ERROR(block_average(g.series, std::vector<TrialEvent>{{118, 1}}, 10), Exit::data, "no volume");
}

TEST(GLM, RealEventRelatedSeriesGivesEachCodeItsResponse) {
  const std::string dir = test::real_dir("nitime_fmri");
  if (dir.empty()) GTEST_SKIP() << "nitime_fmri is not on this machine";
  std::string path;
  for (const auto& e : std::filesystem::recursive_directory_iterator(dir))
    if (e.path().filename() == "event_related_fmri.csv") path = e.path();
  ASSERT_FALSE(path.empty());
  const auto table = store::Table::read(path);
  Series s;
  s.times = table.rows(), s.voxels = 1, s.tr = 2;
  std::vector<TrialEvent> events;
  std::vector<int> code;
  for (std::int64_t r = 0; r < table.rows(); ++r) {
    s.values.push_back(static_cast<float>(table.number(r, table.need("bold"))));
    if (const auto c = table.integer(r, table.need("events")); c > 0) events.push_back({2.0 * static_cast<double>(r), 0}), code.push_back(static_cast<int>(c));
  }
  ASSERT_EQ(events.size(), 6u * 96);
  const auto betas = least_squares_separate(s, events, 3);
  double mean = 0, square = 0;
  for (const float b : betas) mean += b / static_cast<double>(betas.size());
  for (const float b : betas) square += (b - mean) * (b - mean);
  // A region that answers to the task: the mean single-trial estimate is above zero by many standard errors.
  EXPECT_GT(mean / (std::sqrt(square) / static_cast<double>(betas.size())), 5);
}

class Custom : public ::testing::Test {
 protected:
  // 4 runs of 10 trials over 10 images, 6 voxels; voxels 0..2 answer to the image, 3 and 4 are noise, 5 is constant.
  void SetUp() override {
    Random random(3, "custom");
    std::vector<float> betas;
    std::string table = "image\tsession\trun\n";
    for (int r = 0; r < 4; ++r)
      for (int i = 0; i < 10; ++i) {
        for (int v = 0; v < 5; ++v) betas.push_back(static_cast<float>((v < 3 ? std::sin(i * 1.7 + v) * 3 : 0) + 0.3 * random.normal() + (v >= 3 ? random.normal() : 0)));
        betas.push_back(4);
        table += fmt::format("im{}.png\t{}\t{}\n", i, r / 2 + 1, r % 2 + 1);
      }
    write(betas);
    test::write_text(tmp / "events.tsv", table);
    options.betas = {tmp / "betas.npy"};
    options.events = {InputPath{tmp / "events.tsv"}};
  }
  void write(const std::vector<float>& betas) {
    data = betas;
    store::write_npy(tmp / "betas.npy", {40, 6}, store::DType::f4, betas.data());
  }
  test::TempDir tmp;
  CustomOptions options;
  std::vector<float> data;
};

TEST_F(Custom, BetasAreZScoredByTrainingTrials) {
  options.split = "share:0.3";
  const Json counts = import(options, tmp / "s.zarr");
  EXPECT_EQ(counts["test_images"], 3);
  EXPECT_EQ(counts["constant_voxels"], 1);
  const SubjectStore s(tmp / "s.zarr");
  const auto b = s.betas().read<float>();
  for (int v = 0; v < 6; ++v) {
    double mean = 0, square = 0;
    const auto train = s.rows(0);
    for (const auto r : train) mean += b[r * 6 + v] / static_cast<double>(train.size());
    for (const auto r : train) square += b[r * 6 + v] * b[r * 6 + v] / static_cast<double>(train.size());
    EXPECT_NEAR(mean, 0, 1e-5);
    EXPECT_NEAR(square, v == 5 ? 0 : 1, 1e-4);
  }
  const auto mean = s.group().array("beta_mean").read<double>(), sd = s.group().array("beta_sd").read<double>();
  for (std::size_t i = 0; i < data.size(); ++i) EXPECT_NEAR(b[i] * sd[i % 6] + mean[i % 6], data[i], 1e-5);
  EXPECT_EQ(s.attributes()["stimulus_names"][2], "im2.png");
  EXPECT_EQ(s.table().repeat[39], 4);
  EXPECT_EQ(s.table().session[39], 2);
}

TEST_F(Custom, ReliabilityLooksAtTrainingTrialsOnly) {
  options.split = "session:2";
  options.shared_images = true;
  options.top_voxels = 3;
  import(options, tmp / "a.zarr");
  auto changed = data;  // test trials in which the noise voxels would be perfectly reliable
  for (int t = 20; t < 40; ++t) changed[t * 6 + 3] = changed[t * 6 + 4] = static_cast<float>(t % 10);
  write(changed);
  import(options, tmp / "b.zarr");
  const SubjectStore a(tmp / "a.zarr"), b(tmp / "b.zarr");
  EXPECT_EQ(a.voxels(), 3);
  EXPECT_EQ(a.betas().read<float>(), b.betas().read<float>());
  for (std::int64_t r = 0; r < 20; ++r)  // voxels 0, 1, 2 were kept, in order
    EXPECT_NEAR(a.betas().read<float>()[r * 3 + 1] * a.group().array("beta_sd").read<double>()[1] + a.group().array("beta_mean").read<double>()[1], data[r * 6 + 1], 1e-5);
}

TEST_F(Custom, ReliabilityKeepsVoxelsAboveTheThreshold) {
  options.reliability = 0.8;  // voxels 0, 1, 2 repeat themselves; 3 and 4 are noise, 5 is constant
  EXPECT_EQ(import(options, tmp / "s.zarr")["voxels"], 3);
  EXPECT_EQ(SubjectStore(tmp / "s.zarr").attributes()["counts"]["dropped"][0]["count"], 3);
  options.reliability = 1.01;
  ME2_EXPECT_ERROR(import(options, tmp / "x"), Exit::data, "--reliability 1.01", "no voxel is that reliable");
  options.reliability = 0.5;
  std::string table = "image\n";
  for (int t = 0; t < 40; ++t) table += fmt::format("im{}.png\n", t);
  test::write_text(tmp / "events.tsv", table);
  ME2_EXPECT_ERROR(import(options, tmp / "x"), Exit::data, "0 training images were shown at least twice");
  EXPECT_FALSE(std::filesystem::exists(tmp / "x"));
}

TEST_F(Custom, SplitRules) {
  options.shared_images = true;
  const auto tests = [&](const std::string& rule) {
    options.split = rule;
    static int n = 0;
    const std::string out = tmp / fmt::format("s{}.zarr", n++);
    import(options, out);
    return SubjectStore(out).rows(1).size();
  };
  EXPECT_EQ(tests("run:2"), 20u);
  EXPECT_EQ(tests("session:1"), 20u);
  EXPECT_EQ(tests("share:0.2"), 8u);
  test::write_text(tmp / "list.txt", "im3.png\nim4.png\n");
  EXPECT_EQ(tests("file:" + tmp / "list.txt"), 8u);
  std::string table = "image\tset\n";
  for (int t = 0; t < 40; ++t) table += fmt::format("im{}.png\t{}\n", t % 10, t % 10 == 7 ? "test" : "train");
  const std::string before = read_file(tmp / "events.tsv");
  test::write_text(tmp / "events.tsv", table);
  EXPECT_EQ(tests("column:set"), 4u);
  ME2_EXPECT_ERROR(tests("column:nobody"), Exit::data, "nobody");
  test::write_text(tmp / "events.tsv", before);
  options.split = "run:9";
  ME2_EXPECT_ERROR(import(options, tmp / "x"), Exit::data, "run:9", "an empty split");
  options.split = "run:1,2";
  ME2_EXPECT_ERROR(import(options, tmp / "x"), Exit::data, "an empty split");
  options.split = "odd:1";
  ME2_EXPECT_ERROR(import(options, tmp / "x"), Exit::usage, "odd:1");
  options.split = "run:2";
  options.shared_images = false;
  ME2_EXPECT_ERROR(import(options, tmp / "x"), Exit::data, "10 test images are also among the training images", "--shared-images");
  test::write_text(tmp / "list.txt", "nobody.png\n");
  options.split = "file:" + tmp / "list.txt";
  ME2_EXPECT_ERROR(import(options, tmp / "x"), Exit::data, "nobody.png");
  EXPECT_FALSE(std::filesystem::exists(tmp / "x"));
}

TEST_F(Custom, NanBetasAreNamedOrDropped) {
  auto gaps = data;
  gaps[7 * 6 + 2] = std::numeric_limits<float>::quiet_NaN();
  gaps[27 * 6 + 1] = gaps[27 * 6 + 2] = std::numeric_limits<float>::infinity();
  for (int t = 0; t < 40; ++t) gaps[t * 6 + 4] = std::numeric_limits<float>::quiet_NaN();
  write(gaps);
  ME2_EXPECT_ERROR(import(options, tmp / "s.zarr"), Exit::data, "betas.npy", "session 1: 21 values in 20 trials", "session 2: 22 values in 20 trials");
  options.nan = NanRule::drop;
  const Json counts = import(options, tmp / "s.zarr");
  EXPECT_EQ(counts["trials"], 38);
  EXPECT_EQ(counts["voxels"], 5);
}

// What is kept after --nan drop, --zscore-runs and --top-voxels, worked out here from the numbers themselves.
TEST_F(Custom, DroppedRunsScoredAndSelectedByHand) {
  auto gaps = data;
  gaps[13 * 6 + 1] = std::numeric_limits<float>::quiet_NaN();                             // trial 13 goes
  for (int t = 0; t < 40; ++t) gaps[t * 6 + 0] = std::numeric_limits<float>::quiet_NaN();  // voxel 0 goes
  write(gaps);
  options.nan = NanRule::drop;
  options.zscore_runs = true;
  options.top_voxels = 2;  // voxels 1 and 2 are the reliable ones
  options.normalise = Normalise::session;
  options.split = "run:2";
  options.shared_images = true;
  const Json counts = import(options, tmp / "s.zarr");
  EXPECT_EQ(counts["trials"], 39);
  EXPECT_EQ(counts["voxels"], 2);
  std::vector<int> trials;
  for (int t = 0; t < 40; ++t)
    if (t != 13) trials.push_back(t);
  std::vector<double> want(trials.size() * 2);
  const auto score = [&](int v, const auto& in, const auto& from) {  // z-scores the trials `in` by those `from`
    double mean = 0, square = 0, n = 0;
    for (std::size_t i = 0; i < trials.size(); ++i)
      if (from(trials[i])) mean += want[i * 2 + v], ++n;
    mean /= n;
    for (std::size_t i = 0; i < trials.size(); ++i)
      if (from(trials[i])) square += (want[i * 2 + v] - mean) * (want[i * 2 + v] - mean) / n;
    for (std::size_t i = 0; i < trials.size(); ++i)
      if (in(trials[i])) want[i * 2 + v] = (want[i * 2 + v] - mean) / std::sqrt(square);
  };
  for (int v = 0; v < 2; ++v) {
    for (std::size_t i = 0; i < trials.size(); ++i) want[i * 2 + v] = gaps[trials[i] * 6 + 1 + v];
    for (int r = 0; r < 4; ++r) score(v, [&](int t) { return t / 10 == r; }, [&](int t) { return t / 10 == r; });
    for (int s = 0; s < 2; ++s) score(v, [&](int t) { return t / 20 == s; }, [&](int t) { return t / 10 == 2 * s; });  // the session's training run
  }
  const auto got = SubjectStore(tmp / "s.zarr").betas().read<float>();
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-4) << i;
}

TEST_F(Custom, NothingIsLeftBesideTheOutput) {
  std::filesystem::create_directories(tmp / "out");
  import(options, tmp / "out/s.zarr");
  ME2_EXPECT_ERROR(import(options, tmp / "out/s.zarr"), Exit::cant_create, "exists");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(tmp / "out"), {}), 1);
  ME2_EXPECT_ERROR(import(options, tmp / "nowhere/s.zarr"), Exit::cant_create, "nowhere", "does not exist");
}

TEST_F(Custom, ImagesAreFoundInTheFolder) {
  for (int i = 0; i < 10; ++i)
    std::filesystem::create_directories(tmp / "images"),
        std::filesystem::copy_file(std::string(ME2_SOURCE_DIR) + "/tests/golden/images/rgb.png", tmp / fmt::format("images/im{}.png", i));
  std::filesystem::copy_file(std::string(ME2_SOURCE_DIR) + "/tests/golden/images/rgb.png", tmp / "images/a_first.png");
  options.images = InputPath{tmp / "images"};
  import(options, tmp / "s.zarr");
  EXPECT_EQ(SubjectStore(tmp / "s.zarr").table().stimulus[2], 3);  // a_first.png comes before im0.png
  std::filesystem::remove(tmp / "images/im7.png");
  ME2_EXPECT_ERROR(import(options, tmp / "t.zarr"), Exit::data, "events.tsv", "line 9", "im7.png", "images");
}

TEST_F(Custom, EventsThatDoNotFitAreNamed) {
  test::write_text(tmp / "events.tsv", "image\nim1.png\nim2.png\n");
  ME2_EXPECT_ERROR(import(options, tmp / "s"), Exit::data, "events.tsv", "40 rows");
  test::write_text(tmp / "events.tsv", "onset\timage\n1\ta\n1\ta\n");
  ME2_EXPECT_ERROR(import(options, tmp / "s"), Exit::data, "events.tsv", "line 3", "duplicate trial");
  test::write_text(tmp / "events.tsv", "picture\na\n");
  ME2_EXPECT_ERROR(import(options, tmp / "s"), Exit::data, "stim_file", "picture");
  options.bold = options.betas;
  ME2_EXPECT_ERROR(import(options, tmp / "s"), Exit::usage, "--betas", "--bold");
}

TEST_F(Custom, AMaskOfAnotherShapeIsRefused) {
  const std::vector<std::uint8_t> mask{1, 0, 1, 0, 1, 1, 1};
  store::write_npy(tmp / "mask.npy", {7}, store::DType::u1, mask.data());
  options.mask = InputPath{tmp / "mask.npy"};
  ME2_EXPECT_ERROR(import(options, tmp / "s"), Exit::data, "betas.npy", "mask.npy", "different shape");
  store::write_npy(tmp / "mask.npy", {6}, store::DType::u1, mask.data());
  EXPECT_EQ(import(options, tmp / "s")["voxels"], 4);
}

// Leave-one-run-out: correlation of every block with the mean pattern of each category over the other runs.
double leave_one_run_out(const SubjectStore& s) {
  const auto b = s.betas().read<float>();
  const auto n = static_cast<std::size_t>(s.voxels());
  const auto unit = [n](std::vector<double> v) {
    double mean = 0, norm = 0;
    for (const double x : v) mean += x / static_cast<double>(n);
    for (double& x : v) x -= mean, norm += x * x;
    for (double& x : v) x /= std::sqrt(norm);
    return v;
  };
  int right = 0;
  for (std::int64_t i = 0; i < s.trials(); ++i) {
    std::map<int, std::vector<double>> centroid;
    for (std::int64_t k = 0; k < s.trials(); ++k) {
      if (s.table().run[k] == s.table().run[i]) continue;
      auto& c = centroid[s.table().stimulus[k]];
      c.resize(n);
      for (std::size_t v = 0; v < n; ++v) c[v] += b[static_cast<std::size_t>(k) * n + v];
    }
    const auto own = unit({b.begin() + i * s.voxels(), b.begin() + (i + 1) * s.voxels()});
    double best = -2;
    int label = -1;
    for (const auto& [category, c] : centroid) {
      const auto u = unit(c);
      double r = 0;
      for (std::size_t v = 0; v < n; ++v) r += u[v] * own[v];
      if (r > best) best = r, label = category;
    }
    right += label == s.table().stimulus[i];
  }
  return right / static_cast<double>(s.trials());
}

TEST(RealBold, HaxbyCategoriesAreDecodedAcrossRunsAsDocumented) {
  const std::string dir = test::real_dir("haxby2001");
  if (dir.empty()) GTEST_SKIP() << "haxby2001 is not on this machine";
  CustomOptions o;
  for (int run = 1; run <= 12; ++run) {
    const std::string folder = dir + fmt::format("/haxby2001/sub001/BOLD/task001_run{:03}/", run);
    o.bold.push_back(folder + "bold_1slice.nii.gz");
    o.events.push_back({folder + "bold_events.tsv"});
  }
  o.mask = InputPath{dir + "/mask.nii.gz"};
  o.estimate = Estimate::block;
  o.shift = 0;  // these events are the blocks' labels, the delay already in them
  o.standardise = Standardise::rest;
  o.normalise = Normalise::none;
  o.split = "run:12";
  o.shared_images = true;
  test::TempDir tmp;
  const Json counts = import(o, tmp / "haxby.zarr");
  EXPECT_EQ(counts["trials"], 96);
  EXPECT_EQ(counts["voxels"], 530);
  EXPECT_GE(leave_one_run_out(SubjectStore(tmp / "haxby.zarr")), 0.60);  // SOURCE.md of the data: 0.604
}

}  // namespace
}  // namespace me2::ingest
