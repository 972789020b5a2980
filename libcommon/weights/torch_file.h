// torch.save files (.pth, .pt, .ckpt, .bin) of any age: the ZIP layout, the stream layout before torch 1.6, TorchScript archives;
// and DeepSpeed ZeRO directories. Weights are used in place in the mapped file; pickles are parsed, never run (pickle.h).
// Source: torch/serialization.py; for ZeRO deepspeed/utils/zero_to_fp32.py.
#pragma once
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "weights/state_dict.h"
#include "weights/value.h"

namespace me2::weights {

struct TorchFile {
  Value root;
  std::vector<std::string> notes;  // what was skipped, in words
};

bool is_torch_file(const std::string& path);  // by its first bytes
TorchFile read_torch_file(const std::string& path);  // Exit::data naming file and byte

// The weights in a file: under "model_state_dict", "state_dict", "module" or "model" where the root is a dict that has one of these, else
// the whole tree; nested dicts are joined with dots ("best_params.fwrfs.1.w"), numeric numpy arrays count as tensors.
// What else is there is left out; `notes`, when given, says what.
StateDict::Entries torch_entries(const std::string& path, std::vector<std::string>* notes = nullptr);

// A ZeRO stage 1, 2 or 3 directory (the folder with the *_optim_states.pt, or its parent with `latest` or one tag folder):
// the float32 master weights put together from all ranks, lazily; buffers, frozen and shared parameters as zero_to_fp32 does.
// Not covered: model-parallel ranks (mp_rank_01 and up), pipeline layers in files of their own, MoE experts, universal checkpoints.
bool is_zero_dir(const std::string& path);
StateDict::Entries zero_entries(const std::string& path);

// A ZIP checkpoint that torch.load(weights_only=True) reads: {KEY: OrderedDict of tensors, NAME: number or text, ...}; with an empty
// KEY the tensors alone.
using Plain = std::variant<std::int64_t, double, std::string>;
void save_torch_zip(const std::string& path, const std::map<std::string, at::Tensor>& tensors, const std::map<std::string, Plain>& extra = {},
                    const std::string& key = "model_state_dict");

}  // namespace me2::weights
