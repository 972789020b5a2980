// CRC-32C (Castagnoli), as in RFC 3720 and the crc32c codec of Zarr: reflected polynomial 0x82F63B78.
#pragma once
#include <cstddef>
#include <cstdint>

namespace me2::store {

std::uint32_t crc32c(const void* data, std::size_t n);          // the processor's instruction where there is one
std::uint32_t crc32c_by_table(const void* data, std::size_t n);

}  // namespace me2::store
