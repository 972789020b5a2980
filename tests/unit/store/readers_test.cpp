// Readers of foreign files on good and broken input. Files under tests/golden/readers were written by h5py, SciPy and NumPy.
#include <bit>
#include <cmath>
#include <limits>
#include <sstream>

#include "store/convert.h"
#include "store/extent.h"
#include "store/hdf5.h"
#include "store/matlab.h"
#include "store/nifti.h"
#include "store/npy.h"
#include "store/table.h"
#include "store/tar.h"
#include "support/files.h"
#include "support/made_nifti.h"

namespace me2::store {
namespace {

std::string made(const std::string& name) { return std::string(ME2_SOURCE_DIR) + "/tests/golden/readers/" + name; }
std::span<const std::byte> bytes(const std::string& s) { return std::as_bytes(std::span(s)); }

// ---- half precision ----

TEST(Half, EveryHalfSurvivesAndTiesGoToEven) {
  for (unsigned h = 0; h < 65536; ++h) {
    const float f = half_to_float(static_cast<std::uint16_t>(h));
    if (std::isnan(f)) continue;
    EXPECT_EQ(double_to_half(f), h);
  }
  EXPECT_EQ(double_to_half(1 + 0x1p-11), 0x3c00);            // tie: to even
  EXPECT_EQ(double_to_half(1 + 0x1p-11 + 0x1p-40), 0x3c01);  // by way of float32 this would be the tie again
  EXPECT_EQ(double_to_half(65520), 0x7c00);
  EXPECT_EQ(double_to_half(0x1p-25), 0);
  EXPECT_EQ(double_to_half(0x1.8p-25), 1);
}

// ---- HDF5 ----

TEST(H5, ReadsEveryNumericType) {
  const H5File f(made("mixed.hdf5"));
  EXPECT_EQ(f.datasets(), (std::vector<std::string>{"big", "bool", "chunked", "empty", "f2", "f4", "i8", "scalar", "text", "virtual"}));
  EXPECT_EQ(f.groups(), std::vector<std::string>{"group"});
  EXPECT_EQ(f.dtype("f2"), DType::f2);
  EXPECT_EQ(f.read<float>("f2"), (std::vector<float>{0, 1.5f, -2.25f, 65504, half_to_float(1), half_to_float(0x2e66)}));
  EXPECT_EQ(f.read<std::int32_t>("big"), (std::vector<std::int32_t>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(f.read<std::int64_t>("i8"), (std::vector<std::int64_t>{(1ll << 53) + 1, -3}));
  EXPECT_EQ(f.dtype("bool"), DType::b1);
  EXPECT_EQ(f.read<std::uint8_t>("bool"), (std::vector<std::uint8_t>{1, 0, 1}));
  EXPECT_EQ(f.read<double>("scalar"), std::vector<double>{2.5});
  EXPECT_EQ(f.read<std::int64_t>("group/inner"), (std::vector<std::int64_t>{0, 1, 2}));
  EXPECT_EQ(f.shape("empty"), (Shape{0, 4}));
  EXPECT_TRUE(f.read<float>("empty").empty());
  EXPECT_TRUE(f.has("group/inner"));
  EXPECT_FALSE(f.has("group/other"));
}

TEST(H5, RowsComeFromTheMiddleOfCompressedChunks) {
  const H5File f(made("mixed.hdf5"));
  const auto rows = f.read_rows<std::int16_t>("chunked", 13, 20);
  for (std::size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(rows[i], 130 + static_cast<int>(i));
  ME2_EXPECT_ERROR(f.read_rows<float>("chunked", 50, 11), Exit::data, "chunked", "50..61", "60");
}

TEST(H5, WhatPointsElsewhereIsRefused) {
  const H5File f(made("mixed.hdf5"));
  ME2_EXPECT_ERROR(f.shape("external"), Exit::data, "external");
  ME2_EXPECT_ERROR(f.shape("virtual"), Exit::data, "virtual", "other files");
  ME2_EXPECT_ERROR(f.shape("loop"), Exit::data, "loop");
  ME2_EXPECT_ERROR(f.shape("text"), Exit::data, "text", "neither number nor boolean");
  ME2_EXPECT_ERROR(f.shape("nothing"), Exit::data, "nothing", "chunked");
}

TEST(H5, BrokenFilesEndInOneLine) {
  test::TempDir tmp;
  const std::string file = read_file(made("mixed.hdf5"));
  for (std::size_t n = 0; n < file.size(); n += 997) {
    test::write_text(tmp / "cut.hdf5", file.substr(0, n));
    ME2_EXPECT_ERROR(H5File(tmp / "cut.hdf5").read<float>("f4"), Exit::data, "cut.hdf5");
  }
  ME2_EXPECT_ERROR(H5File(tmp / "none.hdf5"), Exit::no_input, "none.hdf5");
}

// ---- tar ----

std::string header(const std::string& name, std::size_t size, char type = '0') {
  std::string h(512, '\0');
  std::copy(name.begin(), name.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(name.size(), 100)), h.begin());
  const std::string octal = fmt::format("{:011o}", size);
  std::copy(octal.begin(), octal.end(), h.begin() + 124);
  h[156] = type;
  std::copy_n("ustar\0" "00", 8, h.begin() + 257);
  return h;
}
std::string sealed(std::string h) {
  std::fill_n(h.begin() + 148, 8, ' ');
  unsigned sum = 0;
  for (const char c : h) sum += static_cast<unsigned char>(c);
  const std::string octal = fmt::format("{:06o}", sum);
  std::copy(octal.begin(), octal.end(), h.begin() + 148);
  h[154] = '\0';
  return h;
}
std::string member(const std::string& name, const std::string& content, char type = '0') {
  std::string out = sealed(header(name, content.size(), type)) + content;
  out.resize((out.size() + 511) / 512 * 512, '\0');
  return out;
}
const std::string kEnd(1024, '\0');

std::vector<std::string> names_of(const std::string& tar, TarLimits limits = {}) {
  std::istringstream in(tar);
  TarReader reader(in, "a.tar", limits);
  TarMember m;
  std::vector<std::string> out;
  while (reader.next(m)) out.push_back(m.name + "=" + std::string(reinterpret_cast<const char*>(m.bytes.data()), m.bytes.size()));
  return out;
}

TEST(Tar, MembersLongNamesAndPax) {
  const std::string longest(150, 'n');
  EXPECT_EQ(names_of(member("d/", "", '5') + member("a", "1") + member("././@LongLink", longest, 'L') + member("cut", "2") +
                     member("pax", "12 path=b/c\n", 'x') + member("short", "3") + kEnd),
            (std::vector<std::string>{"a=1", longest + "=2", "b/c=3"}));
}

TEST(Tar, APaxSizeCountsForMoreThanTheHeaders) {  // which holds at most 8 GiB
  std::string large = sealed(header("large", 0)) + "xyz";
  large.resize(1024, '\0');
  EXPECT_EQ(names_of(member("pax", "10 size=3\n", 'x') + large + member("next", "4") + kEnd), (std::vector<std::string>{"large=xyz", "next=4"}));
}

TEST(Tar, HostileArchivesAreRefused) {
  ME2_EXPECT_ERROR(names_of(member("../x", "1") + kEnd), Exit::data, "a.tar", "..");
  ME2_EXPECT_ERROR(names_of(member("/x", "1") + kEnd), Exit::data, "absolute");
  ME2_EXPECT_ERROR(names_of(member("x", "", '2') + kEnd), Exit::data, "x", "link");
  ME2_EXPECT_ERROR(names_of(member("x", "", '1') + kEnd), Exit::data, "link");
  ME2_EXPECT_ERROR(names_of(member("x", "", '3') + kEnd), Exit::data, "device");
  ME2_EXPECT_ERROR(names_of(member("x", "", 'S') + kEnd), Exit::data, "sparse");
  ME2_EXPECT_ERROR(names_of(member("\xff\xfe", "1") + kEnd), Exit::data, "UTF-8");
  ME2_EXPECT_ERROR(names_of(member("pax", "999 path=b\n", 'x') + kEnd), Exit::data, "pax");
  ME2_EXPECT_ERROR(names_of(member("pax", "16 path=../../x\n", 'x') + member("x", "") + kEnd), Exit::data, "..");
  ME2_EXPECT_ERROR(names_of(sealed(header("x", 0777777777)) + kEnd), Exit::data, "x", "limit");  // 128 MiB announced
  std::string negative = header("x", 0);
  negative.replace(124, 12, std::string(12, '\xff'));
  ME2_EXPECT_ERROR(names_of(sealed(negative) + kEnd), Exit::data, "size");
  ME2_EXPECT_ERROR(names_of(member("a", "") + member("b", "") + member("c", "") + kEnd, {1 << 20, 2}), Exit::data, "more than 2 members");
  ME2_EXPECT_ERROR(names_of(std::string(2048, 'x')), Exit::data, "checksum");
}

TEST(Tar, EveryTruncationIsSeen) {
  const std::string whole = member("a.x", std::string(700, 'q')) + member("b.y", "2");
  for (std::size_t n = 0; n <= whole.size(); n += 13) ME2_EXPECT_ERROR(names_of(whole.substr(0, n)), Exit::data, "a.tar", "truncated");
}

TEST(Tar, SamplesShareTheNameUpToTheFirstDot) {
  test::TempDir tmp;
  test::write_text(tmp / "w.tar", member("s1.a.npy", "1") + member("s1.b.npy", "2") + member("d.x/s2.a", "3") + kEnd);
  WebdatasetReader r(tmp / "w.tar");
  WebSample s;
  ASSERT_TRUE(r.next(s));
  EXPECT_EQ(s.key, "s1");
  EXPECT_EQ(s.fields.size(), 2u);
  EXPECT_NE(s.find("b.npy"), nullptr);
  ASSERT_TRUE(r.next(s));
  EXPECT_EQ(s.key, "d.x/s2");
  EXPECT_FALSE(r.next(s));
  test::write_text(tmp / "t.tar", member("s1.a", "1") + member("s1.a", "2") + kEnd);
  WebdatasetReader twice(tmp / "t.tar");
  ME2_EXPECT_ERROR(twice.next(s), Exit::data, "s1.a", "twice");
}

// ---- NIfTI ----

using Nifti = test::MadeNifti;

std::vector<std::int16_t> counting(int n) {
  std::vector<std::int16_t> v(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) v[static_cast<std::size_t>(i)] = static_cast<std::int16_t>(i);
  return v;
}

TEST(NiftiReader, VoxelsComeZFastestInBothByteOrdersAndScaled) {
  for (const bool swapped : {false, true}) {
    Nifti n({2, 3, 4, 2}, 4, 16, swapped);
    n.put<float>(112, 0.5f).put<float>(116, 10).data(counting(48));
    auto f = n.open();
    EXPECT_EQ(f.header().shape, (Shape{2, 3, 4, 2}));
    EXPECT_DOUBLE_EQ(f.header().time_step, 5);
    ASSERT_TRUE(f.next());
    ASSERT_TRUE(f.next());
    const auto v = f.values();
    for (int x = 0; x < 2; ++x)
      for (int y = 0; y < 3; ++y)
        for (int z = 0; z < 4; ++z) EXPECT_EQ(v[static_cast<std::size_t>((x * 3 + y) * 4 + z)], (24 + x + 2 * (y + 3 * z)) * 0.5 + 10);
    EXPECT_FALSE(f.next());
    f.rewind();
    EXPECT_TRUE(f.next());
  }
}

TEST(NiftiReader, NoScalingWhereTheSlopeSaysNothing) {
  for (const float slope : {0.0f, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    auto f = Nifti({2, 1, 1}).put<float>(112, slope).put<float>(116, 7).data(counting(2)).open();
    f.next();
    EXPECT_EQ(f.values(), (std::vector<double>{0, 1}));
  }
}

TEST(NiftiReader, ContradictoryHeadersAreRefused) {
  ME2_EXPECT_ERROR(Nifti({2, 2, 2}).put<std::int32_t>(0, 347).open(), Exit::data, "v.nii", "sizeof_hdr");
  ME2_EXPECT_ERROR(Nifti({2, 2, 2}).put<std::int16_t>(40, 0).open(), Exit::data, "dim[0]");
  ME2_EXPECT_ERROR(Nifti({2, 2, 2}).put<std::int16_t>(40, 8).open(), Exit::data, "dim[0]");
  ME2_EXPECT_ERROR(Nifti({2, 2, 2}).put<std::int16_t>(40, -1).open(), Exit::data, "dim[0]");
  ME2_EXPECT_ERROR(Nifti({2, -2, 2}).open(), Exit::data, "dim[2]", "-2");
  ME2_EXPECT_ERROR(Nifti({32767, 32767, 32767}).open(), Exit::data, "2 GiB");
  ME2_EXPECT_ERROR(Nifti({32767, 32767, 32767, 32767, 32767, 32767, 32767}).open(), Exit::data, "larger than any memory");
  ME2_EXPECT_ERROR(Nifti({2, 2, 2}, 4, 8).open(), Exit::data, "bitpix is 8, 16 expected");
  ME2_EXPECT_ERROR(Nifti({2, 2, 2}, 32, 64).open(), Exit::data, "datatype 32");
  ME2_EXPECT_ERROR(Nifti({2, 2, 2}).put<float>(108, -1).open(), Exit::data, "vox_offset");
  ME2_EXPECT_ERROR(Nifti({2, 2, 2}).put<float>(108, 1e30f).open(), Exit::data, "vox_offset");
  ME2_EXPECT_ERROR(Nifti({2, 2, 2}).put<float>(108, std::numeric_limits<float>::quiet_NaN()).open(), Exit::data, "vox_offset");
  ME2_EXPECT_ERROR(Nifti({2, 2, 2}).put<float>(112, 1).put<float>(116, std::numeric_limits<float>::quiet_NaN()).open(), Exit::data, "scl_inter");
  auto wrong = Nifti({2, 2, 2});
  wrong.b[344] = 'x';
  ME2_EXPECT_ERROR(wrong.open(), Exit::data, "magic");
  auto two_files = Nifti({2, 2, 2});
  std::memcpy(two_files.b.data() + 344, "ni1", 4);
  ME2_EXPECT_ERROR(two_files.open(), Exit::data, "two-file");
  auto short_data = Nifti({2, 2, 2}).data(counting(7)).open();
  ME2_EXPECT_ERROR(short_data.next(), Exit::data, "truncated", "volume 1 of 1", "14 of 16");
}

TEST(NiftiReader, AffinesFollowTheStandard) {
  // The identity quaternion and a 90 degree turn about z; qfac -1 flips z. Values by hand from nifti1.h, method 2.
  auto q = Nifti({2, 2, 2}).put<std::int16_t>(252, 1).put<float>(76, -1).put<float>(264, std::sqrt(0.5f)).put<float>(268, 5);
  const auto a = q.data(counting(8)).open().header().affine;
  const double want[16] = {0, -3, 0, 5, 2, 0, 0, 0, 0, 0, -4, 0, 0, 0, 0, 1};
  for (int i = 0; i < 16; ++i) EXPECT_NEAR(a[static_cast<std::size_t>(i)], want[i], 1e-6) << i;
  auto s = Nifti({2, 2, 2}).put<std::int16_t>(254, 1).put<float>(280, 9).put<float>(324, 3);
  EXPECT_EQ(s.data(counting(8)).open().header().affine[0], 9);
}

TEST(NiftiReader, RealFilesReadAsInNibabel) {
  const std::string dir = test::real_dir("nibabel_nifti");
  if (dir.empty()) GTEST_SKIP() << "nibabel_nifti is not on this machine";
  const Json want = read_json_file(made("nibabel.json"));  // make_nibabel.py: nibabel's get_fdata and affine
  ASSERT_EQ(want.size(), 4u);
  for (const auto& [name, w] : want.items()) {
    std::string path;
    for (const auto& e : std::filesystem::recursive_directory_iterator(dir))
      if (e.path().filename() == name) path = e.path();
    ASSERT_FALSE(path.empty()) << name;
    EXPECT_TRUE(is_nifti(path));
    NiftiFile f(path);
    EXPECT_EQ(f.header().shape, w["shape"].get<Shape>()) << name;
    for (std::size_t i = 0; i < 16; ++i) EXPECT_NEAR(f.header().affine[i], w["affine"][i].get<double>(), 1e-4) << name << i;
    for (const Json& volume : w["volumes"]) {
      ASSERT_TRUE(f.next());
      const auto v = f.values();
      double sum = 0, weighted = 0;
      for (std::size_t i = 0; i < v.size(); ++i) sum += v[i], weighted += v[i] * static_cast<double>(i % 1009);
      EXPECT_NEAR(sum, volume[0].get<double>(), 1e-9 * std::abs(sum) + 1e-6) << name;
      EXPECT_NEAR(weighted, volume[1].get<double>(), 1e-9 * std::abs(weighted) + 1e-6) << name;
    }
  }
}

// ---- MATLAB, npy, tables ----

TEST(Mat, NumericVariables) {
  const auto a = read_mat(made("small.mat"), "order");
  EXPECT_EQ(a.shape, (Shape{2, 3}));
  EXPECT_EQ(a.at(1, 0), 4);
  EXPECT_EQ(read_mat(made("small.mat"), "small").values, std::vector<double>{7});
  ME2_EXPECT_ERROR(read_mat(made("small.mat"), "none"), Exit::data, "none", "order, small, words");
  ME2_EXPECT_ERROR(read_mat(made("small.mat"), "words"), Exit::data, "words", "not a numeric");
  ME2_EXPECT_ERROR(read_mat(made("glm.json"), "x"), Exit::data, "glm.json");
}

TEST(Npy, OrdersVersionsAndByteOrders) {
  const auto f = read_npy(made("fortran.npy"));
  EXPECT_EQ(f.shape, (Shape{2, 3, 4}));
  const auto v = f.as<float>();
  for (std::size_t i = 0; i < v.size(); ++i) EXPECT_EQ(v[i], static_cast<float>(i));
  std::vector<double> row(12);
  NpyFile(made("fortran.npy")).read_rows(1, 1, DType::f8, row.data());
  EXPECT_EQ(row[5], 17);
  EXPECT_EQ(read_npy(made("big.npy")).as<std::int32_t>(), (std::vector<std::int32_t>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(read_npy(made("v3.npy")).as<double>()[0], 1.5);
}

TEST(Npy, RoundTripAndBrokenHeaders) {
  test::TempDir tmp;
  const std::vector<std::int16_t> values{1, -2, 3, 4, 5, 6};
  write_npy(tmp / "a.npy", {2, 3}, DType::i2, values.data());
  EXPECT_EQ(read_npy(tmp / "a.npy").as<std::int16_t>(), values);
  const std::string good = read_file(tmp / "a.npy");
  for (std::size_t n = 0; n < good.size(); ++n) ME2_EXPECT_ERROR(parse_npy(bytes(good.substr(0, n)), "a.npy"), Exit::data, "a.npy");
  ME2_EXPECT_ERROR(parse_npy(bytes(good + "x"), "a.npy"), Exit::data, "over-long");
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string b = good;
    b.replace(b.find(from), from.size(), to);
    return b;
  };
  ME2_EXPECT_ERROR(parse_npy(bytes(with("<i2", "|O8")), "a.npy"), Exit::data, "pickle");
  ME2_EXPECT_ERROR(parse_npy(bytes(with("<i2", "<x2")), "a.npy"), Exit::data, "<x2");
  ME2_EXPECT_ERROR(parse_npy(bytes(with("(2,3,), }          ", "(9999999999999999)")), "a.npy"), Exit::data, "a.npy");
  ME2_EXPECT_ERROR(parse_npy(bytes(with("(2,3,)", "(-2,3)")), "a.npy"), Exit::data, "a.npy");
  ME2_EXPECT_ERROR(parse_npy(bytes(with("fortran_order", "fortran_orden")), "a.npy"), Exit::data, "unexpected key");
}

TEST(TableReader, QuotesEmptyCellsAndLines) {
  const Table t = Table::parse("\xef\xbb\xbf" "a,b,c\r\n1,\"x, \"\"y\"\"\r\nz\",\r\n\r\n2.5e1,n/a,3\n", "t.csv");
  EXPECT_EQ(t.rows(), 2);
  EXPECT_EQ(t.text(0, 1), "x, \"y\"\r\nz");
  EXPECT_TRUE(std::isnan(t.number(0, 2)));
  EXPECT_EQ(t.number(1, 0), 25);
  EXPECT_TRUE(t.empty(1, 1));
  EXPECT_EQ(t.line(1), 5);
  const Table tabs = Table::parse("a\tb\n1,5\t2\n", "t.tsv");
  EXPECT_EQ(tabs.text(0, 0), "1,5");
}

TEST(TableReader, BrokenTablesNameTheLine) {
  ME2_EXPECT_ERROR(Table::parse("a,b\n1,2\n3\n", "t.csv"), Exit::data, "line 3", "1 cells found, 2 expected");
  ME2_EXPECT_ERROR(Table::parse("a,b\n\"1,2\n", "t.csv"), Exit::data, "line 2", "no end");
  ME2_EXPECT_ERROR(Table::parse("a,a\n", "t.csv"), Exit::data, "'a' occurs twice");
  ME2_EXPECT_ERROR(Table::parse("", "t.csv"), Exit::data, "empty table");
  const Table t = Table::parse("a,b\nx,1.5\n", "t.csv");
  ME2_EXPECT_ERROR(t.number(0, 0), Exit::data, "line 2", "'x' is not a number");
  ME2_EXPECT_ERROR(t.integer(0, 1), Exit::data, "not a whole number");
  ME2_EXPECT_ERROR(t.need("c"), Exit::data, "column 'c' is missing", "a, b");
}

}  // namespace
}  // namespace me2::store
