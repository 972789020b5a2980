#include "base/describe.h"

#include <limits>

#include <gtest/gtest.h>

#include "base/error.h"

namespace me2 {
namespace {

struct Options {
  int whole = 3;
  double real = 0.1;
  std::optional<double> maybe;
  std::vector<int> list;
  std::vector<InputPath> paths;
  std::vector<NamedInput> named;
  std::vector<InputPath> words;
  bool flag = false;
  void describe(Describe& d) {
    d.option("--whole", whole, "");
    d.option("--real", real, "");
    d.option("--maybe", maybe, "");
    d.option("--list", list, "");
    d.option("--paths", paths, "");
    d.option("--named", named, "");
    d.option("--flag", flag, "");
    d.positionals("WORDS", words, "");
  }
};

class Described : public testing::Test {
 protected:
  void SetUp() override { options.describe(described); }
  const Item& item(const std::string& name) const {
    for (const auto& i : described.items())
      if (i.name == name) return i;
    throw std::runtime_error(name);
  }
  Options options;
  Describe described;
};

TEST_F(Described, WhatIsSetIsWhatIsRead) {
  item("--real").set({"1e-7"});
  EXPECT_EQ(options.real, 1e-7);
  EXPECT_EQ(item("--real").get(), std::vector<std::string>{"1e-07"});
  EXPECT_TRUE(item("--maybe").get().empty());
  item("--maybe").set({"0"});
  EXPECT_EQ(item("--maybe").get(), std::vector<std::string>{"0"});
}

TEST_F(Described, ListsTakeCommasRepetitionAndRanges) {
  item("--list").set({"1,4", "7:9"});
  EXPECT_EQ(options.list, (std::vector<int>{1, 4, 7, 8, 9}));
}

TEST_F(Described, PathsKeepTheirCommas) {
  item("--paths").set({"a,b", "c"});
  ASSERT_EQ(options.paths.size(), 2u);
  EXPECT_EQ(options.paths[0].path, "a,b");
  EXPECT_EQ(item("--paths").access, Item::Access::input);
}

TEST_F(Described, NamedInputsAreNamesOrNamesWithAPathWhichIsWhatIsChecked) {
  item("--named").set({"mean,other,x=a,b.npy", "y=c=d"});
  EXPECT_EQ(item("--named").get(), (std::vector<std::string>{"mean", "other", "x=a,b.npy", "y=c=d"}));
  EXPECT_EQ(item("--named").paths(), (std::vector<std::string>{"a,b.npy", "c=d"}));
  EXPECT_EQ(item("--named").access, Item::Access::input);
  EXPECT_EQ(item("--paths").paths(), item("--paths").get());
  for (const char* bad : {"", "=a", "x=", "x=-", "a,=b"}) EXPECT_THROW(item("--named").set({bad}), Error) << bad;
}

TEST_F(Described, SeveralWordsMayBeNone) {
  EXPECT_FALSE(item("WORDS").required);
  EXPECT_TRUE(item("WORDS").repeated);
}

TEST_F(Described, BadNumbersAreUsageErrorsThatNameTheOption) {
  for (const char* bad : {"", "x", "1.5", "3 ", "99999999999", "0x10", "--"}) {
    try {
      item("--whole").set({bad});
      ADD_FAILURE() << bad;
    } catch (const Error& e) {
      EXPECT_EQ(e.exit(), Exit::usage);
      EXPECT_NE(std::string(e.what()).find("--whole"), std::string::npos);
    }
  }
  for (const char* bad : {"nan", "inf", "1e999", "1,5", ""}) EXPECT_THROW(item("--real").set({bad}), Error) << bad;
  for (const char* bad : {"5:1", "0:99999999", "1,,2", ":"}) EXPECT_THROW(item("--list").set({bad}), Error) << bad;
}

TEST_F(Described, NumbersPrintSoThatTheyReadBackEqual) {
  for (const double value : {0.1, 1.0 / 3, 1e300, std::numeric_limits<double>::denorm_min(), -0.0}) {
    options.real = value;
    const auto text = item("--real").get();
    item("--real").set(text);
    EXPECT_EQ(options.real, value);
  }
}

}  // namespace
}  // namespace me2
