// What we write is what we read, over random shapes, chunks, shards, dtypes and codecs; and what must be refused.
#include "store/zarr.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "store/convert.h"
#include "store/digest.h"
#include "store/gather.h"
#include "support/temp_dir.h"

namespace me2::store {
namespace {
namespace fs = std::filesystem;

constexpr DType kNumeric[] = {DType::b1, DType::i1, DType::i2, DType::i4, DType::i8, DType::u1, DType::u2, DType::u4, DType::u8, DType::f2, DType::f4, DType::f8};
constexpr Codec kCodecs[] = {Codec::raw, Codec::zstd, Codec::gzip, Codec::blosc_lz4, Codec::blosc_zstd};

std::string failure(const std::function<void()>& f, Exit expected = Exit::data) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.exit(), expected) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

TEST(Zarr, RandomArraysComeBackBitForBit) {
  std::mt19937 random(1);
  const auto draw = [&](std::int64_t low, std::int64_t high) { return low + static_cast<std::int64_t>(random() % static_cast<std::uint32_t>(high - low + 1)); };
  const test::TempDir dir;
  for (const int format : {2, 3}) {
    Group group = Group::create(dir / fmt::format("v{}.zarr", format), format);
    for (int round = 0; round < 100; ++round) {
      ArraySpec spec;
      spec.dtype = kNumeric[random() % std::size(kNumeric)];
      spec.codec = kCodecs[random() % std::size(kCodecs)];
      spec.crc32c = random() % 3 == 0;
      const std::size_t axes = random() % 4;
      const bool sharded = random() % 2;
      for (std::size_t k = 0; k < axes; ++k) {
        spec.shape.push_back(random() % 12 == 0 ? 0 : draw(1, 13));
        spec.chunks.push_back(draw(1, 5));
        if (sharded) spec.shards.push_back(spec.chunks.back() * draw(1, 3));
      }
      spec.fill = spec.dtype == DType::b1 ? 1 : 7;
      const std::string name = fmt::format("a{}", round);
      SCOPED_TRACE(fmt::format("v{} {} {} [{}] chunks [{}] shards [{}] codec {}", format, name, dtype_name(spec.dtype), fmt::join(spec.shape, ","),
                               fmt::join(spec.chunks, ","), fmt::join(spec.shards, ","), static_cast<int>(spec.codec)));
      Array array = group.create_array(name, spec);
      const std::size_t item = item_size(spec.dtype);
      std::string model(static_cast<std::size_t>(array.size()) * item, '\0');  // what the array should hold
      const double fill = spec.fill;
      for (std::size_t i = 0; i < model.size() / item; ++i) convert_elements(DType::f8, &fill, spec.dtype, model.data() + i * item, 1);
      for (int write = 0; write < 3; ++write) {  // boxes that cut chunks and shards, then read back boxes
        Box box{Shape(axes), Shape(axes)};
        std::int64_t n = 1;
        for (std::size_t k = 0; k < axes; ++k) {
          box.start[k] = draw(0, spec.shape[k]);
          box.count[k] = draw(0, spec.shape[k] - box.start[k]);
          if (write == 1) box.start[k] = 0, box.count[k] = spec.shape[k];
          n *= box.count[k];
        }
        std::string values(static_cast<std::size_t>(n) * item, '\0');
        for (char& c : values) c = static_cast<char>(spec.dtype == DType::b1 ? random() % 2 : random());
        array.write_bytes(box, spec.dtype, values.data());
        for (std::int64_t i = 0; i < n; ++i) {
          std::int64_t rest = i, at = 0, stride = 1;
          for (std::size_t k = axes; k-- > 0; rest /= box.count[k]) at += (box.start[k] + rest % box.count[k]) * stride, stride *= spec.shape[k];
          model.replace(static_cast<std::size_t>(at) * item, item, values, static_cast<std::size_t>(i) * item, item);
        }
        std::string back(model.size(), '\x55');
        group.array(name).read_bytes({Shape(axes, 0), spec.shape}, spec.dtype, back.data());
        ASSERT_TRUE(back == model);
        std::string part(values.size(), '\x55');
        array.read_bytes(box, spec.dtype, part.data());
        ASSERT_TRUE(part == values);
      }
    }
  }
}

TEST(Zarr, GatheredRowsAreTheRows) {
  const test::TempDir dir;
  Group group = Group::create(dir / "a.zarr");
  std::mt19937 random(5);
  std::vector<float> values(150 * 3 * 500);
  for (float& v : values) v = static_cast<float>(random() % 1000);
  int n = 0;
  for (const Codec codec : {Codec::raw, Codec::zstd})
    for (const Shape& shards : {Shape{}, Shape{20, 3, 500}})
      for (const Shape& chunks : {Shape{1, 3, 500}, Shape{4, 3, 250}}) {
        Array array = group.create_array(fmt::format("x{}", n++), {.shape = {150, 3, 500}, .chunks = chunks, .shards = shards, .codec = codec});
        array.write(values.data());
        for (const std::size_t count : {0, 1, 7, 400}) {  // 400 rows are worth several threads
          std::vector<std::int64_t> rows;
          while (rows.size() < count) rows.push_back(rows.size() % 5 == 4 && rows.back() < 149 ? rows.back() + 1 : static_cast<std::int64_t>(random() % 150));
          for (const int threads : {1, 3}) {
            set_store_threads(threads);
            std::vector<double> got(count * 1500, -1);
            gather_rows(array, rows, got.data());
            for (std::size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], values[rows[i / 1500] * 1500 + i % 1500]);
          }
        }
        std::vector<float> out(400 * 1500);
        std::vector<std::int64_t> rows(400, 3);
        rows[77] = 150;
        EXPECT_THAT(failure([&] { gather_rows(array, rows, out.data()); }), testing::AllOf(testing::HasSubstr(array.path()), testing::HasSubstr("150")));
        if (shards.empty() && chunks[0] == 1) {
          dir.write("a.zarr" + array.path().substr((dir / "a.zarr").size()) + "/c/140/0/0", "short");
          rows[77] = 140;
          EXPECT_THAT(failure([&] { gather_rows(array, rows, out.data()); }), testing::AllOf(testing::HasSubstr(array.path()), testing::HasSubstr("140/0/0")));
        }
      }
  set_store_threads(0);
}

TEST(Zarr, ARowThatIsNotFiniteIsNamed) {
  const test::TempDir dir;
  Group group = Group::create(dir / "a.zarr");
  std::vector<float> values(6 * 10, 1.5f);
  values[47] = std::numeric_limits<float>::quiet_NaN();
  Array array = group.create_array("x", {.shape = {6, 5, 2}});
  array.write(values.data());
  std::vector<float> out(20);
  gather_finite_rows(array, std::vector<std::int64_t>{5, 0}, out.data());
  EXPECT_EQ(out[19], 1.5f);
  gather_finite_rows(array, {}, out.data());
  EXPECT_THAT(failure([&] { gather_finite_rows(array, std::vector<std::int64_t>{3, 4}, out.data()); }), testing::HasSubstr("a.zarr/x: row 4 has values that are not finite"));
}

TEST(Zarr, TheBytesDependOnNeitherThreadsNorTime) {
  const test::TempDir dir;
  std::vector<float> values(64 * 40 * 100);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 977) / 7;
  std::set<std::string> digests;
  for (const int threads : {1, 2, 4, 8}) {
    set_store_threads(threads);
    const std::string path = dir / fmt::format("{}.zarr", threads);
    Group group = Group::create(path);
    for (const Codec codec : kCodecs)
      group.create_array(fmt::format("a{}", static_cast<int>(codec)), {.shape = {64, 40, 100}, .chunks = {2, 40, 100}, .shards = {32, 40, 100}, .codec = codec}).write(values.data());
    group.consolidate();
    digests.insert(sha256_path(path));
    EXPECT_EQ(group.array("a1").read<float>(), values);
  }
  set_store_threads(0);
  EXPECT_EQ(digests.size(), 1u);
}

TEST(Zarr, StringsOfAnyKindComeBack) {
  const test::TempDir dir;
  const std::vector<std::string> values{"", "a", "größe", "三匹の猫", std::string(3000, 'x'), "🐈"};
  for (const int format : {2, 3}) {
    Group group = Group::create(dir / fmt::format("{}.zarr", format), format);
    Array array = group.create_array("s", {.shape = {6}, .dtype = DType::str, .chunks = {4}});
    EXPECT_EQ(array.read_strings(), std::vector<std::string>(6));
    array.write_strings(values);
    EXPECT_EQ(group.array("s").read_strings(), values);
    array.write_strings({{3}, {2}}, std::vector<std::string>{"new", "words"});
    EXPECT_EQ(group.array("s").read_strings({{2}, {4}}), (std::vector<std::string>{"größe", "new", "words", "🐈"}));
    EXPECT_THAT(failure([&] { array.write_strings(std::vector<std::string>(6, "\xff")); }), testing::HasSubstr("UTF-8"));
  }
}

TEST(Zarr, NumbersAreConvertedWhenTheyFit) {
  const test::TempDir dir;
  Group group = Group::create(dir / "a.zarr");
  Array half = group.create_array("half", {.shape = {5}, .dtype = DType::f2});
  // IEEE 754: 1 + 2^-11 is a tie to the even 1; 1 + 3 * 2^-11 one to 1 + 2^-9; 65520 is the first that overflows; 2^-25 a tie to 0.
  half.write(std::vector<float>{1 + 0x1p-11f, 1 + 0x3p-11f, 65519, 65520, 0x1p-25f}.data());
  EXPECT_EQ(half.read<float>(), (std::vector<float>{1, 1 + 0x1p-9f, 65504, INFINITY, 0}));
  Array bytes = group.create_array("bytes", {.shape = {2}, .dtype = DType::i1});
  bytes.write(std::vector<std::int64_t>{-128, 127}.data());
  EXPECT_EQ(bytes.read<double>(), (std::vector<double>{-128, 127}));
  EXPECT_THAT(failure([&] { bytes.write(std::vector<std::int64_t>{0, 128}.data()); }), testing::AllOf(testing::HasSubstr("128"), testing::HasSubstr("i1"), testing::HasSubstr("bytes")));
  EXPECT_THAT(failure([&] { bytes.write(std::vector<float>{0, 1.5f}.data()); }), testing::HasSubstr("1.5"));
  EXPECT_THAT(failure([&] { bytes.write(std::vector<float>{0, NAN}.data()); }), testing::HasSubstr("nan"));
  EXPECT_THAT(failure([&] { bytes.read<std::uint8_t>(); }), testing::HasSubstr("-128"));
}

TEST(Zarr, EveryHalfGoesToFloatAndBack) {
  std::vector<std::uint16_t> halves(65536), back(65536);
  for (std::size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<std::uint16_t>(i);
  std::vector<float> floats(65536);
  convert_elements(DType::f2, halves.data(), DType::f4, floats.data(), floats.size());  // by instruction where there is one
  for (std::size_t i = 0; i < halves.size(); ++i) {
    const bool nan = (i & 0x7C00) == 0x7C00 && (i & 0x3FF);
    ASSERT_EQ(std::isnan(floats[i]), nan);
    ASSERT_EQ(std::isnan(half_to_float(halves[i])), nan);
    if (nan) continue;
    ASSERT_EQ(floats[i], half_to_float(halves[i]));
    ASSERT_EQ(float_to_half(floats[i]), halves[i]) << i;
  }
  std::mt19937 random(3);
  std::vector<float> any(1 << 16);
  for (float& v : any) {
    const std::uint32_t bits = static_cast<std::uint32_t>(random()) & 0xFFFFFFFF;
    std::memcpy(&v, &bits, 4);
    if (std::isnan(v)) v = 0;
    int exponent;
    if (random() % 2) v = std::ldexp(std::frexp(v, &exponent), static_cast<int>(random() % 48) - 28);
  }
  convert_elements(DType::f4, any.data(), DType::f2, back.data(), any.size());
  for (std::size_t i = 0; i < any.size(); ++i) ASSERT_EQ(back[i], float_to_half(any[i])) << any[i];
}

TEST(Zarr, NamesThatLeaveTheStoreAreRefused) {
  const test::TempDir dir;
  Group group = Group::create(dir / "a.zarr");
  Group::create(dir / "b.zarr").create_array("x", {.shape = {1}});
  for (const std::string name : {"", ".", "..", "../b.zarr/x", "a/../../b.zarr/x", "/etc", "a//b", "a/", "...", "__x", "zarr.json", "a/zarr.json", "a\\b"}) {
    failure([&] { group.array(name); });
    failure([&] { group.create_array(name, {.shape = {1}}); });
    failure([&] { (void)group.has_array(name); });
  }
}

TEST(Zarr, LinksThatLeaveTheStoreAreRefused) {
  const test::TempDir dir;
  Group::create(dir / "b.zarr").create_array("x", {.shape = {2}, .codec = Codec::raw}).write(std::vector<float>{1, 2}.data());
  Group group = Group::create(dir / "a.zarr");
  fs::create_directory_symlink(dir / "b.zarr/x", dir / "a.zarr/x");
  EXPECT_THAT(failure([&] { group.array("x"); }), testing::HasSubstr("link"));
  Array y = group.create_array("y", {.shape = {2}, .codec = Codec::raw});
  fs::create_directories(dir / "a.zarr/y/c");
  fs::create_symlink(dir / "b.zarr/x/c/0", dir / "a.zarr/y/c/0");
  EXPECT_THAT(failure([&] { y.read<float>(); }), testing::HasSubstr("link"));
  Array inside = group.create_array("inside", {.shape = {2}, .codec = Codec::raw});
  inside.write(std::vector<float>{3, 4}.data());
  fs::create_directory_symlink("inside", dir / "a.zarr/linked");
  EXPECT_EQ(group.array("linked").read<float>(), (std::vector<float>{3, 4})) << "a link within the store is followed";
}

TEST(Zarr, WhatIsNoFileIsRefusedAndDoesNotHang) {
  const test::TempDir dir;
  Group group = Group::create(dir / "a.zarr");
  Array x = group.create_array("x", {.shape = {2}, .codec = Codec::raw});
  fs::create_directories(dir / "a.zarr/x/c");
  ASSERT_EQ(::mkfifo((dir / "a.zarr/x/c/0").c_str(), 0600), 0);
  EXPECT_THAT(failure([&] { x.read<float>(); }), testing::HasSubstr("regular file"));
  fs::remove(dir / "a.zarr/x/zarr.json");
  ASSERT_EQ(::mkfifo((dir / "a.zarr/x/zarr.json").c_str(), 0600), 0);
  EXPECT_THAT(failure([&] { group.array("x"); }), testing::HasSubstr("regular file"));
  fs::remove(dir / "a.zarr/x/zarr.json");
  fs::create_directory(dir / "a.zarr/x/zarr.json");
  EXPECT_THAT(failure([&] { group.array("x"); }), testing::HasSubstr("regular file"));
}

TEST(Zarr, DotFilesAreIgnored) {  // Snakemake puts .snakemake_timestamp into its outputs
  const test::TempDir dir;
  Group group = Group::create(dir / "a.zarr");
  group.create_array("x", {.shape = {2}});
  dir.write("a.zarr/.snakemake_timestamp", "");
  dir.write("a.zarr/.hidden/zarr.json", "{");
  EXPECT_EQ(Group::open(dir / "a.zarr").array_names(), (std::vector<std::string>{"x"}));
  EXPECT_TRUE(group.group_names().empty());
}

TEST(Zarr, HostileMetadataIsRefused) {
  const test::TempDir dir;
  const std::string good = [&] {
    Group::create(dir / "good.zarr").create_array("x", {.shape = {4}, .chunks = {2}});
    return read_file(dir / "good.zarr/x/zarr.json");
  }();
  const auto with = [&](const std::string& from, const std::string& to) {
    Json json = Json::parse(good);
    json[Json::json_pointer(from)] = Json::parse(to);
    return json.dump();
  };
  const std::vector<std::pair<std::string, std::string>> cases{
      {"\xEF\xBB\xBF" + good, "byte-order"},
      {std::string(100000, '['), "nested"},
      {R"({"zarr_format": 3, "zarr_format": 3})", "twice"},
      {with("/shape", "[9223372036854775808]"), "shape"},
      {with("/shape", "[1.5]"), "shape"},
      {with("/shape", "[\"3\"]"), "shape"},
      {with("/shape", "[4611686018427387904]"), "shape"},
      {with("/chunk_grid/configuration/chunk_shape", "[0]"), "chunk_shape"},
      {with("/chunk_grid/configuration/chunk_shape", "[9000000000000]"), "chunk_shape"},
      {with("/storage_transformers", "[{\"name\": \"x\"}]"), "storage_transformers"},
      {with("/attributes", "[]"), "attributes"},
      {with("/dimension_names", "[\"a\", \"b\"]"), "dimension_names"},
      {with("/fill_value", "null"), "fill_value"}};
  for (const auto& [text, reason] : cases) {
    dir.write("bad.zarr/zarr.json", R"({"zarr_format": 3, "node_type": "group"})");
    dir.write("bad.zarr/x/zarr.json", text);
    EXPECT_THAT(failure([&] { Group::open(dir / "bad.zarr").array("x"); }), testing::AllOf(testing::HasSubstr("bad.zarr/x"), testing::HasSubstr(reason)));
  }
}

TEST(Zarr, AHugeSparseArrayCostsNothingUntilItIsAskedFor) {
  const test::TempDir dir;
  Group group = Group::create(dir / "a.zarr");
  const Array array = group.create_array("x", {.shape = {std::int64_t{1} << 50}, .chunks = {1024}, .fill = 3});
  EXPECT_EQ(array.read_rows<float>(std::int64_t{1} << 49, 2), (std::vector<float>{3, 3}));
  EXPECT_THAT(failure([&] { array.read<float>(); }), testing::HasSubstr("memory"));
}

TEST(Zarr, ABombIsRefusedBeforeMemoryIsTaken) {
  // 64 MiB announced in about 100 bytes: by the metadata, and by the frame itself.
  const test::TempDir dir;
  Group group = Group::create(dir / "a.zarr");
  for (const Codec codec : {Codec::zstd, Codec::gzip, Codec::blosc_lz4}) {
    const std::string name = fmt::format("x{}", static_cast<int>(codec));
    const Array array = group.create_array(name, {.shape = {16 << 20}, .codec = codec});
    dir.write("a.zarr/" + name + "/c/0", std::string(100, '\x28'));
    std::vector<float> one(1);
    EXPECT_THAT(failure([&] { array.read_bytes({{5}, {1}}, DType::f4, one.data()); }), testing::AllOf(testing::HasSubstr(name), testing::HasSubstr("c/0")));
  }
}

TEST(Zarr, FramesThatAnnounceMoreThanTheChunkAreRefusedWithoutMemory) {
  // Chunks of 16 bytes whose content says 64 MiB in about 100 bytes.
  const test::TempDir dir;
  Group group = Group::create(dir / "a.zarr");
  const std::uint32_t size = 64 << 20;
  std::string zstd("\x28\xB5\x2F\xFD\xA0", 5);  // RFC 8878: magic; single segment, content size in 4 bytes
  zstd.append(reinterpret_cast<const char*>(&size), 4);
  for (int i = 0; i < 30; ++i) zstd += std::string("\x02\x00\x10\x00", 4);  // blocks of 128 KiB of one repeated byte
  std::string blosc("\x02\x01\x21\x04", 4);  // blosc 1 header: versions, flags (lz4), item size
  const std::uint32_t block = 1 << 20, encoded = 100;
  for (const std::uint32_t word : {size, block, encoded}) blosc.append(reinterpret_cast<const char*>(&word), 4);
  blosc.resize(100, '\0');
  for (const auto& [codec, bytes] : {std::pair{Codec::zstd, zstd}, std::pair{Codec::blosc_lz4, blosc}}) {
    const std::string name = fmt::format("x{}", static_cast<int>(codec));
    const Array array = group.create_array(name, {.shape = {4}, .codec = codec});
    dir.write("a.zarr/" + name + "/c/0", bytes);
    struct rusage before {}, after {};
    ::getrusage(RUSAGE_SELF, &before);
    EXPECT_THAT(failure([&] { array.read<float>(); }), testing::AllOf(testing::HasSubstr(name), testing::HasSubstr("c/0")));
    ::getrusage(RUSAGE_SELF, &after);
    EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 8 << 10);  // KiB
  }
}

TEST(Zarr, EveryTruncationIsNoticed) {
  const test::TempDir dir;
  std::vector<float> values(60);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i));
  Group group = Group::create(dir / "a.zarr");
  for (const bool sharded : {false, true})
    for (const Codec codec : kCodecs) {
      const std::string name = fmt::format("x{}{}", sharded, static_cast<int>(codec));
      Array array = group.create_array(name, {.shape = {6, 10}, .chunks = {2, 10}, .shards = sharded ? Shape{6, 10} : Shape{}, .codec = codec});
      array.write(values.data());
      const std::string path = dir / ("a.zarr/" + name + "/c/0/0"), whole = read_file(path);
      for (std::size_t n = whole.size(); n-- > 0;) {
        fs::resize_file(path, n);
        const std::string message = failure([&] { group.array(name).read<float>(); });
        ASSERT_THAT(message, testing::AllOf(testing::HasSubstr(name), testing::HasSubstr("c/0/0"))) << n;
      }
      std::ofstream(path, std::ios::binary) << whole << "x";
      failure([&] { group.array(name).read<float>(); });
    }
}

TEST(Zarr, AFullDiskLeavesNoTemporaryAndTheOldData) {
  const test::TempDir dir;
  Group group = Group::create(dir / "a.zarr");
  Array array = group.create_array("x", {.shape = {65536}, .codec = Codec::raw});
  array.write(std::vector<float>(65536, 1).data());
  struct rlimit old {};
  ::getrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small {4096, old.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &small);  // stands in for ENOSPC: the write fails midway with EFBIG
  const std::string message = failure([&] { array.write(std::vector<float>(65536, 2).data()); }, Exit::io);
  ::setrlimit(RLIMIT_FSIZE, &old);
  EXPECT_THAT(message, testing::AllOf(testing::HasSubstr("a.zarr/x/c/0"), testing::HasSubstr("too large")));
  EXPECT_EQ(std::distance(fs::directory_iterator(dir / "a.zarr/x/c"), {}), 1);
  EXPECT_EQ(array.read<float>()[65535], 1);
}

TEST(Zarr, GroupsNestAndConsolidate) {
  const test::TempDir dir;
  for (const int format : {2, 3}) {
    const std::string path = dir / fmt::format("{}.zarr", format);
    const Json attributes{{"title", "t"}};
    Group group = Group::create(path, format, &attributes);
    group.create_array("roi/early/V1", {.shape = {3}, .dtype = DType::b1, .dimension_names = {"voxel"}, .units = "1", .long_name = "mask of V1"});
    group.consolidate();
    group.set_attributes({{"title", "u"}});
    const Group again = Group::open(path);
    EXPECT_EQ(again.attributes()["title"], "u");
    EXPECT_EQ(again.group_names(), (std::vector<std::string>{"roi"}));
    EXPECT_EQ(again.group("roi").group("early").array("V1").dimension_names(), (std::vector<std::string>{"voxel"}));
    const Json root = read_json_file(path + (format == 3 ? "/zarr.json" : "/.zmetadata"));
    const Json& metadata = format == 3 ? root["consolidated_metadata"]["metadata"] : root["metadata"];
    EXPECT_TRUE(metadata.contains(format == 3 ? "roi/early/V1" : "roi/early/V1/.zarray"));
    EXPECT_THAT(failure([&] { Group::open(path).array("roi"); }), testing::HasSubstr("group"));
    EXPECT_THAT(failure([&] { Group::open(path).group("roi").array("x"); }), testing::HasSubstr("no array \"x\""));
    failure([&] { Group::create(path, format); }, Exit::cant_create);
  }
}

}  // namespace
}  // namespace me2::store
