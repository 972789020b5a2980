// Every output of the image_ops cases: the shared one (torchvision 0.26, Pillow 13, kornia 0.7.1, scikit-image) in place, and
// our own twin on rendered pictures (tests/golden/twins/image_ops/make.py names the packages). Names say the operation and sizes.
#include <regex>

#include <ATen/TensorIndexing.h>

#include "support/golden.h"
#include "vision/colour.h"
#include "vision/resize.h"

namespace me2::vision {
namespace {

at::Tensor unit_floats(const at::Tensor& u8) { return u8.to(at::kFloat).div(255).unsqueeze(0); }

PillowFilter filter_of(const std::string& name) {
  return name == "lanczos" ? PillowFilter::lanczos : name == "bicubic" ? PillowFilter::bicubic : PillowFilter::bilinear;
}

at::Tensor compute(const test::Golden& golden, const std::string& name) {
  std::smatch m;
  const auto size = [&](int group) { return std::stoll(m[group].str()); };
  const auto source = [&] { return unit_floats(golden.in(m[1].str())); };
  const auto interp = [&](int group) { return m[group] == "bicubic" ? Interp::bicubic : Interp::bilinear; };
  if (std::regex_match(name, m, std::regex("(small|big)_(bilinear|bicubic)_(\\d+)x(\\d+)_(no)?aa")))
    return resize(source(), size(3), size(4), interp(2), !m[5].matched);
  if (std::regex_match(name, m, std::regex("(small|big)_(bilinear|bicubic)_(\\d+)_(no)?aa")))
    return resize_shorter(source(), size(3), interp(2), !m[4].matched);
  if (std::regex_match(name, m, std::regex("(small|big)_nearest_(\\d+)"))) return resize(source(), size(2), size(2), Interp::nearest);
  if (std::regex_match(name, m, std::regex("(small|big)_kornia_bicubic_(\\d+)_aa"))) return kornia_resize_bicubic(source(), size(2), size(2));
  if (std::regex_match(name, m, std::regex("(small|big)_bigG_preprocess")))
    return normalize((kornia_resize_bicubic(source(), 224, 224) + 1) / 2, kClipMean, kClipStd);
  if (std::regex_match(name, m, std::regex("(small|big)_pil_([a-z]+)_(\\d+)")))
    return pillow_resize(golden.in(m[1].str()), size(3), size(3), filter_of(m[2].str()));
  if (std::regex_match(name, m, std::regex("(small|big)_rgb2gray"))) return gray_bt709(source())[0];
  if (std::regex_match(name, m, std::regex("(small|big)_kornia_gray"))) return gray_bt601(source())[0];
  if (std::regex_match(name, m, std::regex("(small|big)_gauss_(\\d+)x(\\d+)_sigma([0-9.]+)"))) {
    const double sigma = std::stod(m[4].str());
    return gaussian_blur(source(), {size(2), size(3)}, {sigma, sigma});
  }
  if (name == "topil") return to_pil_u8(golden.in("topil_float"));
  if (name == "aug_resized_crop") {
    const at::Tensor xy = golden.in("crop_corners_xy").to(at::kLong);  // tl, tr, br, bl
    const auto at = [&](int row, int column) { return xy[row][column].item<std::int64_t>(); };
    return resized_crop(golden.in("crop_source_224").to(at::kFloat), {at(0, 1), at(0, 0), at(2, 1), at(2, 0)}, 224);
  }
  const at::Tensor x = golden.in("aug");
  if (name == "aug_brightness") return adjust_brightness(x, golden.in("aug_brightness"));
  if (name == "aug_contrast") return adjust_contrast(x, golden.in("aug_contrast"));
  if (name == "aug_saturation") return adjust_saturation(x, golden.in("aug_saturation"));
  if (name == "aug_hue") return adjust_hue(x, golden.in("aug_hue"));
  if (name == "aug_solarize") return solarize(x, golden.in("aug_solarize_threshold"), golden.in("aug_solarize_addition"));
  if (name == "aug_grayscale") return to_grayscale(x);
  if (std::regex_match(name, m, std::regex("aug_jitter_order_(\\d)(\\d)(\\d)(\\d)")))
    return colour_jitter(x, {{std::stoi(m[1]), std::stoi(m[2]), std::stoi(m[3]), std::stoi(m[4])}, golden.in("aug_brightness"),
                             golden.in("aug_contrast"), golden.in("aug_saturation"), golden.in("aug_hue"), {}});
  return {};
}

void run_case(const std::string& dir) {
  const test::Golden golden(dir);
  ASSERT_FALSE(golden.config["outputs"].empty());
  for (const auto& [name, about] : golden.config["outputs"].items()) {
    at::Tensor got = compute(golden, name);
    ASSERT_TRUE(got.defined()) << "no operation is known for " << name;
    const auto stride = about["stride_hw"].get<std::int64_t>();
    EXPECT_EQ(got.sizes().vec(), about["full_shape"].get<std::vector<std::int64_t>>()) << name;
    golden.expect(name, got.slice(-2, 0, at::indexing::None, stride).slice(-1, 0, at::indexing::None, stride), about["tolerance"].get<double>());
  }
}

TEST(ImageOps, Golden) {
  ME2_NEEDS_GOLDEN("image_ops");
  run_case("image_ops");
}

TEST(ImageOps, OwnTwin) { run_case("twins/image_ops"); }

TEST(ImageOps, ResizeIntTruncatesTheLongerEdge) {  // torchvision: int(255 * 150 / 120) = 318
  EXPECT_EQ(shorter_edge_size(120, 150, 255), std::pair(std::int64_t{255}, std::int64_t{318}));
  EXPECT_EQ(shorter_edge_size(150, 120, 255), std::pair(std::int64_t{318}, std::int64_t{255}));
}

TEST(ImageOps, JitterLeavesUnchosenSamplesAlone) {
  const at::Tensor x = at::arange(2 * 3 * 4 * 4, at::kFloat).reshape({2, 3, 4, 4}) / 96;
  const at::Tensor f = at::full({2}, 0.7);
  const at::Tensor y = colour_jitter(x, {{3, 2, 1, 0}, f, f, f, f, at::tensor({0, 1})});
  EXPECT_TRUE(at::equal(y[0], x[0]));
  EXPECT_FALSE(at::allclose(y[1], x[1]));
}

}  // namespace
}  // namespace me2::vision
