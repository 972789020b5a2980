// Expected values: golden case medarc_layout (webdataset 1.0.2 and the official selection code).
#include "ingest/medarc.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/hash.h"
#include "ingest/stimuli.h"
#include "store/convert.h"
#include "store/hdf5.h"
#include "store/subject.h"
#include "support/files.h"

namespace me2::ingest {
namespace {

namespace fs = std::filesystem;
using store::SubjectStore;

struct Case {
  std::string dir = test::golden_dir("medarc_layout");
  test::Tensors io{dir + "/io.safetensors"};
  Json config = read_json_file(dir + "/config.json");
};

Json import(const std::string& dir, const std::string& out, int subject, MedarcSplit split = MedarcSplit::new_test, int sessions = 0, NanRule nan = NanRule::error) {
  MedarcOptions options;
  options.release = dir;
  options.output.path = out;
  options.subject = subject;
  options.split = split;
  options.sessions = sessions;
  options.nan = nan;
  const Json provenance;
  Context context;
  context.provenance = &provenance;
  return import_medarc(options, context);
}

std::vector<std::int64_t> pairs(const SubjectStore& s, int split) {
  std::vector<std::int64_t> out;
  for (const std::int64_t r : s.rows(split)) out.push_back(s.table().global_trial[r]), out.push_back(s.table().stimulus[r]);
  return out;
}

TEST(Medarc, TrainAndTestPairsOfEverySessionCount) {
  const Case c;
  test::TempDir tmp;
  for (const int subject : {1, 2}) {
    const std::string id = subject_id(subject);
    const int sessions = c.config["sessions"][id];
    for (int n = 1; n <= sessions; ++n)
      for (const auto split : {MedarcSplit::new_test, MedarcSplit::test}) {
        const std::string out = tmp / fmt::format("{}_{}_{}.zarr", id, n, static_cast<int>(split));
        import(c.dir, out, subject, split, n);
        const SubjectStore s(out);
        const std::string test = split == MedarcSplit::test ? "test" : "new_test";
        EXPECT_EQ(pairs(s, 0), c.io.raw<std::int64_t>(fmt::format("out.{}.train_pairs_sessions{}", id, n)));
        EXPECT_EQ(pairs(s, 1), c.io.raw<std::int64_t>(fmt::format("out.{}.{}_pairs", id, test)));
      }
  }
}

TEST(Medarc, TestRepeatsAndTheirMeanFollowTheOfficialRule) {
  const Case c;
  test::TempDir tmp;
  for (const int subject : {1, 2})
    for (const auto split : {MedarcSplit::new_test, MedarcSplit::test}) {
      const std::string id = subject_id(subject), test = split == MedarcSplit::test ? "test" : "new_test", out = tmp / (id + test);
      import(c.dir, out, subject, split);
      const SubjectStore s(out);
      std::map<std::int32_t, std::vector<std::int64_t>> by_image;
      for (const std::int64_t r : s.rows(1)) by_image[s.table().stimulus[r]].push_back(r);
      std::vector<std::int64_t> images, trials, rows;
      for (auto& [image, r] : by_image) {
        images.push_back(image);
        std::vector<std::int64_t> three = r.size() == 3 ? r : r.size() == 2 ? std::vector{r[0], r[0], r[1]} : std::vector{r[0], r[0], r[0]};
        for (const std::int64_t row : three) rows.push_back(row), trials.push_back(s.table().global_trial[row]);
      }
      EXPECT_EQ(images, c.io.raw<std::int64_t>(fmt::format("out.{}.{}_unique_images", id, test)));
      EXPECT_EQ(trials, c.io.raw<std::int64_t>(fmt::format("out.{}.{}_rep_trials", id, test)));
      const auto want = c.io.raw<float>(fmt::format("out.{}.{}_rep_voxels", id, test));
      std::vector<float> got(want.size());
      ASSERT_EQ(rows.size() * s.voxels(), want.size());
      s.read_rows(rows, got.data());
      EXPECT_EQ(got, want);
      const auto mean = c.io.raw<float>(fmt::format("out.{}.{}_voxels_averaged", id, test));
      for (std::size_t i = 0; i < mean.size(); ++i) {
        const std::size_t image = i / s.voxels(), v = i % s.voxels(), at = image * 3 * s.voxels() + v;
        EXPECT_NEAR((got[at] + got[at + s.voxels()] + got[at + 2 * s.voxels()]) / 3, mean[i], 1e-6);
      }
    }
}

TEST(Medarc, BehaviourSessionsRunsAndRepeats) {
  const Case c;
  test::TempDir tmp;
  import(c.dir, tmp / "s.zarr", 1);
  const SubjectStore s(tmp / "s.zarr");
  const auto want = c.io.raw<double>("out.subj01.train_behav");
  const auto got = s.behaviour();
  const auto rows = s.rows(0);
  ASSERT_EQ(rows.size() * 17, want.size());
  int missing = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const float g = got[rows[i / 17] * 17 + i % 17];
    if (i % 17 >= 8 && i % 17 <= 15 && want[i] == -1) {
      EXPECT_TRUE(std::isnan(g));
      ++missing;
    } else {
      EXPECT_EQ(g, static_cast<float>(want[i]));
    }
  }
  EXPECT_GT(missing, 0);
  // Past rows are trials of the same session: the same record, whichever sample told it.
  const auto past = c.io.raw<double>("out.subj01.train_past_behav");
  for (std::size_t i = 0; i < rows.size(); ++i)
    for (std::size_t k = 0; k < 15; ++k) {
      const double* p = past.data() + (i * 15 + k) * 17;
      const std::int64_t trial = s.table().global_trial[rows[i]] - 1 - static_cast<std::int64_t>(k);
      if (p[5] < 0) continue;
      EXPECT_EQ(p[5], trial);
      EXPECT_EQ(p[0], s.table().stimulus[trial]);  // every trial is in the store, so row = global trial
      EXPECT_EQ(p[2], s.table().session[trial]);
      EXPECT_EQ(p[3], s.table().run[trial]);
    }
  const auto indices = store::H5File(c.dir + "/COCO_73k_subj_indices.hdf5").read<std::int64_t>("subj01");
  for (std::int64_t i = 0; i < s.trials(); ++i) {
    EXPECT_EQ(s.table().stimulus[i], indices[i]);
    EXPECT_EQ(s.table().repeat[i], std::count(indices.begin(), indices.begin() + i + 1, indices[i]));
    EXPECT_EQ(s.table().session[i], i / c.config["trials_per_session"].get<int>() + 1);
  }
}

// The 17 values of one trial as the tars tell them: -1 where the store has NaN (columns 8 to 15).
void expect_record(const SubjectStore& s, const std::vector<float>& behaviour, std::int64_t trial, const double* want) {
  ASSERT_EQ(s.table().global_trial[trial], trial);  // with every trial in the store, row = global trial
  for (std::int64_t c = 0; c < 17; ++c) {
    const float got = behaviour[trial * 17 + c];
    EXPECT_EQ(std::isnan(got) ? -1.0F : got, static_cast<float>(want[c])) << "trial " << trial << ", column " << c;
  }
}

TEST(Medarc, FutureAndOldRecordsFollowFromTheStore) {
  const Case c;
  test::TempDir tmp;
  for (const int subject : {1, 2}) {
    const std::string id = subject_id(subject), out = tmp / id;
    import(c.dir, out, subject);
    const SubjectStore s(out);
    const auto behaviour = s.behaviour();
    const auto train = s.rows(0);
    const auto future = c.io.raw<double>("out." + id + ".train_future_behav"), olds = c.io.raw<double>("out." + id + ".train_olds_behav");
    ASSERT_EQ(future.size(), train.size() * 15 * 17);
    ASSERT_EQ(olds.size(), train.size() * 3 * 17);
    for (std::size_t i = 0; i < train.size(); ++i) {
      const std::int64_t trial = train[i];
      for (std::int64_t k = 0; k < 15; ++k) {  // the next trials of the same session
        const double* record = future.data() + (i * 15 + k) * 17;
        const std::int64_t next = trial + 1 + k;
        if (next < s.trials() && s.table().session[next] == s.table().session[trial]) expect_record(s, behaviour, next, record);
        else EXPECT_TRUE(std::all_of(record, record + 17, [](double x) { return x == -1; })) << trial << " + " << k + 1;
      }
      std::vector<std::int64_t> others;  // the other showings of the image, over all sessions
      for (std::int64_t t = 0; t < s.trials(); ++t)
        if (t != trial && s.table().stimulus[t] == s.table().stimulus[trial]) others.push_back(t);
      for (std::size_t k = 0; k < 3; ++k) {
        const double* record = olds.data() + (i * 3 + k) * 17;
        if (k < others.size()) expect_record(s, behaviour, others[k], record);
        else EXPECT_TRUE(std::all_of(record, record + 17, [](double x) { return x == -1; })) << trial << ", showing " << k;
      }
    }
  }
}

TEST(Medarc, ImagesAreThoseOfTheRelease) {
  const Case c;
  test::TempDir tmp;
  const auto want = c.io.raw<double>("out.image_checksum");  // sum of each image's float16 values
  const auto image = store::H5File(c.dir + "/coco_images_224_float16.hdf5").shape("images");
  const std::size_t size = image[1] * image[2] * image[3];
  StimuliOptions options;
  options.input.path = c.dir + "/coco_images_224_float16.hdf5";
  options.output.path = tmp / "stimuli.zarr";
  const Json provenance;
  Context context;
  context.provenance = &provenance;
  import_stimuli(options, context);
  const auto bytes = store::Group::open(tmp / "stimuli.zarr").array("image").read<std::uint8_t>();
  ASSERT_EQ(bytes.size(), want.size() * size);
  for (std::size_t i = 0; i < want.size(); ++i) {
    double sum = 0;  // the release's halves are bytes / 255, so the stored bytes give them back
    for (std::size_t k = 0; k < size; ++k) sum += store::half_to_float(store::float_to_half(static_cast<float>(bytes[i * size + k]) / 255.0F));
    EXPECT_DOUBLE_EQ(sum, want[i]) << "image " << i;
  }
}

TEST(Medarc, BatchesOfTheOfficialLoaderComeFromTheStore) {
  const Case c;
  test::TempDir tmp;
  for (const int subject : {1, 2}) {
    const std::string id = subject_id(subject), out = tmp / id;
    import(c.dir, out, subject);
    const SubjectStore s(out);
    const auto train = s.rows(0);
    const auto draws = c.io.raw<std::int64_t>("in." + id + ".draws"), used = c.io.raw<std::int64_t>("out." + id + ".used_draws");
    const auto want = c.io.raw<std::int64_t>("out." + id + ".batch_voxel_rows");
    const auto halves = c.io.raw<std::uint16_t>("out." + id + ".batch_voxels_f16");
    const auto images = c.io.raw<std::int64_t>("out.batch_image_index");
    const std::size_t bs = c.config["batch_size_per_subject"], subjects = c.config["subj_list"].size(), width = s.voxels();
    ASSERT_EQ(halves.size(), used.size() * bs * width);
    for (std::size_t b = 0; b < used.size(); ++b) {
      std::vector<std::pair<int, int>> batch;  // image, global trial
      for (std::size_t k = 0; k < bs; ++k) {
        const std::int64_t r = train[draws[used[b] * bs + k]];
        batch.emplace_back(s.table().stimulus[r], s.table().global_trial[r]);
      }
      std::sort(batch.begin(), batch.end());
      std::vector<std::int64_t> rows;
      for (std::size_t k = 0; k < bs; ++k) {
        EXPECT_EQ(batch[k].second, want[b * bs + k]);
        EXPECT_EQ(batch[k].first, images[(b * subjects + subject - 1) * bs + k]);
        rows.push_back(batch[k].second);  // every trial is in the store: row = global trial
      }
      std::vector<float> voxels(bs * width);
      s.read_rows(rows, voxels.data());
      for (std::size_t i = 0; i < voxels.size(); ++i) EXPECT_EQ(store::float_to_half(voxels[i]), halves[b * bs * width + i]);
    }
  }
}

TEST(Medarc, RegionsAreThoseOfTheRelease) {
  const Case c;
  test::TempDir tmp;
  const Json counts = import(c.dir, tmp / "s.zarr", 2);
  const SubjectStore s(tmp / "s.zarr");
  EXPECT_EQ(s.roi_names(), (std::vector<std::string>{"V1", "V2", "V3", "V4", "higher_vis", "nsd_general"}));
  const store::H5File masks(c.dir + "/brain_region_masks.hdf5");
  for (const auto& name : s.roi_names()) EXPECT_EQ(s.roi(name), masks.read<std::uint8_t>("subj02/" + name));
  EXPECT_EQ(counts["trials"], s.trials());
  EXPECT_EQ(s.attributes()["counts"], counts);
  // The list of ids and its hashes, from the trials themselves.
  std::set<std::int32_t> ids[3];  // train, test, all
  for (std::int64_t i = 0; i < s.trials(); ++i) {
    ids[2].insert(s.table().stimulus[i]);
    if (const int split = s.table().split[i]; split >= 0) ids[split].insert(s.table().stimulus[i]);
  }
  const char* names[] = {"train_ids_sha256", "test_ids_sha256", "stimulus_ids_sha256"};
  for (int k = 0; k < 3; ++k) EXPECT_EQ(s.attributes()[names[k]], sha256(fmt::format("{}\n", fmt::join(ids[k], "\n")))) << names[k];
  EXPECT_EQ(s.attributes()["stimulus_ids"], Json(ids[2]));
  EXPECT_EQ(s.id(), "subj02");
}

class BrokenRelease : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::copy(fs::path(ME2_SOURCE_DIR) / "tests/golden/medarc_layout", tmp / "r", fs::copy_options::recursive);
    for (const auto& e : fs::recursive_directory_iterator(tmp / "r")) fs::permissions(e.path(), fs::perms::owner_all);
  }
  template <class F>
  void patch(const std::string& file, F&& edit) {
    std::string bytes = read_file(tmp / ("r/" + file));
    edit(bytes);
    test::write_text(tmp / ("r/" + file), bytes);
  }
  void nothing_written() {
    EXPECT_FALSE(fs::exists(tmp / "o.zarr"));
  }
  test::TempDir tmp;
};

TEST_F(BrokenRelease, NanBetasNameTheSessionAndTheCount) {
  const std::size_t voxels = store::H5File(tmp / "r/betas_all_subj01_fp32_renorm.hdf5").shape("betas")[1];
  const float first = store::H5File(tmp / "r/betas_all_subj01_fp32_renorm.hdf5").read<float>("betas")[0];
  patch("betas_all_subj01_fp32_renorm.hdf5", [&](std::string& b) {
    const std::size_t at = b.find(std::string(reinterpret_cast<const char*>(&first), 4));
    const float nan = std::numeric_limits<float>::quiet_NaN();
    std::memcpy(b.data() + at + (21 * voxels + 3) * 4, &nan, 4);
    std::memcpy(b.data() + at + (21 * voxels + 5) * 4, &nan, 4);
  });
  ME2_EXPECT_ERROR(import(tmp / "r", tmp / "o.zarr", 1), Exit::data, "session 2: 2 values in 1 trial", "--nan drop");
  nothing_written();
  const Json counts = import(tmp / "r", tmp / "o.zarr", 1, MedarcSplit::new_test, 0, NanRule::drop);
  EXPECT_EQ(counts["trials"], 59);
  const auto trials = SubjectStore(tmp / "o.zarr").table().global_trial;
  EXPECT_EQ(std::count(trials.begin(), trials.end(), 21), 0);
  EXPECT_EQ(counts["dropped"][0]["count"], 1);
}

TEST_F(BrokenRelease, TruncatedFilesAreNamed) {
  patch("wds/subj01/train/1.tar", [](std::string& b) { b.resize(b.size() / 2 + 100); });
  ME2_EXPECT_ERROR(import(tmp / "r", tmp / "o.zarr", 1), Exit::data, "train/1.tar", "truncated");
  patch("betas_all_subj02_fp32_renorm.hdf5", [](std::string& b) { b.resize(b.size() / 2); });
  ME2_EXPECT_ERROR(import(tmp / "r", tmp / "o.zarr", 2), Exit::data, "betas_all_subj02", "truncated");
  nothing_written();
}

TEST_F(BrokenRelease, MissingPartsAreNamed) {
  fs::remove(tmp / "r/wds/subj01/train/1.tar");
  ME2_EXPECT_ERROR(import(tmp / "r", tmp / "o.zarr", 1), Exit::no_input, "train/1.tar", "2.tar is there");
  ME2_EXPECT_ERROR(import(tmp / "r", tmp / "o.zarr", 3), Exit::no_input, "betas_all_subj03");
  fs::remove_all(tmp / "r/wds/subj02/new_test");
  ME2_EXPECT_ERROR(import(tmp / "r", tmp / "o.zarr", 2), Exit::no_input, "subj02/new_test");
  ME2_EXPECT_ERROR(import(tmp / "r", tmp / "o.zarr", 2, MedarcSplit::test, 9), Exit::usage, "--sessions 9", "2 training tars");
  nothing_written();
}

TEST_F(BrokenRelease, TheSameTrialTwiceIsRefused) {
  fs::copy_file(tmp / "r/wds/subj01/train/0.tar", tmp / "r/wds/subj01/train/1.tar", fs::copy_options::overwrite_existing);
  ME2_EXPECT_ERROR(import(tmp / "r", tmp / "o.zarr", 1), Exit::data, "train/1.tar", "duplicate trial");
}

TEST_F(BrokenRelease, TestImagesInTrainingAreRefused) {
  fs::remove(tmp / "r/shared1000.npy");
  fs::remove(tmp / "r/COCO_73k_subj_indices.hdf5");
  // The image of the first training trial becomes that of the first test trial (22): 7.0 -> 22.0 in column 0 of behav.npy.
  patch("wds/subj01/train/0.tar", [](std::string& b) {
    const double image = 22;
    std::memcpy(b.data() + b.find("\x93NUMPY") + 128, &image, 8);
  });
  ME2_EXPECT_ERROR(import(tmp / "r", tmp / "o.zarr", 1), Exit::data, "test image", "stimulus 22");
}

TEST_F(BrokenRelease, MasksOfAnotherLengthAreRefused) {
  fs::copy_file(tmp / "r/betas_all_subj02_fp32_renorm.hdf5", tmp / "r/x", fs::copy_options::overwrite_existing);
  fs::remove(tmp / "r/COCO_73k_subj_indices.hdf5");
  // Subject 2's 40 x 30 betas offered as subject 1's: its masks have 22 voxels.
  fs::copy_file(tmp / "r/x", tmp / "r/betas_all_subj01_fp32_renorm.hdf5", fs::copy_options::overwrite_existing);
  ME2_EXPECT_ERROR(import(tmp / "r", tmp / "o.zarr", 1, MedarcSplit::new_test, 1), Exit::data, "global trial");  // trial 42 of 40
  fs::remove(tmp / "r/brain_region_masks.hdf5");
  nothing_written();
}

TEST_F(BrokenRelease, OutputsAreNotPutWhereTheyWouldHarm) {
  import(tmp / "r", tmp / "o.zarr", 1);
  ME2_EXPECT_ERROR(import(tmp / "r", tmp / "o.zarr", 1), Exit::cant_create, "exists");
  ME2_EXPECT_ERROR(import(tmp / "r", tmp / "r/wds/o.zarr", 1), Exit::cant_create, "inside the input");
  ME2_EXPECT_ERROR(import(tmp / "r", tmp / "nowhere/o.zarr", 1), Exit::cant_create, "does not exist");
}

}  // namespace
}  // namespace me2::ingest
