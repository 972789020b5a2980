#include "store/image_file.h"

#include <csetjmp>
#include <cstdio>  // jpeglib.h needs FILE
#include <jpeglib.h>
#include <png.h>
#include <webp/decode.h>

#include <cstring>

#include "base/error.h"
#include "base/file.h"

namespace me2::store {
namespace {

using Bytes = std::span<const std::byte>;

const unsigned char* raw(Bytes b) { return reinterpret_cast<const unsigned char*>(b.data()); }

void check_size(std::int64_t height, std::int64_t width, const std::string& where) {
  if (height < 1 || width < 1) throw data_error("{}: an image of {} x {} pixels", where, width, height);
  if (height > kImagePixelLimit / width)
    throw data_error("{}: an image of {} x {} pixels; the limit is {} pixels", where, width, height, kImagePixelLimit);
}

// Rows of `channels` interleaved bytes (1, 2, 3 or 4) to planes; alpha is dropped.
Image planes(const std::vector<unsigned char>& pixels, std::int64_t height, std::int64_t width, int channels) {
  Image out{height, width, std::vector<std::uint8_t>(static_cast<std::size_t>(3 * height * width))};
  const std::size_t n = static_cast<std::size_t>(height * width), step = static_cast<std::size_t>(channels);
  for (std::size_t c = 0; c < 3; ++c) {
    const unsigned char* in = pixels.data() + (channels >= 3 ? c : 0);
    std::uint8_t* to = out.rgb.data() + c * n;
    for (std::size_t i = 0; i < n; ++i) to[i] = in[i * step];
  }
  return out;
}

// EXIF orientation 1..8 out of a TIFF block; 1 when there is none.
int exif_orientation(const unsigned char* p, std::size_t n) {
  if (n >= 6 && std::memcmp(p, "Exif\0\0", 6) == 0) p += 6, n -= 6;
  if (n < 8) return 1;
  const bool big = p[0] == 'M';
  if (!(p[0] == p[1] && (p[0] == 'M' || p[0] == 'I'))) return 1;
  const auto u16 = [&](std::size_t at) { return big ? p[at] << 8 | p[at + 1] : p[at + 1] << 8 | p[at]; };
  const auto u32 = [&](std::size_t at) {
    return big ? std::size_t{p[at]} << 24 | static_cast<std::size_t>(p[at + 1] << 16 | p[at + 2] << 8 | p[at + 3])
               : std::size_t{p[at + 3]} << 24 | static_cast<std::size_t>(p[at + 2] << 16 | p[at + 1] << 8 | p[at]);
  };
  const std::size_t ifd = u32(4);
  if (ifd > n || n - ifd < 2) return 1;
  const std::size_t entries = static_cast<std::size_t>(u16(ifd));
  for (std::size_t i = 0; i < entries && ifd + 2 + 12 * (i + 1) <= n; ++i) {
    const std::size_t at = ifd + 2 + 12 * i;
    if (u16(at) == 0x0112) {
      const int value = u16(at + 8);
      return value >= 1 && value <= 8 ? value : 1;
    }
  }
  return 1;
}

Image orient(Image image, int orientation) {
  if (orientation == 1) return image;
  const bool swap = orientation >= 5;
  Image out{swap ? image.width : image.height, swap ? image.height : image.width, std::vector<std::uint8_t>(image.rgb.size())};
  const std::int64_t h = image.height, w = image.width;
  for (std::int64_t c = 0; c < 3; ++c)
    for (std::int64_t y = 0; y < out.height; ++y)
      for (std::int64_t x = 0; x < out.width; ++x) {
        std::int64_t sy = swap ? x : y, sx = swap ? y : x;  // 5 is the transpose
        if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8) sx = w - 1 - sx;
        if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7) sy = h - 1 - sy;
        out.rgb[static_cast<std::size_t>((c * out.height + y) * out.width + x)] = image.rgb[static_cast<std::size_t>((c * h + sy) * w + sx)];
      }
  return out;
}

// ---- PNG ----

struct PngState {
  Bytes file;
  std::size_t at = 0;
  char message[160] = {};
};

void png_feed(png_structp png, png_bytep out, std::size_t n) {
  auto* s = static_cast<PngState*>(png_get_io_ptr(png));
  if (n > s->file.size() - s->at) png_error(png, "truncated");
  std::memcpy(out, s->file.data() + s->at, n);
  s->at += n;
}
void png_failed(png_structp png, png_const_charp message) {
  auto* s = static_cast<PngState*>(png_get_error_ptr(png));
  std::snprintf(s->message, sizeof s->message, "%s", message);
  png_longjmp(png, 1);
}

Image decode_png(Bytes file, const std::string& where) {
  PngState state{file, 0, {}};
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &state, png_failed, [](png_structp, png_const_charp) {});
  png_infop info = png ? png_create_info_struct(png) : nullptr;
  if (!info) throw Error(Exit::internal, "libpng could not be started");
  std::vector<unsigned char> pixels, line;
  std::vector<png_bytep> rows;
  volatile int channels = 0, orientation = 1;
  volatile bool gray16 = false;
  png_uint_32 width = 0, height = 0;
  std::string problem;
  if (setjmp(png_jmpbuf(png)) == 0) {
    png_set_read_fn(png, &state, png_feed);
    png_set_user_limits(png, 1 << 26, 1 << 26);
    png_set_chunk_malloc_max(png, 8 << 20);  // compressed text and profiles: no bombs
    png_set_chunk_cache_max(png, 128);
    png_read_info(png, info);
    int depth = 0, colour = 0;
    png_get_IHDR(png, info, &width, &height, &depth, &colour, nullptr, nullptr, nullptr);
    if (static_cast<std::int64_t>(height) > kImagePixelLimit / static_cast<std::int64_t>(width)) {
      problem = "size";
    } else {
      gray16 = depth == 16 && colour == PNG_COLOR_TYPE_GRAY;
      if (colour == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
      if (colour == PNG_COLOR_TYPE_GRAY && depth < 8) png_set_expand_gray_1_2_4_to_8(png);
      if (depth == 16 && !gray16) png_set_strip_16(png);
      png_set_interlace_handling(png);
      png_read_update_info(png, info);
      channels = png_get_channels(png, info);
      const std::size_t stride = png_get_rowbytes(png, info);
      pixels.resize(stride * height);
      rows.resize(height);
      for (std::size_t y = 0; y < height; ++y) rows[y] = pixels.data() + y * stride;
      png_read_image(png, rows.data());
      png_read_end(png, info);
      png_bytep exif = nullptr;
      png_uint_32 exif_size = 0;
      if (png_get_eXIf_1(png, info, &exif_size, &exif)) orientation = exif_orientation(exif, exif_size);
    }
  } else {
    problem = "error";
  }
  png_destroy_read_struct(&png, &info, nullptr);
  if (problem == "size") check_size(height, width, where);
  if (problem == "error") throw data_error("{}: damaged PNG image at byte {}: {}", where, state.at, state.message);
  if (gray16) {  // Fidelity: Pillow converts I;16 to RGB by clipping, not by scaling
    const std::size_t n = static_cast<std::size_t>(height) * width;
    line.resize(n);
    for (std::size_t i = 0; i < n; ++i) line[i] = pixels[2 * i] ? 255 : pixels[2 * i + 1];
    pixels.swap(line);
    channels = 1;
  }
  return orient(planes(pixels, height, width, channels), orientation);
}

// ---- JPEG ----

struct JpegError {
  jpeg_error_mgr base;
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
  long warnings_that_matter;
};

void jpeg_failed(j_common_ptr c) {
  auto* e = reinterpret_cast<JpegError*>(c->err);
  c->err->format_message(c, e->message);
  std::longjmp(e->jump, 1);
}
// Truncated or corrupt entropy data is only a warning to libjpeg, which then invents the rest of the picture. Not here.
void jpeg_warned(j_common_ptr c, int level) {
  if (level >= 0) return;
  auto* e = reinterpret_cast<JpegError*>(c->err);
  c->err->format_message(c, e->message);
  ++e->warnings_that_matter;
}

Image decode_jpeg(Bytes file, const std::string& where) {
  jpeg_decompress_struct jpeg{};
  JpegError error{};
  jpeg.err = jpeg_std_error(&error.base);
  error.base.error_exit = jpeg_failed;
  error.base.emit_message = jpeg_warned;
  jpeg_progress_mgr progress{};
  progress.progress_monitor = [](j_common_ptr c) {
    if (reinterpret_cast<j_decompress_ptr>(c)->input_scan_number > 200) {
      auto* e = reinterpret_cast<JpegError*>(c->err);
      std::snprintf(e->message, sizeof e->message, "more than 200 progressive scans");
      std::longjmp(e->jump, 1);
    }
  };
  std::vector<unsigned char> pixels;
  volatile int channels = 0, orientation = 1;
  volatile std::int64_t width = 0, height = 0;
  volatile bool inverted = false, too_big = false, failed = false;
  if (setjmp(error.jump) == 0) {
    jpeg_create_decompress(&jpeg);
    jpeg.progress = &progress;
    jpeg_mem_src(&jpeg, raw(file), file.size());
    jpeg_save_markers(&jpeg, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&jpeg, TRUE);
    width = jpeg.image_width;
    height = jpeg.image_height;
    too_big = height > kImagePixelLimit / width;
    if (!too_big) {
      for (jpeg_saved_marker_ptr m = jpeg.marker_list; m; m = m->next)
        if (m->data_length > 6 && std::memcmp(m->data, "Exif\0\0", 6) == 0) orientation = exif_orientation(m->data, m->data_length);
      if (jpeg.num_components == 4) {
        jpeg.out_color_space = JCS_CMYK;
        inverted = true;  // Fidelity: Pillow takes every four-ink JPEG to follow Adobe, which writes inverted inks
      } else {
        jpeg.out_color_space = jpeg.num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
      }
      jpeg_start_decompress(&jpeg);
      channels = jpeg.output_components;
      const std::size_t stride = static_cast<std::size_t>(width) * static_cast<std::size_t>(channels);
      pixels.resize(stride * static_cast<std::size_t>(height));
      while (jpeg.output_scanline < jpeg.output_height) {
        JSAMPROW row = pixels.data() + jpeg.output_scanline * stride;
        jpeg_read_scanlines(&jpeg, &row, 1);
        if (error.warnings_that_matter) break;
      }
      if (!error.warnings_that_matter) jpeg_finish_decompress(&jpeg);
    }
  } else {
    failed = true;
  }
  jpeg_destroy_decompress(&jpeg);
  if (too_big) check_size(height, width, where);
  if (failed || error.warnings_that_matter) throw data_error("{}: damaged JPEG image: {}", where, error.message);
  if (channels == 4) {
    const std::size_t n = static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
    std::vector<unsigned char> rgb(3 * n);
    for (std::size_t i = 0; i < n; ++i) {
      const unsigned char* ink = &pixels[4 * i];
      const int white = inverted ? ink[3] : 255 - ink[3];
      for (std::size_t c = 0; c < 3; ++c) {  // Ref: Pillow Convert.c cmyk2rgb
        const unsigned t = static_cast<unsigned>((inverted ? 255 - ink[c] : ink[c]) * white) + 128;
        rgb[3 * i + c] = static_cast<unsigned char>(std::max(0, white - static_cast<int>(((t >> 8) + t) >> 8)));
      }
    }
    return orient(planes(rgb, height, width, 3), orientation);
  }
  return orient(planes(pixels, height, width, channels), orientation);
}

// ---- WebP ----

Image decode_webp(Bytes file, const std::string& where) {
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(raw(file), file.size(), &features) != VP8_STATUS_OK) throw data_error("{}: damaged WebP image: its header cannot be read", where);
  check_size(features.height, features.width, where);
  if (features.has_animation) throw data_error("{}: an animated WebP; a still image was expected", where);
  std::vector<unsigned char> pixels(static_cast<std::size_t>(features.height) * static_cast<std::size_t>(features.width) * 4);
  if (!WebPDecodeRGBAInto(raw(file), file.size(), pixels.data(), pixels.size(), 4 * features.width))
    throw data_error("{}: damaged or truncated WebP image", where);
  int orientation = 1;
  for (std::size_t at = 12; at + 8 <= file.size();) {  // RIFF chunks
    const unsigned char* p = raw(file) + at;
    const std::size_t size = p[4] | p[5] << 8 | p[6] << 16 | static_cast<std::size_t>(p[7]) << 24;
    if (size > file.size() - at - 8) break;
    if (std::memcmp(p, "EXIF", 4) == 0) orientation = exif_orientation(p + 8, size);
    at += 8 + size + (size & 1);
  }
  return orient(planes(pixels, features.height, features.width, 4), orientation);
}

}  // namespace

bool is_image(Bytes head) {
  const unsigned char* p = raw(head);
  if (head.size() < 12) return false;
  return std::memcmp(p, "\x89PNG\r\n\x1a\n", 8) == 0 || (p[0] == 0xff && p[1] == 0xd8 && p[2] == 0xff) ||
         (std::memcmp(p, "RIFF", 4) == 0 && std::memcmp(p + 8, "WEBP", 4) == 0);
}

Image decode_image(Bytes file, const std::string& where) {
  if (!is_image(file)) throw data_error("{}: neither PNG, JPEG nor WebP", where);
  const unsigned char first = raw(file)[0];
  return first == 0x89 ? decode_png(file, where) : first == 0xff ? decode_jpeg(file, where) : decode_webp(file, where);
}

Image read_image(const std::string& path) {
  const std::string file = read_file(path);
  return decode_image(std::as_bytes(std::span(file)), path);
}

}  // namespace me2::store
