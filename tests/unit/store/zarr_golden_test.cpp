// Every array and every corrupt store of the golden case zarr_interop, written by zarr-python 3.1.6 and numcodecs 0.16.6
// (tests/golden/zarr_interop/config.json); the values are zarr-python's own reading of them.
#include <cstring>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "store/zarr.h"
#include "support/golden_dir.h"

namespace me2::store {
namespace {

// The expectations are a safetensors file: u64 length, JSON header, data.
class Expectations {
 public:
  explicit Expectations(const std::string& path) : content_(read_file(path)) {
    std::uint64_t n;
    std::memcpy(&n, content_.data(), 8);
    header_ = parse_json(std::string_view(content_).substr(8, n), path);
    data_ = 8 + n;
  }
  std::string_view bytes(const std::string& name) const {
    const auto& offsets = header_.at(name)["data_offsets"];
    return std::string_view(content_).substr(data_ + offsets[0].get<std::size_t>(), offsets[1].get<std::size_t>() - offsets[0].get<std::size_t>());
  }

 private:
  std::string content_;
  Json header_;
  std::size_t data_ = 0;
};

Array open_array(const std::string& store, const std::string& path) { return Group::open(store).array(path); }

Box everything(const Array& array) { return {Shape(array.shape().size(), 0), array.shape()}; }

TEST(ZarrGolden, EveryArrayReadsAsZarrPythonReadsIt) {
  ME2_NEEDS_GOLDEN("zarr_interop");
  const std::string dir = test::golden_dir("zarr_interop");
  const Json expected = read_json_file(dir + "/expected.json");
  const Expectations values(dir + "/io.safetensors");
  const std::map<std::string, DType> dtypes{{"bool", DType::b1}, {"int8", DType::i1}, {"int16", DType::i2}, {"int32", DType::i4},
      {"int64", DType::i8}, {"uint8", DType::u1}, {"uint16", DType::u2}, {"uint32", DType::u4}, {"uint64", DType::u8},
      {"float16", DType::f2}, {"float32", DType::f4}, {"float64", DType::f8}, {"string", DType::str}};
  int read = 0;
  for (const Json& entry : expected["arrays"]) {
    const std::string store = entry["store"], path = entry["path"];
    SCOPED_TRACE(store + "/" + path);
    try {
      const Array array = open_array(dir + "/" + store, path);
      EXPECT_EQ(array.shape(), entry["shape"].get<Shape>());
      ASSERT_EQ(array.dtype(), dtypes.at(entry["dtype"]));
      if (entry.contains("strings") && !entry["strings"].is_null()) {
        EXPECT_EQ(array.read_strings(), expected["strings"][entry["strings"].get<std::string>()].get<std::vector<std::string>>());
      } else {
        std::string got(static_cast<std::size_t>(array.size()) * item_size(array.dtype()), '\x55');
        array.read_bytes(everything(array), array.dtype(), got.data());
        EXPECT_TRUE(got == values.bytes(entry["tensor"]));
        // Each element by itself must give the same.
        for (std::int64_t i = 0; i < std::min<std::int64_t>(array.size(), 40); ++i) {
          Box one{array.shape(), Shape(array.shape().size(), 1)};
          std::int64_t rest = i;
          for (std::size_t k = one.start.size(); k-- > 0; rest /= array.shape()[k]) one.start[k] = rest % array.shape()[k];
          std::string element(item_size(array.dtype()), '\x55');
          array.read_bytes(one, array.dtype(), element.data());
          ASSERT_EQ(element, got.substr(static_cast<std::size_t>(i) * element.size(), element.size())) << i;
        }
      }
      ++read;
    } catch (const Error& e) {
      ASSERT_TRUE(entry.value("optional", false) == true) << e.what();
      EXPECT_THAT(e.what(), testing::HasSubstr("not supported"));
    }
  }
  EXPECT_GE(read, static_cast<int>(expected["arrays"].size()) - 4);  // lz4, bz2, delta and fixed_length_utf32 are optional
}

TEST(ZarrGolden, EveryCorruptStoreFailsWithItsReason) {
  ME2_NEEDS_GOLDEN("zarr_interop");
  const std::string dir = test::golden_dir("zarr_interop");
  const Json expected = read_json_file(dir + "/expected.json");
  for (const Json& entry : expected["corrupt"]) {
    const std::string store = entry["store"], name = entry["array"];
    SCOPED_TRACE(store + ": " + entry["problem"].get<std::string>());
    std::string message, stage = "open";
    try {
      const Array array = open_array(dir + "/" + store, name);
      stage = "read";
      std::vector<std::uint8_t> out(static_cast<std::size_t>(array.size()) * 8);
      array.read_bytes(everything(array), array.dtype(), out.data());
    } catch (const Error& e) {
      message = e.what();
      EXPECT_EQ(e.exit(), store.find("does_not_exist") == std::string::npos ? Exit::data : Exit::no_input);
    }
    ASSERT_NE(message, "") << "was read without an error";
    EXPECT_THAT(entry["fails_at"].get<std::string>(), testing::HasSubstr(stage)) << message;
    for (const Json& part : entry["message_must_contain"]) EXPECT_THAT(message, testing::HasSubstr(part.get<std::string>()));
    EXPECT_EQ(message.find('\n'), std::string::npos);
  }
}

TEST(ZarrGolden, GroupsListTheirChildren) {
  ME2_NEEDS_GOLDEN("zarr_interop");
  const std::string dir = test::golden_dir("zarr_interop");
  EXPECT_THAT(Group::open(dir + "/v3").group_names(), testing::IsSupersetOf({"codecs", "dims", "dtypes", "sharding"}));
  EXPECT_EQ(Group::open(dir + "/v3").group("dims").array_names(), (std::vector<std::string>{"named", "partly"}));
  EXPECT_EQ(Group::open(dir + "/v2").zarr_format(), 2);
  EXPECT_EQ(Group::open(dir + "/v3_implicit_group").group("a").array_names(), (std::vector<std::string>{"b"}));
  EXPECT_EQ(Group::open(dir + "/v3_root_array").array_names(), (std::vector<std::string>{""}));
}

}  // namespace
}  // namespace me2::store
