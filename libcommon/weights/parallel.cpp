#include "weights/parallel.h"

#include <ATen/Parallel.h>

namespace me2::weights {

void parallel_for(std::int64_t begin, std::int64_t end, std::int64_t grain, const std::function<void(std::int64_t, std::int64_t)>& f) {
  at::parallel_for(begin, end, grain, f);
}

}  // namespace me2::weights
