// Which model a checkpoint looks like, from telltale names: for "a checkpoint of another model" errors and for finding a prefix.
#pragma once
#include <string>

#include "weights/state_dict.h"

namespace me2::weights {

// "a MindEye2 model (ridge and backbone)", "an SDXL checkpoint (U-Net, VAE and text encoders)", ...; "an unknown model (first tensor: x)".
std::string identify(const StateDict& dict);

// The part of `dict` that holds `telltale`: tries the name as it is, then behind "module.", "model.", "model.diffusion_model.",
// "first_stage_model.", "conditioner.embedders.0.model.", "visual." and, last, any prefix under which it occurs exactly once.
// Exit::data "PATH: tensor X is missing; this looks like Y" when nothing fits.
//     const auto unet = part_with(dict, "time_embed.0.weight");
StateDict part_with(const StateDict& dict, const std::string& telltale);

}  // namespace me2::weights
