// Any bytes as a PNG, JPEG or WebP image: refused with an Error, or a picture of the size it claims.
#include <cstdlib>

#include "base/error.h"
#include "store/image_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto image = me2::store::decode_image(std::as_bytes(std::span(data, size)), "input");
    if (image.rgb.size() != static_cast<std::size_t>(3 * image.height * image.width)) std::abort();
  } catch (const me2::Error&) {
  }
  return 0;
}
