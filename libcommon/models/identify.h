// Which known model a checkpoint looks like, from a few telling names: for errors about files given in another's place.
#pragma once
#include <string>

#include "weights/state_dict.h"

namespace me2::models {

std::string looks_like(const weights::StateDict& dict);  // "a MindEye2 brain model", ...; "no model known here (its first tensor is ...)"

}  // namespace me2::models
