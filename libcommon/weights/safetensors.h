#pragma once
#include <string>

#include "weights/state_dict.h"

namespace me2::weights {
// The tensors of one .safetensors file, memory-mapped. Exit::data naming the file and the tensor for every broken rule.
StateDict::Entries read_safetensors(const std::string& path);
}  // namespace me2::weights
