// Any bytes as a .npy file: refused with an Error, or an array of as many elements as its shape says.
#include <cstdlib>

#include "base/error.h"
#include "store/npy.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto array = me2::store::parse_npy(std::as_bytes(std::span(data, size)), "input");
    if (array.as<double>().size() != static_cast<std::size_t>(array.size())) std::abort();
  } catch (const me2::Error&) {
  }
  return 0;
}
