// How long a piece of work takes and what it holds, as --dry-run says and the Snakemake rules ask for.
// nn/count_work.h counts a network's; what streams data or solves in closed form says its own numbers.
#pragma once
#include <algorithm>
#include <cstdint>

namespace me2 {

struct Work {
  double flops = 0;           // of matrix products, convolutions and attention; a multiplication and its addition are two
  double bytes = 0;           // of results that pass through memory
  double calls = 0;           // of operators, files or rows: what costs the same whatever its size
  std::uint64_t held = 0;     // bytes of intermediate results at once, at most
  std::uint64_t weights = 0;  // bytes of what is read again and again

  Work& operator+=(const Work& other) {  // one after the other, in one process
    flops += other.flops, bytes += other.bytes, calls += other.calls, weights += other.weights;
    held = std::max(held, other.held);
    return *this;
  }
  Work times(double n) const { return {flops * n, bytes * n, calls * n, held, weights}; }

  // Rates, measured as docs/performance.md, "Estimates", tells. Where a machine differs, all estimates differ by the same factor.
  static constexpr double kFlopsPerSecond = 100e9;  // of one thread, f32
  static constexpr double kBytesPerSecond = 8e9;   // of one thread
  static constexpr double kSecondsPerCall = 2.5e-6;
  static constexpr double kStartSeconds = 0.5;
  static constexpr std::uint64_t kProgramBytes = 200 << 20;  // LibTorch and its buffers
  double seconds(int threads) const {
    return kStartSeconds + (flops / kFlopsPerSecond + bytes / kBytesPerSecond) / std::max(1, threads) + calls * kSecondsPerCall;
  }
};

}  // namespace me2
