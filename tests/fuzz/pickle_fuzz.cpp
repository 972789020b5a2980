// Any bytes as a pickle: refused with an Error, or a tree that can be walked.
#include "base/error.h"
#include "weights/pickle.h"

namespace {
std::size_t walk(const me2::weights::Value& value) {
  using Kind = me2::weights::Value::Kind;
  std::size_t n = 1;
  if (value.is(Kind::list) || value.is(Kind::tuple))
    for (const auto& element : value.elements()) n += walk(element);
  if (value.is(Kind::dict))
    for (const auto& [key, item] : value.items()) n += walk(key) + walk(item);
  if (value.is(Kind::array)) {
    try {
      n += value.numeric() ? static_cast<std::size_t>(value.tensor().numel()) : value.texts().size();
    } catch (const me2::Error&) {
    }
  }
  return n;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 4096) return 0;  // the tree of a longer one may be large by right
  try {
    walk(me2::weights::parse_pickle(std::as_bytes(std::span(data, size)), "input").root);
  } catch (const me2::Error&) {
  }
  return 0;
}
