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

// Where everything goes in a file of these tensors, before there is any value: what save_safetensors and ModelWriter write.
struct TensorShape {
  std::vector<std::int64_t> sizes;
  at::ScalarType dtype;
  std::int64_t bytes() const;
};
struct SafetensorsLayout {
  std::string head;                              // length and header
  std::vector<std::string> order;                // names as they follow each other
  std::map<std::string, std::uint64_t> offsets;  // from the beginning of the file
};
// `path` for messages only. Exit::data for a dtype that the format does not know.
SafetensorsLayout layout_safetensors(const std::string& path, const std::map<std::string, TensorShape>& tensors,
                                     const std::map<std::string, std::string>& metadata = {});
}  // namespace me2::weights
