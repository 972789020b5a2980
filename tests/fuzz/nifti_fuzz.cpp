// Any bytes as an uncompressed NIfTI file: refused with an Error, or read to its end.
#include "base/error.h"
#include "store/nifti.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    me2::store::NiftiFile file(std::as_bytes(std::span(data, size)), "input");
    for (int volume = 0; volume < 8 && file.next(); ++volume) file.values();
  } catch (const me2::Error&) {
  }
  return 0;
}
