// Pickles, parsed and never run: an allow-list machine that turns the opcodes of protocols 0 to 5 into a plain tree (value.h).
// A name outside the list ends the parse before anything could be called with it; what is on the list is not called either, but
// stands for a rule here (collections.OrderedDict -> a dict). Objects of a few known libraries (optimizer schedules, Lightning,
// DeepSpeed, OmegaConf) become opaque values with a note; nothing of them is interpreted.
// Source of the format: CPython's Lib/pickletools.py; of the names: torch/_utils.py, numpy/core/multiarray.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "weights/value.h"

namespace me2::weights {

struct Pickled {
  Value root;
  std::vector<std::shared_ptr<TensorRef>> tensors;  // every tensor met; load() is not set yet
  std::vector<StorageRef> storages;                 // every storage named by a persistent id, in order
  std::vector<std::string> notes;                   // what was skipped
  std::size_t consumed = 0;                         // bytes up to and including STOP
};

// Exit::data naming `where` and the byte for anything malformed or not allowed. Limits: nesting 500, text and bytes inside the span.
Pickled parse_pickle(std::span<const std::byte> bytes, const std::string& where);

}  // namespace me2::weights
