// SHA-256 over what a store holds, whatever its format, chunks, codecs and provenance: the same content as Zarr v2 and v3 agree.
#pragma once
#include <string>

#include "store/zarr.h"

namespace me2::store {

// Of the decoded elements, row-major, little-endian. Strings: u32 LE length and bytes, one after the other.
std::string content_digest(const Array& array);

// Of one line "<path> <dtype> [<shape>] <digest>\n" per array, sorted by path, those of sub-groups included. Attributes do not count.
std::string content_digest(const Group& group);

}  // namespace me2::store
