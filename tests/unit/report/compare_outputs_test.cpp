// What rerun says of an output and its replay: identical, within tolerance, different, and where it first differs.
#include "report/compare_outputs.h"

#include <ATen/ATen.h>

#include <cmath>
#include <functional>
#include <map>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/json.h"
#include "store/zarr.h"
#include "support/temp_dir.h"
#include "weights/state_dict.h"

namespace me2::report {
namespace {

void store_of(const std::string& path, const std::vector<float>& values, const std::vector<std::string>& captions = {"a", "b"}) {
  const Json attributes{{"me2", {{"started", path}}}};  // differs between two runs and does not count
  auto group = store::Group::create(path, 3, &attributes);
  group.create_array("image", {.shape = {2, static_cast<std::int64_t>(values.size() / 2)}, .dtype = store::DType::f4}).write(values.data());
  group.create_array("caption", {.shape = {2}, .dtype = store::DType::str}).write_strings(captions);
}

std::map<std::string, Compared> by_name(const std::vector<Compared>& list) {
  std::map<std::string, Compared> out;
  for (const auto& one : list) out.emplace(one.what, one);
  return out;
}

TEST(CompareOutputs, StoresArrayByArrayWithTheFirstPlaceAndTheLargestDifference) {
  const test::TempDir dir;
  store_of(dir / "a.zarr", {1, 2, 3, 4, 5, 6});
  store_of(dir / "same.zarr", {1, 2, 3, 4, 5, 6});
  store_of(dir / "near.zarr", {1, 2, 3, 4, 5.00001f, 6});
  store_of(dir / "far.zarr", {1, 2.00001f, 3, 4, 5.5f, 6.25f}, {"a", "c"});
  for (const auto& one : compare_outputs(dir / "a.zarr", dir / "same.zarr", "out.zarr", 1e-5)) EXPECT_EQ(one.state, Sameness::identical) << one.what << ": " << one.detail;
  const auto near = by_name(compare_outputs(dir / "a.zarr", dir / "near.zarr", "out.zarr", 1e-5));
  EXPECT_EQ(near.at("out.zarr/image").state, Sameness::within);
  EXPECT_NE(near.at("out.zarr/image").detail.find("first at [1, 1]: 5.00001"), std::string::npos) << near.at("out.zarr/image").detail;
  EXPECT_EQ(near.at("out.zarr/caption").state, Sameness::identical);
  EXPECT_EQ(by_name(compare_outputs(dir / "a.zarr", dir / "near.zarr", "out.zarr", 1e-7)).at("out.zarr/image").state, Sameness::different);
  const auto far = by_name(compare_outputs(dir / "a.zarr", dir / "far.zarr", "out.zarr", 1e-5));
  EXPECT_EQ(far.at("out.zarr/image").state, Sameness::different);  // the first beyond tolerance, not the first at all
  EXPECT_EQ(far.at("out.zarr/image").detail, "first at [1, 1]: 5.5 was 5; 3 of 6 values, at most 0.5") << far.at("out.zarr/image").detail;
  EXPECT_EQ(far.at("out.zarr/caption").detail, "first at [1]: \"c\" was \"b\"");
}

TEST(CompareOutputs, ArraysOnOneSideOfAnotherShapeOrTypeAreDifferent) {
  const test::TempDir dir;
  store_of(dir / "a.zarr", {1, 2, 3, 4});
  store_of(dir / "b.zarr", {1, 2, 3, 4, 5, 6});
  store::Group::open(dir / "a.zarr").create_array("only", {.shape = {1}, .dtype = store::DType::i4}).write(std::vector<std::int32_t>{1}.data());
  const auto got = by_name(compare_outputs(dir / "a.zarr", dir / "b.zarr", "out.zarr", 1));
  EXPECT_EQ(got.at("out.zarr/image").detail, "f4 [2, 3] was f4 [2, 2]");
  EXPECT_EQ(got.at("out.zarr/only").detail, "not made by the replay");
  EXPECT_EQ(by_name(compare_outputs(dir / "b.zarr", dir / "a.zarr", "out.zarr", 1)).at("out.zarr/only").detail, "was not there");
  EXPECT_EQ(compare_outputs(dir / "none", dir / "a.zarr", "x", 1)[0].state, Sameness::gone);
  EXPECT_EQ(compare_outputs(dir / "a.zarr", dir / "none", "x", 1)[0].state, Sameness::different);
}

TEST(CompareOutputs, NumbersThatAreNotNumbersAreThemselves) {
  const test::TempDir dir;
  store_of(dir / "a.zarr", {NAN, 2, 3, 4});
  store_of(dir / "b.zarr", {NAN, 2, 3, 4.5f});
  store_of(dir / "c.zarr", {1, 2, 3, 4});
  EXPECT_EQ(by_name(compare_outputs(dir / "a.zarr", dir / "b.zarr", "s", 1)).at("s/image").state, Sameness::within);
  const auto lost = by_name(compare_outputs(dir / "c.zarr", dir / "a.zarr", "s", 1)).at("s/image");
  EXPECT_EQ(lost.state, Sameness::different);
  EXPECT_NE(lost.detail.find("first at [0, 0]: nan was 1"), std::string::npos) << lost.detail;
}

TEST(CompareOutputs, ModelsTensorByTensor) {
  const test::TempDir dir;
  const at::Tensor x = at::arange(6, at::kFloat).view({2, 3});
  at::Tensor y = x.clone();
  y[1][2] = 9;
  const auto save = [&](const char* name, const at::Tensor& t) { weights::save_safetensors(dir / name, {{"w", t}, {"b", at::ones({2})}}, {}); };
  save("a.safetensors", x), save("b.safetensors", y), save("c.safetensors", x.to(at::kDouble));
  const auto got = by_name(compare_outputs(dir / "a.safetensors", dir / "b.safetensors", "m", 1e-5));
  EXPECT_EQ(got.at("m: b").state, Sameness::identical);
  EXPECT_EQ(got.at("m: w").detail, "first at [1, 2]: 9 was 5; 1 of 6 values, at most 4");
  EXPECT_EQ(by_name(compare_outputs(dir / "a.safetensors", dir / "c.safetensors", "m", 1e-5)).at("m: w").state, Sameness::different);
}

TEST(CompareOutputs, TablesCellByCellAndOtherFilesByTheirBytes) {
  const test::TempDir dir;
  const auto a = dir.write("a.csv", "id,ssim\n1,0.5\n2,0.25\n"), near = dir.write("b.csv", "id,ssim\n1,0.500001\n2,0.25\n"), far = dir.write("c.csv", "id,ssim\n1,0.500001\n2,0.75\n");
  EXPECT_EQ(compare_outputs(a, near, "t", 1e-5)[0].state, Sameness::within);
  EXPECT_EQ(compare_outputs(a, far, "t", 1e-5)[0].detail, "first at line 3, column ssim: 0.75 was 0.25");
  EXPECT_EQ(compare_outputs(a, dir.write("d.csv", "id,ssim\n1,0.5\n"), "t", 1)[0].detail, "1 rows of 2 columns, was 2 of 2");
  EXPECT_EQ(compare_outputs(a, dir.write("e.csv", "id,ssim\nx,0.5\n2,0.25\n"), "t", 1)[0].state, Sameness::different);  // a name is no number
  EXPECT_EQ(compare_outputs(dir.write("x.html", "same then"), dir.write("y.html", "same now"), "p", 1)[0].detail, "first at byte 5; 8 bytes, was 9");
}

TEST(CompareOutputs, ScoresByValueWithTheirSplitsBaselinesAndSubjects) {
  const auto list = [](double v) { return Json{{"ssim", {{"value", v}, {"n", 3}}}}; };
  Json a{{"scores", list(.5)}, {"ids", {"1", "2"}}, {"splits", {{"near", list(.4)}}}, {"baselines", {{"mean", list(.2)}}},
         {"subjects", {{"s1", {{"scores", list(.6)}, {"ids", {"1"}}}}}}, {"provenance", {{"started", 1}}}};
  Json b = a;
  b["provenance"]["started"] = 2;
  for (const auto& one : compare_scores(a, b, "s.json", 1e-5)) EXPECT_EQ(one.state, Sameness::identical) << one.what;
  b["scores"]["ssim"]["value"] = .500001, b["splits"]["near"]["ssim"]["value"] = .9, b["baselines"]["mean"]["ssim"]["n"] = 4, b["subjects"]["s1"]["scores"]["ssim"]["value"] = .7;
  const auto got = by_name(compare_scores(a, b, "s.json", 1e-5));
  EXPECT_EQ(got.at("s.json: ssim").state, Sameness::within);
  EXPECT_EQ(got.at("s.json: near/ssim").detail, "first at /value: 0.9 was 0.4");
  EXPECT_EQ(got.at("s.json: mean/ssim").detail, "first at /n: 4 was 3");
  EXPECT_EQ(got.at("s.json: s1/ssim").state, Sameness::different);
  b = a;
  b.erase("baselines"), b["ids"] = Json{"2", "1"};
  const auto less = by_name(compare_scores(a, b, "s.json", 1));
  EXPECT_EQ(less.at("s.json: mean").detail, "not made by the replay");
  EXPECT_EQ(less.at("s.json: ids").state, Sameness::different);
  b = a;
  b["scores"]["ssim"]["value"] = nullptr;
  EXPECT_EQ(by_name(compare_scores(a, b, "s.json", 1)).at("s.json: ssim").state, Sameness::different);
}

TEST(CompareOutputs, RecordsAreFoundInScoresStoresAndPagesAndNowhereElse) {
  const test::TempDir dir;
  const Json record{{"tool", "me2-eval"}, {"command", {"score", "<a>"}}};
  const auto scores = dir.write("s.json", Json{{"scores", Json::object()}, {"provenance", record}}.dump());
  EXPECT_EQ(provenance_records(scores).at(0), record);
  const auto page = dir.write("p.html", "<html><details><summary>Full provenance</summary><pre>[{&quot;file&quot;: 1, &quot;provenance&quot;: {&quot;command&quot;: [&quot;&lt;a&gt;&quot;]}}]</pre>");
  EXPECT_EQ(provenance_records(page).at(0)["command"][0], "<a>");
  const Json attributes{{"me2", record}};
  store::Group::create(dir / "s.zarr", 3, &attributes);
  EXPECT_EQ(provenance_records(dir / "s.zarr").at(0), record);
  store::Group::create(dir / "other.zarr");
  EXPECT_THROW(provenance_records(dir / "other.zarr"), Error);
  EXPECT_THROW(provenance_records(dir.write("n.json", "{\"scores\": {}}")), Error);
}

}  // namespace
}  // namespace me2::report
