// Single-trial estimates from a BOLD series: block averages, or least squares - separate (LS-S; Mumford, Turner, Ashby and Poldrack
// 2012, NeuroImage 59:2636): per trial one regression with the trial, all other trials of the run together, and polynomial drift.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace me2::ingest {

struct TrialEvent {
  double onset = 0, duration = 0;  // seconds from the start of the run
};

// The canonical double gamma (SPM: gamma(6) - gamma(16) / 6, unit area) at t seconds, and its integral from 0.
double hrf(double t);
double hrf_integral(double t);

// Response at the time points to a box of `event.duration` seconds (an impulse of one second's area when it is 0), exact.
std::vector<double> response(const TrialEvent& event, std::span<const double> times);

// series [time, voxel] of one run; times of the volumes in seconds.
struct Series {
  std::int64_t times = 0, voxels = 0;
  std::vector<float> values;  // [time, voxel]
  double tr = 0;
  double time_of(std::int64_t t) const { return static_cast<double>(t) * tr; }
};

// Removes the least-squares polynomial of this order (0: mean, 1: mean and line) from every voxel.
void detrend(Series& series, int order);

// Scales every voxel to mean 0, deviation 1 over `rows` (all when empty); a constant voxel becomes 0.
void standardise(Series& series, std::span<const std::int64_t> rows);

// [event, voxel]. The volume in force at onset + shift up to onset + duration + shift; Exit::data when an event has no volume.
std::vector<float> block_average(const Series& series, std::span<const TrialEvent> events, double shift);

// [event, voxel]; drift: order of the polynomial in the model.
std::vector<float> least_squares_separate(const Series& series, std::span<const TrialEvent> events, int drift);

}  // namespace me2::ingest
