// Pictures to files: PNG without loss, JPEG for pages.
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <jpeglib.h>
#include <png.h>

#include "base/error.h"
#include "base/file.h"
#include "store/image_file.h"

namespace me2::store {
namespace {

std::vector<unsigned char> interleaved(const Image& image) {  // [3, H, W] -> [H, W, 3]
  const auto n = static_cast<std::size_t>(image.height * image.width);
  std::vector<unsigned char> pixels(3 * n);
  for (std::size_t c = 0; c < 3; ++c)
    for (std::size_t i = 0; i < n; ++i) pixels[3 * i + c] = image.rgb[c * n + i];
  return pixels;
}

[[noreturn]] void jpeg_failed(j_common_ptr info) {
  char text[JMSG_LENGTH_MAX];
  info->err->format_message(info, text);
  throw Error(Exit::internal, fmt::format("JPEG encoding failed: {}", text));
}

}  // namespace

std::string encode_png(const Image& image) {
  const auto pixels = interleaved(image);
  png_image png{};
  png.version = PNG_IMAGE_VERSION;
  png.width = static_cast<png_uint_32>(image.width);
  png.height = static_cast<png_uint_32>(image.height);
  png.format = PNG_FORMAT_RGB;
  std::string out(PNG_IMAGE_PNG_SIZE_MAX(png), '\0');
  png_alloc_size_t size = out.size();
  if (!png_image_write_to_memory(&png, out.data(), &size, 0, pixels.data(), 0, nullptr))
    throw Error(Exit::internal, fmt::format("PNG encoding failed: {}", png.message));
  out.resize(size);
  return out;
}

std::string encode_jpeg(const Image& image, int quality) {
  auto pixels = interleaved(image);
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  errors.error_exit = jpeg_failed;
  jpeg_create_compress(&info);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &memory, &size);
  info.image_width = static_cast<JDIMENSION>(image.width);
  info.image_height = static_cast<JDIMENSION>(image.height);
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, quality, TRUE);
  info.comp_info[0].h_samp_factor = info.comp_info[0].v_samp_factor = 1;
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    JSAMPROW row = &pixels[3 * static_cast<std::size_t>(info.next_scanline) * static_cast<std::size_t>(image.width)];
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  std::string out(reinterpret_cast<const char*>(memory), size);
  jpeg_destroy_compress(&info);
  std::free(memory);
  return out;
}

void write_png(const std::string& path, const Image& image) { write_file_atomic(path, encode_png(image)); }

}  // namespace me2::store
