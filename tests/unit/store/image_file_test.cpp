// Expected pixels: Pillow, through tests/golden/images/make.py.
#include "store/image_file.h"

#include "support/files.h"

namespace me2::store {
namespace {

struct Sums {
  std::uint64_t sum = 0, weighted = 0;
  explicit Sums(const Image& image) {
    for (std::size_t i = 0; i < image.rgb.size(); ++i) sum += image.rgb[i], weighted += image.rgb[i] * std::uint64_t(i + 1);
  }
};

std::string folder() { return std::string(ME2_SOURCE_DIR) + "/tests/golden/images/"; }
Json expected() { return read_json_file(folder() + "expected.json"); }

void expect_equal(const Image& image, const Json& want, const std::string& name, double per_pixel = 0) {
  EXPECT_EQ(image.height, want["shape"][1].get<std::int64_t>()) << name;
  EXPECT_EQ(image.width, want["shape"][2].get<std::int64_t>()) << name;
  const Sums got(image);
  if (per_pixel == 0) {
    EXPECT_EQ(got.sum, want["sum"].get<std::uint64_t>()) << name;
    EXPECT_EQ(got.weighted, want["weighted"].get<std::uint64_t>()) << name;
  } else {
    EXPECT_NEAR(double(got.sum), want["sum"].get<double>(), per_pixel * double(image.rgb.size())) << name;
  }
}

TEST(ImageFile, EveryModeDecodesAsPillowConvertsIt) {
  const Json want = expected();
  ASSERT_GT(want["files"].size(), 25u);
  for (const auto& [name, sums] : want["files"].items()) {
    // Lossy WebP: the chroma upsampler changed between the libwebp versions of Pillow and of the system; everything else is exact.
    const bool lossy_webp = name == "lossy.webp" || name == "alpha.webp";
    expect_equal(read_image(folder() + name), sums, name, lossy_webp ? 1.0 : 0);
  }
}

TEST(ImageFile, RealPhotographsDecodeAsInPillow) {
  const std::string dir = test::real_dir("skimage_photos");
  if (dir.empty()) GTEST_SKIP() << "skimage_photos is not on this machine";
  const Json photos = expected()["photos"];
  ASSERT_EQ(photos.size(), 8u);
  for (const auto& [name, sums] : photos.items()) expect_equal(read_image(dir + "/" + name), sums, name);
}

TEST(ImageFile, ResizesAsPillow) {
  const Image image = read_image(folder() + "rgb.png");
  for (const auto& c : expected()["resized"]) {
    const std::string f = c["filter"];
    const Image got = resize_image(image, c["height"], c["width"], f == "bilinear" ? Resample::bilinear : f == "bicubic" ? Resample::bicubic : Resample::lanczos);
    expect_equal(got, c, fmt::format("{} {}x{}", f, c["height"].get<int>(), c["width"].get<int>()));
  }
}

TEST(ImageFile, PngRoundTripIsExact) {
  test::TempDir tmp;
  const Image image = read_image(folder() + "rgb.png");
  write_png(tmp / "x.png", image);
  EXPECT_EQ(read_image(tmp / "x.png").rgb, image.rgb);
}

TEST(ImageFile, FitCropsPadsAndStretches) {
  const Image image = read_image(folder() + "rgb.png");  // 17 x 24
  const Image crop = fit_image(image, 17, Fit::crop);
  EXPECT_EQ(crop.rgb[0], image.rgb[3]);  // columns (24 - 17) / 2 on
  const Image pad = fit_image(image, 24, Fit::pad);
  EXPECT_EQ(pad.rgb[0], 0);
  EXPECT_EQ(pad.rgb[3 * 24], image.rgb[0]);  // (24 - 17) / 2 black rows above
  EXPECT_EQ(fit_image(image, 8, Fit::stretch).rgb, resize_image(image, 8, 8).rgb);
}

TEST(ImageFile, EveryCutOfEveryFileIsAnErrorOrThePicture) {
  for (const char* name : {"rgb.png", "palette4.png", "baseline420.jpg", "progressive.jpg", "cmyk.jpg", "lossless.webp", "lossy.webp"}) {
    const std::string file = read_file(folder() + name);
    const Image whole = read_image(folder() + name);
    int failed = 0;
    for (std::size_t n = 0; n < file.size(); n += 7) {
      try {
        const std::string part = file.substr(0, n);  // a copy of its own size, so that a read past the end shows
        EXPECT_EQ(decode_image(std::as_bytes(std::span(part)), name).rgb, whole.rgb) << name << " cut at " << n;
      } catch (const Error& e) {
        EXPECT_EQ(e.exit(), Exit::data);
        ++failed;
      }
    }
    EXPECT_GT(failed, static_cast<int>(file.size() / 7 * 3 / 4)) << name;
  }
}

TEST(ImageFile, AHugeImageIsRefusedFromItsHeader) {
  std::string png = read_file(folder() + "rgb.png");
  png.replace(16, 8, std::string("\x00\x01\x00\x00\x00\x01\x00\x00", 8));  // 65536 x 65536; the checksum is wrong too
  ME2_EXPECT_ERROR(decode_image(std::as_bytes(std::span(png)), "big.png"), Exit::data, "big.png");
  std::string jpeg = read_file(folder() + "baseline444.jpg");
  const std::size_t sof = jpeg.find("\xff\xc0");
  jpeg.replace(sof + 5, 4, "\xfd\xe8\xfd\xe8");  // 65000 x 65000
  ME2_EXPECT_ERROR(decode_image(std::as_bytes(std::span(jpeg)), "big.jpg"), Exit::data, "big.jpg", "65000", "limit");
}

TEST(ImageFile, WhatIsNoImageSaysSo) {
  const std::string text = "hello, this is not an image";
  ME2_EXPECT_ERROR(decode_image(std::as_bytes(std::span(text)), "a.png"), Exit::data, "a.png", "neither PNG, JPEG nor WebP");
  ME2_EXPECT_ERROR(read_image("/nowhere/a.png"), Exit::no_input, "/nowhere/a.png");
}

}  // namespace
}  // namespace me2::store
