// The same trials from every kind of file give the same store. Expected betas of BOLD series: tests/golden/readers/make.py (numpy
// least squares on scipy.stats.gamma regressors).
#include <cmath>

#include "base/random.h"
#include "ingest/custom.h"
#include "store/hdf5.h"
#include "store/npy.h"
#include "store/subject.h"
#include "support/files.h"
#include "support/import_custom.h"
#include "support/made_nifti.h"

namespace me2::ingest {
namespace {

using store::DType;
using store::SubjectStore;

std::string table_of(int trials, const std::string& more = "") {
  std::string text = "image\n";
  for (int t = 0; t < trials; ++t) text += fmt::format("im{}{}\n", t % 4, more);
  return text;
}

class BetasFrom : public ::testing::Test {
 protected:
  void SetUp() override {
    Random random(5, "custom inputs");
    for (int i = 0; i < 12 * 12; ++i) values.push_back(static_cast<float>(random.normal()));  // 12 trials, 2 x 3 x 2 voxels
    store::write_npy(tmp / "betas.npy", {12, 12}, DType::f4, values.data());
    test::write_text(tmp / "events.tsv", table_of(12));
    options.betas = {tmp / "betas.npy"};
    options.events = {InputPath{tmp / "events.tsv"}};
    options.normalise = Normalise::none;
    options.split = "share:0.25";
    import(options, tmp / "want");
  }
  void expect_same(const std::string& out) {
    const SubjectStore got(out), want(tmp / "want");
    EXPECT_EQ(got.betas().read<float>(), want.betas().read<float>());
    EXPECT_EQ(got.table().split, want.table().split);
    EXPECT_EQ(got.table().stimulus, want.table().stimulus);
  }
  test::TempDir tmp;
  std::vector<float> values;
  CustomOptions options;
};

TEST_F(BetasFrom, ArraysOfFourAxesAndNifti) {
  EXPECT_EQ(SubjectStore(tmp / "want").betas().read<float>(), values);
  store::write_npy(tmp / "four.npy", {12, 2, 3, 2}, DType::f4, values.data());
  test::float_nifti(2, 3, 2, values).put<std::int16_t>(254, 1).put<float>(280, 1.8f).put<float>(300, 1.8f).put<float>(320, 1.8f).write(tmp / "four.nii");
  for (const char* file : {"four.npy", "four.nii"}) {
    options.betas = {tmp / file};
    const std::string out = tmp / fmt::format("{}.zarr", file);
    import(options, out);
    expect_same(out);
    const auto ijk = SubjectStore(out).group().array("voxel_ijk").read<std::int32_t>();
    ASSERT_EQ(ijk.size(), 36u);
    for (int v = 0; v < 12; ++v) EXPECT_EQ(std::vector(ijk.begin() + 3 * v, ijk.begin() + 3 * v + 3), (std::vector<std::int32_t>{v / 6, v / 2 % 3, v % 2}));
  }
  EXPECT_EQ(SubjectStore(tmp / "four.nii.zarr").group().array("affine").read<double>()[0], static_cast<double>(1.8f));
}

TEST_F(BetasFrom, AStoreAndHdf5) {
  options.betas = {tmp / "want:betas"};
  import(options, tmp / "again");
  expect_same(tmp / "again");
  // HDF5 written by h5py: the release's own file.
  const std::string release = std::string(ME2_SOURCE_DIR) + "/tests/golden/medarc_layout/betas_all_subj01_fp32_renorm.hdf5";
  const store::H5File file(release);
  test::write_text(tmp / "events.tsv", table_of(static_cast<int>(file.shape("betas")[0])));
  options.betas = {release + ":betas"};
  import(options, tmp / "h5");
  EXPECT_EQ(SubjectStore(tmp / "h5").betas().read<float>(), file.read<float>("betas"));
  options.betas = {release + ":nothing"};
  ME2_EXPECT_ERROR(import(options, tmp / "x"), Exit::data, "nothing", "betas");
  options.betas = {tmp / "want:nothing"};
  ME2_EXPECT_ERROR(import(options, tmp / "x"), Exit::data, "nothing");
  EXPECT_FALSE(std::filesystem::exists(tmp / "x"));
}

TEST_F(BetasFrom, SeveralFilesWithATableEachOrOneForAll) {
  store::write_npy(tmp / "a.npy", {8, 12}, DType::f4, values.data());
  store::write_npy(tmp / "b.npy", {4, 12}, DType::f4, values.data() + 8 * 12);
  options.betas = {tmp / "a.npy", tmp / "b.npy"};
  import(options, tmp / "one");
  expect_same(tmp / "one");
  test::write_text(tmp / "a.tsv", table_of(8));
  test::write_text(tmp / "b.tsv", table_of(4));
  options.events = {InputPath{tmp / "a.tsv"}, InputPath{tmp / "b.tsv"}};
  import(options, tmp / "each");
  expect_same(tmp / "each");
  EXPECT_EQ(SubjectStore(tmp / "each").table().run, (std::vector<std::int16_t>{1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2}));
  test::write_text(tmp / "b.tsv", table_of(5));
  ME2_EXPECT_ERROR(import(options, tmp / "x"), Exit::data, "b.tsv", "line 6", "trial 5", "b.npy", "4 rows");
  store::write_npy(tmp / "b.npy", {4, 11}, DType::f4, values.data());
  test::write_text(tmp / "b.tsv", table_of(4));
  ME2_EXPECT_ERROR(import(options, tmp / "x"), Exit::data, "b.npy", "11 voxels", "a.npy", "12");
  options.events.emplace_back(InputPath{tmp / "b.tsv"});
  ME2_EXPECT_ERROR(import(options, tmp / "x"), Exit::usage, "2 --betas files", "3 --events");
  EXPECT_FALSE(std::filesystem::exists(tmp / "x"));
}

TEST_F(BetasFrom, ANiftiMaskKeepsItsVoxelsAndARegionItsPart) {
  std::vector<float> mask(12, 0), region(12, 0);
  for (const int v : {1, 4, 5, 10}) mask[static_cast<std::size_t>(v)] = 1;
  for (const int v : {0, 4, 10}) region[static_cast<std::size_t>(v)] = 2;
  test::float_nifti(2, 3, 2, mask).write(tmp / "mask.nii");
  test::float_nifti(2, 3, 2, region).write(tmp / "region.nii");
  test::float_nifti(2, 3, 2, values).write(tmp / "four.nii");
  options.betas = {tmp / "four.nii"};
  options.mask = InputPath{tmp / "mask.nii"};
  options.roi = {"part=" + tmp / "region.nii"};
  import(options, tmp / "s");
  const SubjectStore s(tmp / "s");
  const auto b = s.betas().read<float>();
  ASSERT_EQ(b.size(), 48u);
  const int kept[] = {1, 4, 5, 10};
  for (int t = 0; t < 12; ++t)
    for (int k = 0; k < 4; ++k) EXPECT_EQ(b[t * 4 + k], values[t * 12 + kept[k]]);
  EXPECT_EQ(s.roi("part"), (std::vector<std::uint8_t>{0, 1, 0, 1}));
  EXPECT_EQ(s.group().array("voxel_ijk").read<std::int32_t>(), (std::vector<std::int32_t>{0, 0, 1, 0, 2, 0, 0, 2, 1, 1, 2, 0}));
}

TEST_F(BetasFrom, RowsThatHoldTheMasksVoxelsOnlyAreTakenWhole) {
  std::vector<float> mask(12, 0);
  for (const int v : {1, 4, 5, 10}) mask[static_cast<std::size_t>(v)] = 1;
  test::float_nifti(2, 3, 2, mask).write(tmp / "mask.nii");
  store::write_npy(tmp / "masked.npy", {12, 4}, DType::f4, values.data());
  options.betas = {tmp / "masked.npy"};
  options.mask = InputPath{tmp / "mask.nii"};
  import(options, tmp / "s");
  EXPECT_EQ(SubjectStore(tmp / "s").betas().read<float>(), std::vector<float>(values.begin(), values.begin() + 48));
  EXPECT_EQ(SubjectStore(tmp / "s").group().array("voxel_ijk").read<std::int32_t>()[2], 1);
}

TEST_F(BetasFrom, AFileNameInTwoFoldersNeedsItsFolder) {
  for (const char* name : {"a/im0.png", "b/im0.png", "b/im1.png", "b/im2.png", "b/im3.png"}) {
    std::filesystem::create_directories(std::filesystem::path(tmp / fmt::format("images/{}", name)).parent_path());
    std::filesystem::copy_file(std::string(ME2_SOURCE_DIR) + "/tests/golden/images/rgb.png", tmp / fmt::format("images/{}", name));
  }
  options.images = InputPath{tmp / "images"};
  test::write_text(tmp / "events.tsv", table_of(12, ".png"));
  ME2_EXPECT_ERROR(import(options, tmp / "x"), Exit::data, "events.tsv", "line 2", "im0.png");
  std::string text = "image\n";
  for (int t = 0; t < 12; ++t) text += t % 4 == 0 ? "a/im0.png\n" : fmt::format("im{}.png\n", t % 4);
  test::write_text(tmp / "events.tsv", text);
  import(options, tmp / "s");
  EXPECT_EQ(SubjectStore(tmp / "s").table().stimulus[1], 2);
}

class BoldFrom : public ::testing::Test {
 protected:
  Json golden = read_json_file(std::string(ME2_SOURCE_DIR) + "/tests/golden/readers/glm.json");
  void SetUp() override {
    for (const Json& row : golden["series"])
      for (const Json& x : row) series.push_back(x.get<float>());
    tr = golden["tr"];
    write_events();
    test::float_nifti(3, 1, 1, series).put<float>(76 + 16, static_cast<float>(tr)).write(tmp / "bold.nii");
    options.bold = {tmp / "bold.nii"};
    options.events = {InputPath{tmp / "events.tsv"}};
    options.normalise = Normalise::none;
    options.drift = golden["drift"];
    options.shift = golden["shift"];
    options.split = "share:0.3";
  }
  void write_events(const std::string& last = "") {
    std::string text = "onset\tduration\tstim_file\n";
    int n = 0;
    for (const Json& e : golden["events"]) text += fmt::format("{}\t{}\tim{}\n", e[0].get<double>(), e[1].get<double>(), n++);
    test::write_text(tmp / "events.tsv", text + last);
  }
  void expect(const char* name, const std::string& out, double tolerance) {
    const auto got = SubjectStore(out).betas().read<float>();
    std::size_t i = 0;
    for (const Json& row : golden[name])
      for (const Json& x : row) EXPECT_NEAR(got[i++], x.get<double>(), tolerance) << name;
    EXPECT_EQ(i, got.size());
  }
  test::TempDir tmp;
  std::vector<float> series;  // [time, 3]
  double tr = 0;
  CustomOptions options;
};

TEST_F(BoldFrom, LeastSquaresSeparateAndBlocksEqualNumpy) {
  import(options, tmp / "lss");
  expect("lss", tmp / "lss", 2e-5);
  options.estimate = Estimate::block;
  options.detrend = -1;
  import(options, tmp / "block");
  expect("block", tmp / "block", 1e-4);
  store::write_npy(tmp / "bold.npy", {static_cast<std::int64_t>(series.size() / 3), 3}, DType::f4, series.data());
  options.bold = {tmp / "bold.npy"};
  ME2_EXPECT_ERROR(import(options, tmp / "x"), Exit::usage, "bold.npy", "repetition time", "--tr");
  options.tr = tr;
  import(options, tmp / "npy");
  expect("block", tmp / "npy", 1e-4);
  EXPECT_FALSE(std::filesystem::exists(tmp / "x"));
}

TEST_F(BoldFrom, RunsMayBeStandardisedFirst) {
  options.estimate = Estimate::block;
  options.detrend = -1;
  import(options, tmp / "plain");
  options.standardise = Standardise::run;
  import(options, tmp / "scored");
  const auto plain = SubjectStore(tmp / "plain").betas().read<float>(), scored = SubjectStore(tmp / "scored").betas().read<float>();
  const std::size_t times = series.size() / 3;
  for (int v = 0; v < 3; ++v) {  // the mean of a block of scores is the score of the mean
    double mean = 0, square = 0;
    for (std::size_t t = 0; t < times; ++t) mean += series[t * 3 + v] / static_cast<double>(times);
    for (std::size_t t = 0; t < times; ++t) square += (series[t * 3 + v] - mean) * (series[t * 3 + v] - mean) / static_cast<double>(times);
    for (std::size_t i = v; i < plain.size(); i += 3) EXPECT_NEAR(scored[i], (plain[i] - mean) / std::sqrt(square), 1e-3);
  }
}

TEST_F(BoldFrom, WhatCannotBeEstimatedNamesFileAndLine) {
  const auto lines = golden["events"].size();
  write_events("9000\t1\tlate\n");
  ME2_EXPECT_ERROR(import(options, tmp / "x"), Exit::data, "events.tsv", fmt::format("line {}", lines + 2), "9000", "behind the end of", "bold.nii");
  write_events();
  series[7] = std::numeric_limits<float>::quiet_NaN();
  test::float_nifti(3, 1, 1, series).put<float>(76 + 16, static_cast<float>(tr)).write(tmp / "bold.nii");
  ME2_EXPECT_ERROR(import(options, tmp / "x"), Exit::data, "bold.nii", "NaN or infinity");
  EXPECT_FALSE(std::filesystem::exists(tmp / "x"));
}

}  // namespace
}  // namespace me2::ingest
