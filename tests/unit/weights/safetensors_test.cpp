#include "weights/model_writer.h"
#include "weights/safetensors.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "support/temp_dir.h"

namespace me2::weights {
namespace {

std::string with_header(const std::string& header, const std::string& body = "") {
  const std::uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + body;
}

std::string refusal(const std::string& content) {
  const test::TempDir dir;
  const auto path = dir.write("x.safetensors", content);
  try {
    read_safetensors(path);
  } catch (const Error& e) {
    EXPECT_EQ(e.exit(), Exit::data);
    return e.what();
  }
  return "";
}

std::string entry(const std::string& name, const std::string& type, const std::string& shape, const std::string& offsets) {
  return "\"" + name + R"(":{"dtype":")" + type + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

TEST(Safetensors, EveryDtypeComesBackAsItWasWritten) {
  const test::TempDir dir;
  std::map<std::string, at::Tensor> tensors;
  for (const auto type : {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16, at::kLong, at::kInt, at::kShort, at::kChar, at::kByte, at::kBool})
    tensors[c10::toString(type)] = at::arange(6).reshape({2, 3}).to(type);
  tensors["empty"] = at::empty({0, 4});
  tensors["scalar"] = at::scalar_tensor(2.5);
  tensors["transposed"] = at::arange(6).reshape({2, 3}).t();
  save_safetensors(dir / "x.safetensors", tensors, {{"format", "pt"}});
  const StateDict dict = StateDict::open(dir / "x.safetensors");
  ASSERT_EQ(dict.names().size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    EXPECT_EQ(dict.dtype(name), tensor.scalar_type());
    EXPECT_TRUE(at::equal(dict.get(name), tensor)) << name;
  }
}

TEST(Safetensors, RefusesEveryBrokenRule) {
  using testing::HasSubstr;
  const std::string four(4, '\0'), eight(8, '\0');
  EXPECT_THAT(refusal(""), HasSubstr("too few"));
  EXPECT_THAT(refusal(std::string(7, '\0')), HasSubstr("too few"));
  EXPECT_THAT(refusal(std::string(8, '\0')), HasSubstr("begin"));
  EXPECT_THAT(refusal(std::string(7, '\0') + "\x80{}"), HasSubstr("announced"));             // 2^63
  EXPECT_THAT(refusal(std::string("\x01\xe1\xf5\x05", 4) + std::string(100, '\0')), HasSubstr("announced"));  // 100,000,001
  EXPECT_THAT(refusal(with_header("[]")), HasSubstr("begin"));
  EXPECT_THAT(refusal(with_header(" {}")), HasSubstr("begin"));
  EXPECT_THAT(refusal(with_header("{ ")), HasSubstr("JSON"));
  EXPECT_THAT(refusal(with_header("{} x")), HasSubstr("JSON"));
  EXPECT_THAT(refusal(with_header("{" + entry("a", "F32", "[1]", "[0,4]"))), HasSubstr("JSON"));
  EXPECT_THAT(refusal(with_header("{" + entry("a", "F32", "[1]", "[0,4]") + "," + entry("a", "F32", "[1]", "[4,8]") + "}", eight)), HasSubstr("twice"));
  EXPECT_THAT(refusal(with_header("{" + entry("a", "F33", "[1]", "[0,4]") + "}", four)), HasSubstr("F33"));
  EXPECT_THAT(refusal(with_header("{" + entry("a", "F32", "[2]", "[0,4]") + "}", four)), HasSubstr("needs 8"));
  EXPECT_THAT(refusal(with_header("{" + entry("a", "F32", "[1]", "[4,0]") + "}", four)), HasSubstr("4 to 0"));
  EXPECT_THAT(refusal(with_header("{" + entry("a", "F32", "[1]", "[4,8]") + "}", four)), HasSubstr("of 4"));
  EXPECT_THAT(refusal(with_header("{" + entry("a", "F32", "[1]", "[4,8]") + "}", eight)), HasSubstr("hole"));
  EXPECT_THAT(refusal(with_header("{" + entry("a", "F32", "[1]", "[0,4]") + "," + entry("b", "F32", "[1]", "[0,4]") + "}", four)), HasSubstr("overlap"));
  EXPECT_THAT(refusal(with_header("{" + entry("a", "F32", "[1]", "[0,4]") + "}", eight)), HasSubstr("after the last"));
  EXPECT_THAT(refusal(with_header("{}", four)), HasSubstr("after the last"));
  EXPECT_THAT(refusal(with_header("{" + entry("a", "F32", "[4294967296,4294967296,4]", "[0,0]") + "}")), HasSubstr("impossible"));
  EXPECT_THAT(refusal(with_header("{" + entry("a", "F32", "[-1]", "[0,4]") + "}", four)), HasSubstr("negative"));
  EXPECT_THAT(refusal(with_header("{" + entry("a", "F32", "[1.5]", "[0,4]") + "}", four)), HasSubstr("fraction"));
  EXPECT_THAT(refusal(with_header(R"({"a":{"dtype":"F32","shape":[1]}})", four)), HasSubstr("expected"));
  EXPECT_THAT(refusal(with_header(R"({"a":[[[[[[1]]]]]]})")), HasSubstr("unexpected"));
  EXPECT_THAT(refusal(with_header(R"({"a":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}})", four)), HasSubstr("unexpected"));
  EXPECT_THAT(refusal(with_header(R"({"__metadata__":{"a":1}})")), HasSubstr("unexpected"));
}

TEST(Safetensors, AcceptsPaddingMetadataAndTensorsWithoutElements) {
  const test::TempDir dir;
  const auto path = dir.write("x.safetensors", with_header("{" + entry("a", "F32", "[0,3]", "[0,0]") + R"(,"__metadata__":{"k":"v"}}   )"));
  EXPECT_EQ(read_safetensors(path).at("a").load().sizes(), (std::vector<std::int64_t>{0, 3}));
}

TEST(Safetensors, AlignedBytesAreUsedInPlaceAndUnalignedOnesCopied) {
  const test::TempDir dir;
  const float value = 1.5f;
  const std::string bytes(reinterpret_cast<const char*>(&value), 4);
  for (const std::string pad : {"", " ", "  ", "   "}) {
    const auto path = dir.write("x.safetensors", with_header("{" + entry("a", "F32", "[1]", "[0,4]") + "}" + pad, bytes));
    EXPECT_EQ(StateDict::open(path).get("a").item<float>(), 1.5f);
  }
}

TEST(ModelDir, ShardsAboveTheLimitAndReadsThemBack) {
  const test::TempDir dir;
  std::map<std::string, at::Tensor> tensors{{"a", at::rand({100})}, {"b", at::rand({100})}, {"c", at::rand({10})}};
  save_model_dir(dir / "m", Json{{"width", 7}}, tensors, 450);
  EXPECT_TRUE(std::filesystem::exists(dir / "m/model-00002-of-00002.safetensors"));
  const StateDict dict = StateDict::open(dir / "m");
  EXPECT_EQ(dict.config()["width"], 7);
  for (const auto& [name, tensor] : tensors) EXPECT_TRUE(at::equal(dict.get(name), tensor));
  save_model_dir(dir / "m", Json{{"width", 8}}, {{"a", at::ones({2})}});  // replaces; the mapped tensors stay valid
  EXPECT_TRUE(at::equal(dict.get("b"), tensors["b"]));
  EXPECT_EQ(StateDict::open(dir / "m").names(), std::vector<std::string>{"a"});
}

TEST(ModelWriter, RowsInAnyOrderGiveTheBytesOfTheWholeTensors) {
  const test::TempDir dir;
  const std::map<std::string, at::Tensor> tensors{{"a", at::rand({3})}, {"b", at::rand({7, 5})}, {"c", at::arange(4)}};
  save_model_dir(dir / "whole", Json{{"width", 7}}, tensors);
  std::map<std::string, TensorShape> shapes;
  for (const auto& [name, tensor] : tensors) shapes[name] = {tensor.sizes().vec(), tensor.scalar_type()};
  {
    ModelWriter writer(dir / "parts", shapes);
    for (const std::int64_t first : {4, 0, 2}) writer.write("b", tensors.at("b").narrow(0, first, first == 4 ? 3 : 2), first);
    writer.write("c", tensors.at("c"));
    writer.write("a", tensors.at("a"));
    EXPECT_THROW(writer.write("b", tensors.at("b").narrow(0, 0, 2), 6), Error);    // past the end
    EXPECT_THROW(writer.write("b", tensors.at("b").to(at::kDouble)), Error);       // another dtype
    EXPECT_FALSE(std::filesystem::exists(dir / "parts"));
    writer.commit(Json{{"width", 7}});
  }
  for (const char* file : {"/model.safetensors", "/config.json"}) EXPECT_EQ(read_file((dir / "parts") + file), read_file((dir / "whole") + file));
  { ModelWriter dropped(dir / "none", shapes); }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 2);  // whole and parts: nothing is left of the third
}

TEST(ModelDir, RefusesToReplaceAFolderThatIsNoModel) {
  const test::TempDir dir;
  dir.write("home/letter.txt", "x");
  EXPECT_THROW(save_model_dir(dir / "home", Json::object(), {}), Error);
  EXPECT_TRUE(std::filesystem::exists(dir / "home/letter.txt"));
}

TEST(ModelDir, AnIndexMayOnlyNameFilesOfItsFolder) {
  const test::TempDir dir;
  const auto refused = [&](Exit exit, std::vector<std::string> words) {
    try {
      StateDict::open(dir.path());
      ADD_FAILURE() << "was opened";
    } catch (const Error& e) {
      EXPECT_EQ(e.exit(), exit) << e.what();
      for (const std::string& word : words) EXPECT_THAT(e.what(), testing::HasSubstr(word));
    }
  };
  const auto index = [&](const std::string& text) { dir.write("model.safetensors.index.json", text); };
  index(R"({"weight_map": {"a": "../x.safetensors"}})");
  refused(Exit::data, {"index.json", "tensor a", "../x.safetensors"});
  index(R"({"weight_map": {"a": 3}})");
  refused(Exit::data, {"index.json", "tensor a", "file name"});
  index(R"({"metadata": {}})");
  refused(Exit::data, {"index.json", "weight_map"});
  index(R"({"weight_map": {"a": "x.safetensors"}})");
  refused(Exit::no_input, {"x.safetensors", "missing", "index.json"});
  save_safetensors(dir / "x.safetensors", {{"b", at::ones({1})}});
  refused(Exit::data, {"x.safetensors", "tensor a is missing"});
}

TEST(ModelDir, AFolderWithoutWeightsSaysWhatWasExpected) {
  const test::TempDir dir;
  dir.write("config.json", "{}");
  try {
    StateDict::open(dir.path());
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr("no weights in this folder"));
  }
}

}  // namespace
}  // namespace me2::weights
