// Expected values: golden case nsd_raw (dataset_creation notebook, scikit-learn 1.9.1 StandardScaler, nibabel 5.4.2).
#include "ingest/nsd.h"

#include <cmath>

#include "ingest/medarc.h"
#include "store/convert.h"
#include "store/subject.h"
#include "store/hdf5.h"
#include "store/nifti.h"
#include "support/files.h"
#include "support/made_nifti.h"

namespace me2::ingest {
namespace {

using store::SubjectStore;
namespace fs = std::filesystem;

struct Case {
  std::string dir = test::golden_dir("nsd_raw");
  test::Tensors io{dir + "/io.safetensors"};
};

Json import(NsdOptions options, const std::string& out, bool overwrite = false) {
  options.output.path = out;
  const Json provenance;
  Context context;
  context.write.overwrite = overwrite;
  context.provenance = &provenance;
  return import_nsd(options, context);
}

NsdOptions options_for(const Case& c, int subject, NsdVariant variant, NsdSource source) {
  NsdOptions o;
  o.root = c.dir;
  o.subject = subject;
  o.variant = variant;
  o.source = source;
  return o;
}

void expect_relative(const std::vector<double>& got, const std::vector<double>& want, double tolerance, double factor) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i] * factor, tolerance * std::abs(want[i] * factor) + 1e-300) << i;
}

TEST(Nsd, BothVariantsFromBothFileKindsEqualTheReference) {
  const Case c;
  test::TempDir tmp;
  for (const int subject : {1, 2})
    for (const auto source : {NsdSource::hdf5, NsdSource::nifti})
      for (const auto variant : {NsdVariant::release, NsdVariant::notebook}) {
        const std::string id = subject_id(subject), out = tmp / fmt::format("{}{}{}", id, static_cast<int>(source), static_cast<int>(variant));
        import(options_for(c, subject, variant, source), out);
        const SubjectStore s(out);
        const bool paper = variant == NsdVariant::release;
        const auto got = s.betas().read<float>();
        if (paper) {
          const auto want = c.io.raw<float>("out." + id + ".paper_betas_f32");
          ASSERT_EQ(got.size(), want.size());
          for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 2e-6);
        } else {
          const auto want = c.io.raw<std::uint16_t>("out." + id + ".notebook_betas_f16");
          ASSERT_EQ(got.size(), want.size());
          for (std::size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i], store::half_to_float(want[i])) << i;
          const auto exact = c.io.raw<double>("out." + id + ".notebook_betas_f64");  // before the one rounding to float16
          ASSERT_EQ(got.size(), exact.size());
          for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], exact[i], std::ldexp(std::max(1.0, std::abs(exact[i])), -11)) << i;
        }
        const std::string name = paper ? "paper" : "notebook";
        expect_relative(s.group().array("beta_mean").read<double>(), c.io.raw<double>("out." + id + "." + name + "_mean"), 1e-12, 1);
        expect_relative(s.group().array("beta_sd").read<double>(), c.io.raw<double>("out." + id + "." + name + "_scale"), 1e-12, 1);
        const auto flat = c.io.raw<std::int64_t>("out." + id + (paper ? ".voxel_flat_index_mask_only" : ".voxel_flat_index_notebook"));
        const auto ijk = s.group().array("voxel_ijk").read<std::int32_t>();
        const auto volume = read_json_file(c.dir + "/config.json")["volume_xyz"][id].get<std::vector<int>>();
        ASSERT_EQ(ijk.size(), 3 * flat.size());
        for (std::size_t v = 0; v < flat.size(); ++v) EXPECT_EQ((ijk[3 * v] * volume[1] + ijk[3 * v + 1]) * volume[2] + ijk[3 * v + 2], flat[v]);
        const auto coco = c.io.raw<std::int64_t>("out." + id + ".coco_index");
        const auto shared = c.io.raw<std::uint8_t>("out." + id + ".is_shared");
        ASSERT_EQ(static_cast<std::size_t>(s.trials()), coco.size());
        for (std::size_t t = 0; t < coco.size(); ++t) {
          EXPECT_EQ(s.table().stimulus[t], coco[t]);
          EXPECT_EQ(s.table().split[t], shared[t]);
        }
      }
}

// config.json: the tars of the creation step are those of the medarc_layout case beside this one.
TEST(Nsd, TrialsAndBehaviourAreThoseOfTheReleasedTars) {
  const Case c;
  test::TempDir tmp;
  for (const int subject : {1, 2}) {
    const std::string id = subject_id(subject);
    import(options_for(c, subject, NsdVariant::release, NsdSource::hdf5), tmp / (id + "nsd"));
    MedarcOptions o;
    o.release = test::golden_dir("medarc_layout");
    o.subject = subject;
    o.output.path = tmp / (id + "medarc");
    const Json provenance;
    Context context;
    context.provenance = &provenance;
    import_medarc(o, context);
    const SubjectStore raw(tmp / (id + "nsd")), released(tmp / (id + "medarc"));
    EXPECT_EQ(raw.table().global_trial, released.table().global_trial);
    EXPECT_EQ(raw.table().stimulus, released.table().stimulus);
    EXPECT_EQ(raw.table().session, released.table().session);
    EXPECT_EQ(raw.table().run, released.table().run);
    EXPECT_EQ(raw.table().repeat, released.table().repeat);
    EXPECT_EQ(raw.table().split, released.table().split);
    const auto a = raw.behaviour(), b = released.behaviour();
    ASSERT_EQ(a.size(), b.size());
    ASSERT_FALSE(a.empty());
    for (std::size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]))) << i / 17 << ", column " << i % 17 << ": " << a[i] << " and " << b[i];
  }
}

std::string ours(const std::string& name) { return std::string(ME2_SOURCE_DIR) + "/tests/golden/" + name; }  // whose sizes are known

TEST(Nsd, StatisticsFromChosenSessions) {
  const Case c{ours("nsd_raw")};
  test::TempDir tmp;
  auto o = options_for(c, 1, NsdVariant::release, NsdSource::hdf5);
  o.sessions = 2;
  import(o, tmp / "own");
  o.statistics_sessions = {1};
  import(o, tmp / "first");
  const SubjectStore own(tmp / "own"), first(tmp / "first");
  EXPECT_EQ(first.group().array("beta_mean").shape(), (store::Shape{first.voxels()}));
  // Session 1 is z-scored by itself either way; session 2 is not.
  const auto a = own.betas().read<float>(), b = first.betas().read<float>();
  const std::size_t half = a.size() / 2;
  EXPECT_TRUE(std::equal(a.begin(), a.begin() + half, b.begin()));
  EXPECT_FALSE(std::equal(a.begin() + half, a.end(), b.begin() + half));
}

TEST(Nsd, CompareFindsNoDifferenceToTheReleaseLayout) {
  // The betas of medarc_layout are drawn independently of nsd_raw: the difference is large, and worked out here once more.
  const Case c{ours("nsd_raw")};
  test::TempDir tmp;
  auto o = options_for(c, 1, NsdVariant::release, NsdSource::hdf5);
  o.compare = InputPath{ours("medarc_layout") + "/betas_all_subj01_fp32_renorm.hdf5"};
  const Json counts = import(o, tmp / "s");
  const auto ours_are = SubjectStore(tmp / "s").betas().read<float>();
  const auto theirs = store::H5File(o.compare->path).read<float>("betas");
  ASSERT_EQ(ours_are.size(), theirs.size());
  std::size_t worst = 0;
  double total = 0;
  const auto difference = [&](std::size_t i) { return std::abs(static_cast<double>(ours_are[i]) - theirs[i]); };
  for (std::size_t i = 0; i < theirs.size(); ++i) {
    total += difference(i);
    if (difference(i) > difference(worst)) worst = i;
  }
  EXPECT_EQ(counts["compare"]["largest_difference"], difference(worst));
  EXPECT_EQ(counts["compare"]["trial"], worst / 22);
  EXPECT_EQ(counts["compare"]["voxel"], worst % 22);
  EXPECT_NEAR(counts["compare"]["mean_difference"].get<double>(), total / static_cast<double>(theirs.size()), 1e-12);
  o.compare = InputPath{ours("medarc_layout") + "/betas_all_subj02_fp32_renorm.hdf5"};
  ME2_EXPECT_ERROR(import(o, tmp / "t"), Exit::data, "betas_all_subj02", "shape [60, 22] expected");
  EXPECT_FALSE(fs::exists(tmp / "t"));
}

TEST(Nsd, VoxelsByNoiseCeilingAndByAnotherMask) {
  const Case c{ours("nsd_raw")};
  test::TempDir tmp;
  auto o = options_for(c, 1, NsdVariant::notebook, NsdSource::hdf5);
  import(o, tmp / "notebook");
  o.variant = NsdVariant::release;
  import(o, tmp / "all");
  o.ncsnr = 0.15;  // what the notebook takes
  import(o, tmp / "reliable");
  const SubjectStore notebook(tmp / "notebook"), all(tmp / "all"), reliable(tmp / "reliable");
  EXPECT_LT(reliable.voxels(), all.voxels());
  EXPECT_EQ(reliable.group().array("voxel_ijk").read<std::int32_t>(), notebook.group().array("voxel_ijk").read<std::int32_t>());
  EXPECT_EQ(reliable.attributes()["counts"]["dropped"][0]["count"], all.voxels() - reliable.voxels());
  o.ncsnr = 1e9;
  ME2_EXPECT_ERROR(import(o, tmp / "x"), Exit::data, "ncsnr");
  o.ncsnr.reset();

  const std::string own = c.dir + "/nsd/nsddata/ppdata/subj01/func1pt8mm/roi/nsdgeneral.nii.gz";
  const auto shape = store::NiftiFile(own).header().shape;
  o.mask = InputPath{own};
  o.roi = {"all=" + own};
  import(o, tmp / "same");
  EXPECT_EQ(SubjectStore(tmp / "same").betas().read<float>(), all.betas().read<float>());
  EXPECT_EQ(SubjectStore(tmp / "same").roi("all"), std::vector<std::uint8_t>(static_cast<std::size_t>(all.voxels()), 1));
  const auto volume = static_cast<std::size_t>(shape[0] * shape[1] * shape[2]);
  const std::vector<std::int16_t> dims(shape.begin(), shape.end());
  test::MadeNifti(dims).data(std::vector<std::int16_t>(volume, 1)).write(tmp / "ones.nii");
  o.mask = InputPath{tmp / "ones.nii"};
  EXPECT_EQ(import(o, tmp / "whole")["voxels"], volume);
}

class BrokenNsd : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::copy(fs::path(ME2_SOURCE_DIR) / "tests/golden/nsd_raw", tmp / "r", fs::copy_options::recursive);
    for (const auto& e : fs::recursive_directory_iterator(tmp / "r")) fs::permissions(e.path(), fs::perms::owner_all);
    options.root = tmp / "r";
  }
  std::string ppdata(int s = 1) const { return tmp / fmt::format("r/nsd/nsddata/ppdata/subj0{}", s); }
  std::string betas(int s = 1) const { return tmp / fmt::format("r/nsd/nsddata_betas/ppdata/subj0{}/func1pt8mm/betas_fithrf", s); }
  test::TempDir tmp;
  NsdOptions options;
};

TEST_F(BrokenNsd, AMaskOfAnotherShapeIsRefused) {
  fs::copy_file(ppdata(2) + "/func1pt8mm/roi/nsdgeneral.nii.gz", ppdata() + "/func1pt8mm/roi/nsdgeneral.nii.gz", fs::copy_options::overwrite_existing);
  ME2_EXPECT_ERROR(import(options, tmp / "o"), Exit::data, "betas_session01.hdf5", "mask and betas are of different shape");
  options.source = NsdSource::nifti;
  ME2_EXPECT_ERROR(import(options, tmp / "o"), Exit::data, "betas_session01.nii.gz", "mask and betas are of different shape");
  EXPECT_FALSE(fs::exists(tmp / "o"));
}

TEST_F(BrokenNsd, ATruncatedSessionIsNamed) {
  std::string bytes = read_file(betas() + "/betas_session02.nii.gz");
  test::write_text(betas() + "/betas_session02.nii.gz", bytes.substr(0, bytes.size() / 2));
  options.source = NsdSource::nifti;
  ME2_EXPECT_ERROR(import(options, tmp / "o"), Exit::data, "betas_session02.nii.gz", "volume");
  EXPECT_FALSE(fs::exists(tmp / "o"));
}

TEST_F(BrokenNsd, NanBetasNameTheSessionOrAreLeftOut) {
  // Session 2 as float NIfTI: random values, trial 5 (of 20) without any, and one gap in trial 9.
  const auto shape = store::NiftiFile(betas() + "/betas_session02.nii.gz").header().shape;
  const auto volume = static_cast<std::size_t>(shape[0] * shape[1] * shape[2]), n = static_cast<std::size_t>(shape[3]);
  std::vector<float> values(volume * n);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(std::sin(static_cast<double>(i) * 1.7) * 300);
  const auto nan = std::numeric_limits<float>::quiet_NaN();
  std::fill_n(values.begin() + 5 * volume, volume, nan);
  options.source = NsdSource::nifti;
  fs::remove(betas() + "/betas_session02.nii.gz");
  test::float_nifti(static_cast<std::int16_t>(shape[0]), static_cast<std::int16_t>(shape[1]), static_cast<std::int16_t>(shape[2]), values).write(betas() + "/betas_session02.nii");
  ME2_EXPECT_ERROR(import(options, tmp / "o"), Exit::data, "betas_fithrf", "NaN betas: session 2: 22 values in 1 trial", "--nan drop");
  EXPECT_FALSE(fs::exists(tmp / "o"));
  options.nan = NanRule::drop;
  for (const std::vector<int>& pooled : {std::vector<int>{}, std::vector<int>{1, 2}}) {  // a dropped trial has no part in any average
    options.statistics_sessions = pooled;
    const std::string out = tmp / fmt::format("kept{}", pooled.size());
    const Json counts = import(options, out);
    EXPECT_EQ(counts["trials"], 59);
    const SubjectStore s(out);
    for (const float b : s.betas().read<float>()) ASSERT_TRUE(std::isfinite(b));
    EXPECT_EQ(std::count(s.table().global_trial.begin(), s.table().global_trial.end(), static_cast<std::int32_t>(n) + 5), 0);
    EXPECT_EQ(s.attributes()["counts"]["dropped"].back()["count"], 1);
  }
}

TEST_F(BrokenNsd, ResponsesMustAgreeWithTheDesign) {
  const std::string path = ppdata() + "/behav/responses.tsv";
  std::string text = read_file(path);
  const std::size_t second = text.find('\n', text.find('\n') + 1) + 1, third = text.find('\n', second) + 1;
  test::write_text(path, text.substr(0, third) + text.substr(second));  // one line twice
  ME2_EXPECT_ERROR(import(options, tmp / "o"), Exit::data, "responses.tsv", "line 4", "duplicate trial");
  test::write_text(path, text.substr(0, second) + text.substr(third));  // one line missing
  ME2_EXPECT_ERROR(import(options, tmp / "o"), Exit::data, "responses.tsv", "line 3");
}

TEST_F(BrokenNsd, MissingInputsAreNamed) {
  options.ncsnr = 0.2;
  fs::remove_all(ppdata() + "/func1pt8mm/betas_fithrf");
  ME2_EXPECT_ERROR(import(options, tmp / "o"), Exit::no_input, "ncsnr");
  options.ncsnr.reset();
  fs::remove(ppdata() + "/func1pt8mm/roi/nsdgeneral.nii.gz");
  ME2_EXPECT_ERROR(import(options, tmp / "o"), Exit::no_input, "nsdgeneral.nii.gz");
  options.subject = 7;
  ME2_EXPECT_ERROR(import(options, tmp / "o"), Exit::no_input, "subj07");
}

}  // namespace
}  // namespace me2::ingest
