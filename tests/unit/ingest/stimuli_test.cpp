#include "ingest/stimuli.h"

#include <unistd.h>

#include "store/zarr.h"
#include "support/files.h"

namespace me2::ingest {
namespace {

namespace fs = std::filesystem;

class Stimuli : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(tmp / "images");
    for (const char* name : {"COCO_train2014_000000000025.png", "000000000009.png", "plain.png"})  // sorted: 000..., COCO..., plain
      fs::copy_file(std::string(ME2_SOURCE_DIR) + "/tests/golden/images/rgb.png", tmp / fmt::format("images/{}", name));
    options.input.path = tmp / "images";
    options.size = 8;
  }
  Json import(const std::string& out) {
    options.output.path = out;
    const Json provenance;
    Context context;
    context.provenance = &provenance;
    return import_stimuli(options, context);
  }
  using Strings = std::vector<std::string>;
  test::TempDir tmp;
  StimuliOptions options;
};

TEST_F(Stimuli, CaptionsOfCocoAreFoundByTheIdInTheFileName) {
  test::write_text(tmp / "captions.json", R"({"images": [], "annotations": [
    {"image_id": 25, "id": 1, "caption": "a giraffe"}, {"image_id": 9, "id": 2, "caption": "a meal"},
    {"image_id": 9, "id": 3, "caption": "boxes of food"}, {"image_id": 30, "id": 4, "caption": "not here"}]})");
  options.captions = InputPath{tmp / "captions.json"};
  const Json counts = import(tmp / "s.zarr");
  EXPECT_EQ(counts["captions_per_image"], 2);
  EXPECT_EQ(counts["without_caption"], 1);
  EXPECT_EQ(counts["with_coco_id"], 2);
  const auto store = store::Group::open(tmp / "s.zarr");
  EXPECT_EQ(store.array("coco_id").read<std::int32_t>(), (std::vector<std::int32_t>{9, 25, 0}));
  EXPECT_EQ(store.array("caption").read_strings(), (Strings{"a meal", "boxes of food", "a giraffe", "", "", ""}));
  EXPECT_EQ(store.array("name").read_strings(), (Strings{"000000000009.png", "COCO_train2014_000000000025.png", "plain.png"}));
}

TEST_F(Stimuli, CaptionsAndIdsOfATable) {
  test::write_text(tmp / "captions.tsv", "name\tcaption\nplain.png\tby name\n");
  test::write_text(tmp / "ids.csv", "nsdId,cocoId\n2,777\n9,1\n");  // nsdId: the row of the store
  options.captions = InputPath{tmp / "captions.tsv"};
  options.coco_ids = InputPath{tmp / "ids.csv"};
  import(tmp / "s.zarr");
  const auto store = store::Group::open(tmp / "s.zarr");
  EXPECT_EQ(store.array("coco_id").read<std::int32_t>(), (std::vector<std::int32_t>{9, 25, 777}));
  EXPECT_EQ(store.array("caption").read_strings(), (Strings{"", "", "by name"}));
}

TEST_F(Stimuli, CaptionsThatDoNotFitAreNamed) {
  options.captions = InputPath{tmp / "captions.json"};
  test::write_text(tmp / "captions.json", R"({"annotations": [{"image_id": 9, "caption": "a"}, {"image_id": "9", "caption": "b"}]})");
  ME2_EXPECT_ERROR(import(tmp / "s"), Exit::data, "captions.json", "annotations[1]", "image_id");
  test::write_text(tmp / "captions.json", R"({"captions": []})");
  ME2_EXPECT_ERROR(import(tmp / "s"), Exit::data, "captions.json", "annotations");
  test::write_text(tmp / "captions.json", R"({"annotations": [{"image_id": 1, "caption": "a"}]})");
  ME2_EXPECT_ERROR(import(tmp / "s"), Exit::data, "captions.json", "no caption belongs to any image");
  EXPECT_FALSE(fs::exists(tmp / "s"));
}

TEST_F(Stimuli, AnOutputInsideTheInputIsRefused) {
  ME2_EXPECT_ERROR(import(tmp / "images/s"), Exit::cant_create, "inside the input");
  ME2_EXPECT_ERROR(import(tmp / "images"), Exit::cant_create, "the output is the input");
  ME2_EXPECT_ERROR(import(tmp / "."), Exit::cant_create, "inside the output");
}

TEST_F(Stimuli, AFileThatCannotBeReadIsNotPassedOver) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may read everything";  // tests/faults has such reads fail for everybody
  fs::permissions(tmp / "images/plain.png", fs::perms::none);
  ME2_EXPECT_ERROR(import(tmp / "s"), Exit::io, "plain.png", "Permission denied");
}

}  // namespace
}  // namespace me2::ingest
