// Model directories: config.json beside the weights, in one file, in shards with an index, or only as shapes.
#pragma once
#include <string>

#include "weights/state_dict.h"

namespace me2::weights {

// In this order: model.safetensors, model.safetensors.index.json (and the names diffusers, open_clip and transformers use, .bin
// included), last.pth, a DeepSpeed ZeRO directory, shapes.json (name -> dims: weights by formula). Where config.json has
// "<part>_state_dict_shapes", what the file lacks of "<part>." is computed by formula (formula.h), so that the folder of a
// golden case is a model.
StateDict open_model_dir(const std::string& path);

}  // namespace me2::weights
