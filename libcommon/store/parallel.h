// Chunk work on several threads.
#pragma once
#include <cstdint>
#include <functional>

namespace me2::store {

// f(0) .. f(n - 1), on up to `threads` threads, started in ascending order. When calls throw, the exception of the lowest
// index that threw is rethrown once all threads have stopped; indices not yet started then are left out.
void parallel_for(std::int64_t n, int threads, const std::function<void(std::int64_t)>& f);

}  // namespace me2::store
