#include "weights/formula.h"

#include <cstring>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/temp_dir.h"

namespace me2::weights {
namespace {

struct Case {
  std::string name;
  std::uint64_t index;
  std::vector<std::int64_t> shape;
  std::vector<std::uint32_t> bits;  // elements 0, 1, 2, 3 and the last
};

// Bits printed by formula_weights.py (numpy 2.2) for the same arguments.
TEST(Formula, GivesTheBitsOfThePythonScript) {
  const std::vector<Case> cases{
      {"a.weight", 0, {3, 5}, {0x3f1804c1, 0xbdd93e91, 0xbf3bd033, 0x3f3abfad, 0x3ea528c4}},
      {"b.running_var", 1, {4}, {0x3f864dc6, 0x3f82e7c7, 0x3f8fe456, 0x3fadae1e, 0x3fadae1e}},
      {"b.running_mean", 2, {4}, {0xbdc59862, 0x3d8ae7ed, 0xbd6da8ab, 0xbd6c2a50, 0xbd6c2a50}},
      {"c.weight", 3, {4}, {0x3f7e6446, 0x3f85e5f2, 0x3f69c775, 0x3f87addc, 0x3f87addc}},
      {"d.bias", 1234, {4}, {0xbb351486, 0xbc46db49, 0xbbf19cc4, 0x3c9b053d, 0x3c9b053d}},
      {"e.weight", 7, {2, 3, 4, 5}, {0xbdc9ba17, 0x3e0f8602, 0xbe2fa6de, 0xbe2cd2e3, 0x3e38c57a}}};
  for (const auto& c : cases) {
    const at::Tensor t = formula_tensor(c.name, c.index, c.shape);
    ASSERT_EQ(t.sizes(), at::IntArrayRef(c.shape));
    for (std::size_t k = 0; k < 5; ++k) {
      std::uint32_t bits;
      std::memcpy(&bits, t.const_data_ptr<float>() + (k < 4 ? static_cast<std::int64_t>(k) : t.numel() - 1), 4);
      EXPECT_EQ(bits, c.bits[k]) << c.name << " element " << k;
    }
  }
}

TEST(Formula, ZeroAxisEntriesCountAsAnIndexAndKeepTheirDefault) {
  auto entries = formula_entries({{"a.num_batches_tracked", {}}, {"c.weight", {4}}, {"b.x", {1}}, {"a.a", {1}}});
  EXPECT_EQ(entries.at("a.num_batches_tracked").load().scalar_type(), at::kLong);
  EXPECT_TRUE(at::equal(entries.at("c.weight").load(), formula_tensor("c.weight", 3, {4})));
}

TEST(Formula, AFolderWithShapesAloneIsAModel) {
  const test::TempDir dir;
  dir.write("shapes.json", R"({"z.bias": [3], "a.weight": [2, 2]})");
  const StateDict dict = StateDict::open(dir.path());
  EXPECT_EQ(dict.names(), (std::vector<std::string>{"a.weight", "z.bias"}));
  EXPECT_TRUE(at::equal(dict.get("z.bias"), formula_tensor("z.bias", 1, {3})));
}

TEST(Formula, PartsNamedInTheConfigAreComputedAndStoredTensorsStay) {
  const test::TempDir dir;
  save_safetensors(dir / "model.safetensors", {{"ridge.w", at::ones({2})}, {"enc.mu", at::ones({1, 3})}});
  dir.write("config.json", R"({"backbone_state_dict_shapes": {"w.weight": [2, 2]}, "formula_gain_ndim_ge_2": 2.0,
                               "encoder_state_dict_shapes": {"mu": [1, 3], "c.weight": [2, 3]}})");
  const StateDict dict = StateDict::open(dir.path());
  EXPECT_EQ(dict.names(), (std::vector<std::string>{"backbone.w.weight", "enc.c.weight", "enc.mu", "ridge.w"}));
  EXPECT_TRUE(at::equal(dict.get("enc.mu"), at::ones({1, 3})));
  EXPECT_TRUE(at::equal(dict.get("enc.c.weight"), formula_tensor("c.weight", 0, {2, 3}) * 2));
}

}  // namespace
}  // namespace me2::weights
