// Any bytes as a tar archive: refused with an Error, or members that together are no larger than the archive.
#include <cstdlib>
#include <sstream>

#include "base/error.h"
#include "store/tar.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::istringstream in(std::string(reinterpret_cast<const char*>(data), size));
  std::size_t total = 0;
  try {
    me2::store::TarReader reader(in, "input", {1 << 20, 1000});
    me2::store::TarMember member;
    while (reader.next(member)) total += member.bytes.size();
  } catch (const me2::Error&) {
  }
  if (total > size) std::abort();
  return 0;
}
