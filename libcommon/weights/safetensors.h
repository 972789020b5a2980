// The safetensors container: 8 bytes of header length (little-endian), a JSON header, the tensors' bytes.
// Source: https://github.com/huggingface/safetensors (README, "Format"); every clause of it is enforced.
#pragma once
#include <string>

#include "weights/state_dict.h"

namespace me2::weights {
// The tensors of one .safetensors file, memory-mapped. Exit::data naming the file and the tensor for every broken rule:
// header over 100 MB or past the end, not beginning with "{", duplicate names, unknown dtype, shape overflow, offsets
// outside, reversed, overlapping or leaving holes, trailing bytes, more than a million tensors, names over 4 KiB.
StateDict::Entries read_safetensors(const std::string& path);
}  // namespace me2::weights
