// Subject stores: what is written is read back, and an interrupted one goes on.
#include "store/subject.h"

#include <filesystem>

#include "base/signals.h"
#include "support/files.h"

namespace me2::store {
namespace {

Trials trials(std::int64_t n) {
  Trials t;
  for (std::int64_t i = 0; i < n; ++i) {
    t.stimulus.push_back(static_cast<std::int32_t>(i % 4));
    t.global_trial.push_back(static_cast<std::int32_t>(i));
    t.session.push_back(1);
    t.run.push_back(1);
    t.split.push_back(i % 4 == 3);
  }
  return t;
}

std::vector<float> rows(std::int64_t first, std::int64_t n, std::int64_t voxels) {
  std::vector<float> out(static_cast<std::size_t>(n * voxels));
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>((first * voxels + static_cast<std::int64_t>(i)) % 1021);
  return out;
}

TEST(Subject, PiecesOfAnySizeMakeTheSameStore) {
  test::TempDir tmp;
  for (const int format : {2, 3})
    for (const std::int64_t step : {1, 7, 50}) {
      const std::string path = tmp / fmt::format("s{}_{}.zarr", format, step);
      WriteOptions options;
      options.zarr_format = format;
      SubjectWriter w(path, 50, 11, options);
      for (std::int64_t i = 0; i < 50; i += step) w.append(std::min(step, 50 - i), rows(i, std::min(step, 50 - i), 11).data());
      Voxels v;
      v.count = 11;
      v.roi.emplace_back("V1", std::vector<std::uint8_t>{1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1});
      SubjectInfo info;
      info.id = "subj07";
      w.publish(trials(50), v, info, Json());
      const SubjectStore s(path);
      EXPECT_EQ(s.betas().read<float>(), rows(0, 50, 11));
      EXPECT_EQ(s.id(), "subj07");
      EXPECT_EQ(s.roi("V1")[4], 1);
      ME2_EXPECT_ERROR(s.roi("V9"), Exit::data, "V9", "V1");
      EXPECT_EQ(s.table().repeat[49], 13);
      EXPECT_EQ(s.rows(1).size(), 12u);
      std::vector<float> some(3 * 11);
      s.read_rows(std::vector<std::int64_t>{3, 4, 40}, some.data());
      EXPECT_EQ(some[2 * 11 + 5], rows(40, 1, 11)[5]);
      EXPECT_FALSE(std::filesystem::exists(path + ".partial"));
    }
}

TEST(Subject, AnInterruptedWriteGoesOnWhereItStopped) {
  test::TempDir tmp;
  const std::int64_t voxels = 1 << 22, n = 9;  // 16 MiB a row, 4 rows a unit
  WriteOptions options;
  options.config_digest = "a";
  const std::string path = tmp / "s.zarr";
  {
    SubjectWriter w(path, n, voxels, options);
    w.append(4, rows(0, 4, voxels).data());
    request_stop(15);
    ME2_EXPECT_ERROR(w.append(4, rows(4, 4, voxels).data()), Exit::temp_fail, "--resume");
    clear_stop();
    ME2_EXPECT_ERROR(SubjectWriter(path, n, voxels, options), Exit::cant_create, "--resume continues it");
    options.resume = true;
    ME2_EXPECT_ERROR(SubjectWriter(path, n, voxels, options), Exit::temp_fail, "another process");
    options.resume = false;
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  ME2_EXPECT_ERROR(SubjectStore{path}, Exit::no_input, "--resume");
  ME2_EXPECT_ERROR(SubjectStore{path + ".partial"}, Exit::data, "unfinished");
  options.resume = true;
  options.config_digest = "b";
  ME2_EXPECT_ERROR(SubjectWriter(path, n, voxels, options), Exit::usage, "config_digest");
  options.config_digest = "a";
  SubjectWriter w(path, n, voxels, options);
  EXPECT_EQ(w.rows_done(), 8);
  w.append(8, rows(0, 8, voxels).data());
  w.append(1, rows(8, 1, voxels).data());
  Voxels v;
  v.count = voxels;
  w.publish(trials(n), v, {}, Json());
  EXPECT_TRUE(SubjectWriter(path, n, voxels, options).published());
  const SubjectStore s(path);
  for (const std::int64_t r : {0, 5, 8}) EXPECT_EQ(s.betas().read_rows<float>(r, 1), rows(r, 1, voxels));
}

TEST(Subject, ArraysThatDisagreeAreRefused) {
  test::TempDir tmp;
  Group g = Group::create(tmp / "s.zarr");
  ArraySpec spec;
  spec.shape = {3, 2};
  g.create_array("betas", spec);
  ME2_EXPECT_ERROR(SubjectStore{tmp / "s.zarr"}, Exit::data, "stimulus");
  spec.shape = {4};
  spec.dtype = DType::i4;
  g.create_array("stimulus", spec);
  ME2_EXPECT_ERROR(SubjectStore{tmp / "s.zarr"}, Exit::data, "stimulus", "[3] expected", "[4] found");
  ME2_EXPECT_ERROR(SubjectStore{tmp / "none.zarr"}, Exit::no_input, "none.zarr");
}

}  // namespace
}  // namespace me2::store
