// Work on all of LibTorch's threads. at::parallel_for is a template around an OpenMP pragma: in a source that is compiled without OpenMP it
// runs on one thread and says nothing. This one is compiled with it (libcommon/CMakeLists.txt).
#pragma once
#include <cstdint>
#include <functional>

namespace me2::weights {

// f(first, last) over at most as many parts of begin..end as there are threads, each of at least `grain`, all but the last equally long.
// Two parts or more run inside a parallel region: LibTorch's operations in there stay on their thread. Exceptions of f come out.
void parallel_for(std::int64_t begin, std::int64_t end, std::int64_t grain, const std::function<void(std::int64_t first, std::int64_t last)>& f);

}  // namespace me2::weights
