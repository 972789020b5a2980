// PNG, JPEG and WebP files to RGB bytes, and back to PNG. The format is found by content, not by suffix.
//
// Pixels are those of Pillow's Image.open(f) -> ImageOps.exif_transpose -> convert("RGB"): gray is repeated, palettes are looked up,
// alpha is dropped (not blended), CMYK and YCCK become RGB by 255-k minus ink, 16-bit colour keeps its high byte, 16-bit gray is clipped at 255
// (Pillow's rule; a 16-bit gray scan should be scaled to 8 bits first). Colour profiles and gamma are ignored.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace me2::store {

struct Image {
  std::int64_t height = 0, width = 0;
  std::vector<std::uint8_t> rgb;  // [3, height, width]
};

constexpr std::int64_t kImagePixelLimit = std::int64_t{64} << 20;  // 64 Mpixel: Exit::data beyond

Image decode_image(std::span<const std::byte> file, const std::string& where);
Image read_image(const std::string& path);
bool is_image(std::span<const std::byte> head);  // by its first 12 bytes

std::string encode_png(const Image& image);                      // the file's bytes
std::string encode_jpeg(const Image& image, int quality = 85);   // for pictures in pages; no chroma subsampling
void write_png(const std::string& path, const Image& image);  // 8-bit RGB, written to a temporary file and renamed

// Resampling as Pillow's Image.resize on 8-bit images: antialiased, horizontal pass first, rounded to 8 bits between passes.
// Ref: Pillow src/libImaging/Resample.c (fixed point with 22 bits).
enum class Resample { bilinear, bicubic, lanczos };
Image resize_image(const Image& image, std::int64_t height, std::int64_t width, Resample filter = Resample::bicubic);

// What to do with an image that is not of the wanted proportions.
enum class Fit { crop, pad, stretch };  // centre crop; black bars; change of proportions
Image fit_image(const Image& image, std::int64_t size, Fit fit, Resample filter = Resample::bicubic);

}  // namespace me2::store
