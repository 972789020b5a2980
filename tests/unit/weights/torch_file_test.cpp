#include "weights/torch_file.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "support/golden.h"
#include "support/temp_dir.h"

namespace me2::weights {
namespace {

const Value* walk(const Value& root, const std::string& path) {  // "extra_misc/int_keys/8", "param_groups/0/lr"
  static thread_local Value kept;
  kept = root;
  std::istringstream parts(path);
  for (std::string part; std::getline(parts, part, '/');) {
    if (kept.is(Value::Kind::dict)) {
      const Value* found = kept.find(part);
      for (const auto& [key, item] : kept.items())
        if (!found && key.is(Value::Kind::integer) && std::to_string(key.integer()) == part) found = &item;
      if (!found) return nullptr;
      kept = Value(*found);
    } else {
      kept = Value(kept.elements().at(std::stoul(part)));
    }
  }
  return &kept;
}

void expect_value(const Value& got, const Json& want, const std::string& at) {
  SCOPED_TRACE(at);
  using Kind = Value::Kind;
  if (want.is_null()) EXPECT_TRUE(got.is(Kind::none));
  else if (want.is_boolean()) EXPECT_EQ(got.boolean(), want.get<bool>());
  else if (want.is_number_integer()) EXPECT_EQ(got.integer(), want.get<std::int64_t>());
  else if (want.is_number()) EXPECT_EQ(got.real(), want.get<double>());
  else if (want.is_string()) EXPECT_EQ(got.text(), want.get<std::string>());
  else if (want.is_array()) {
    ASSERT_EQ(got.elements().size(), want.size());
    for (std::size_t i = 0; i < want.size(); ++i) expect_value(got.elements()[i], want[i], at + "/" + std::to_string(i));
  } else if (const std::string type = want.at("type"); type == "dict") {
    ASSERT_EQ(got.items().size(), want["keys"].size());
    for (std::size_t i = 0; i < want["keys"].size(); ++i) expect_value(got.items()[i].first, want["keys"][i], at + " key");
  } else if (type == "list") {
    EXPECT_EQ(got.elements().size(), want["length"].get<std::size_t>());
  } else if (type == "big_int") {
    EXPECT_TRUE(got.is(Kind::big_integer));
    EXPECT_EQ(got.text(), want["decimal"].get<std::string>());
  } else if (type == "bytes") {
    std::string hex;
    for (const unsigned char c : got.text()) hex += fmt::format("{:02x}", c);
    EXPECT_EQ(hex, want["hex"].get<std::string>());
  } else if (type == "numpy_scalar") {
    EXPECT_EQ(got.array_dtype(), want["dtype"].get<std::string>());
    EXPECT_EQ(got.real(), want["value"].get<double>());
  } else if (type == "ndarray_unicode") {
    EXPECT_EQ(got.shape(), want["shape"].get<std::vector<std::int64_t>>());
    EXPECT_EQ(got.texts(), want["values"].get<std::vector<std::string>>());
    EXPECT_EQ(got.array_dtype(), want["dtype"].get<std::string>());
  } else {
    ADD_FAILURE() << "expected.json has type " << type;
  }
}

TEST(TorchFile, EveryValueOfTheGoldenFilesIsRead) {
  const test::Golden golden("checkpoint_zip");
  const Json expected = read_json_file(golden.dir + "/expected.json");
  int values = 0;
  for (const auto& [file, paths] : expected.items()) {
    const Value root = read_torch_file(golden.dir + "/" + file).root;
    for (const auto& [path, want] : paths.items()) {
      const Value* got = walk(root, path);
      ASSERT_NE(got, nullptr) << file << " " << path;
      expect_value(Value(*got), want, file + ":" + path);
      ++values;
    }
  }
  EXPECT_GT(values, 20);
}

TEST(TorchFile, EveryTensorOfTheGoldenFilesHasItsBits) {
  const test::Golden golden("checkpoint_zip");
  std::map<std::string, Value> roots;
  for (const auto& name : golden.io.names()) {
    const auto colon = name.find(':');
    std::string file = name.substr(4, colon - 4);
    for (const std::string& alias : file == "last.pth" ? std::vector<std::string>{"last.pth", "zip64.pth"} : std::vector<std::string>{file}) {
      if (!roots.contains(alias)) roots[alias] = read_torch_file(golden.dir + "/" + alias).root;
      const Value* got = walk(roots[alias], name.substr(colon + 1));
      if (!got && alias == "zip64.pth") continue;
      ASSERT_NE(got, nullptr) << name;
      const at::Tensor want = golden.io.get(name), tensor = got->tensor();
      EXPECT_EQ(tensor.scalar_type(), want.scalar_type()) << name;
      EXPECT_TRUE(at::equal(tensor, want)) << alias << " " << name;
    }
  }
}

TEST(TorchFile, HostileAndBrokenFilesAreRefusedAndNothingRuns) {
  const test::Golden golden("checkpoint_zip");
  for (const auto& file : golden.config["must_reject"]) {
    const std::string name = file.get<std::string>();
    try {
      read_torch_file(golden.dir + "/" + name);
      ADD_FAILURE() << name << " was read";
    } catch (const Error& e) {
      EXPECT_EQ(e.exit(), Exit::data) << name;
      EXPECT_THAT(e.what(), testing::HasSubstr(name));
    }
  }
  EXPECT_FALSE(std::filesystem::exists("pwned"));
  EXPECT_FALSE(std::filesystem::exists(golden.dir + "/pwned"));
}

TEST(TorchFile, AStateDictIsTheModelInsideTheCheckpointAndSaysWhatItLeftOut) {
  const test::Golden golden("checkpoint_zip");
  const StateDict dict = StateDict::open(golden.dir + "/last.pth");
  EXPECT_TRUE(dict.has("ridge.linears.0.weight"));
  EXPECT_FALSE(dict.has("epoch"));
  EXPECT_THAT(dict.notes(), testing::Contains("left out beside the weights: optimizer_state_dict"));
  EXPECT_TRUE(StateDict::open(golden.dir + "/legacy.pth").has("ridge.linears.0.bias"));
  EXPECT_THROW(StateDict::open(golden.dir + "/bare_tensor.pt"), Error);
}

TEST(TorchFile, WhatWeSaveWeRead) {
  const test::TempDir dir;
  std::map<std::string, at::Tensor> tensors{{"a", at::rand({3, 4}).t()}, {"b", at::arange(5)}, {"h", at::rand({2}).to(at::kHalf)},
                                            {"s", at::scalar_tensor(1.5)}, {"e", at::empty({0, 2})}};
  save_torch_zip(dir / "m.pth", tensors, {{"epoch", std::int64_t{7}}, {"loss", 0.25}, {"name", std::string("é")}, {"big", std::int64_t{1} << 40}});
  const Value root = read_torch_file(dir / "m.pth").root;
  EXPECT_EQ(root.at("epoch").integer(), 7);
  EXPECT_EQ(root.at("loss").real(), 0.25);
  EXPECT_EQ(root.at("name").text(), "é");
  EXPECT_EQ(root.at("big").integer(), std::int64_t{1} << 40);
  const StateDict dict = StateDict::open(dir / "m.pth");
  for (const auto& [name, tensor] : tensors) EXPECT_TRUE(at::equal(dict.get(name), tensor)) << name;
}

TEST(TorchFile, CutAtAnyByteItIsRefusedOrWhole) {
  const test::TempDir dir;
  save_torch_zip(dir / "m.pth", {{"a", at::rand({3})}});
  const std::string whole = read_file(dir / "m.pth");
  for (std::size_t n = 0; n < whole.size(); ++n) {
    const auto path = dir.write("cut.pth", whole.substr(0, n));
    EXPECT_THROW(read_torch_file(path), Error) << n;
  }
}

class Zero : public testing::TestWithParam<const char*> {};
TEST_P(Zero, RanksArePutTogether) {
  const std::string twins = std::string(ME2_SOURCE_DIR) + "/tests/golden/twins/zero/";
  const StateDict want = StateDict::open(twins + "expected.safetensors"), got = StateDict::open(twins + GetParam());
  EXPECT_EQ(got.names(), want.names());
  for (const auto& name : want.names()) {
    EXPECT_EQ(got.dtype(name), want.dtype(name)) << name;
    EXPECT_EQ(got.shape(name), want.shape(name)) << name;
    EXPECT_TRUE(at::equal(got.get(name), want.get(name))) << name;
  }
}
INSTANTIATE_TEST_SUITE_P(Stages, Zero, testing::Values("stage2", "stage2/global_step7", "stage3"));

TEST(ZeroDir, AMissingRankIsNamed) {
  const test::TempDir dir;
  std::filesystem::copy(std::string(ME2_SOURCE_DIR) + "/tests/golden/twins/zero/stage2/global_step7", dir / "m");
  std::filesystem::remove(dir / "m/zero_pp_rank_1_mp_rank_00_optim_states.pt");
  try {
    StateDict::open(dir / "m");
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr("2 ranks wrote this checkpoint, 1 files"));
  }
}

}  // namespace
}  // namespace me2::weights
