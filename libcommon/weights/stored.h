// How a saved model holds its floats: as they are, or as 16-bit ones (networks cast when they load).
#pragma once
#include <map>
#include <string>

#include <ATen/core/Tensor.h>

#include "base/describe.h"

namespace me2::weights {

enum class Stored { f4, f2 };
std::map<std::string, at::Tensor> stored_as(const std::map<std::string, at::Tensor>& tensors, Stored stored);

}  // namespace me2::weights

namespace me2 {
template <>
inline const EnumNames<weights::Stored>& enum_names() {
  static const EnumNames<weights::Stored> names{{weights::Stored::f4, "f4"}, {weights::Stored::f2, "f2"}};
  return names;
}
}  // namespace me2
