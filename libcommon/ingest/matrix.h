// A lab's numbers, whatever file they come in, as one matrix of rows (trials or volumes) by voxels of the mask.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace me2::ingest {

struct VoxelMask {
  std::vector<std::int64_t> volume;    // [X, Y, Z], or [n] for a mask over columns; empty: every voxel
  std::vector<std::int64_t> flat;      // selected, ascending, last axis fastest
  bool has_affine = false;
  std::array<double, 16> affine{};
  std::string source;
};

// NIfTI (positive values) or .npy (non-zero).
VoxelMask read_mask(const std::string& path);

struct Matrix {
  std::int64_t rows = 0, voxels = 0;
  std::vector<float> values;
  std::vector<std::int64_t> volume;  // [X, Y, Z] when the file said so
  bool has_affine = false;
  std::array<double, 16> affine{};
  double time_step = 0;  // seconds, from a NIfTI header
};

struct MatrixSink {
  std::function<void(const Matrix&)> begin;  // all but the values is known
  std::function<bool(std::int64_t first, std::int64_t count, const float* rows)> rows;  // [count, voxels], in order; false: enough was seen
};

// NIfTI [X, Y, Z, rows]; .npy, HDF5 (FILE or FILE:dataset) or Zarr (STORE or STORE:array) [rows, ...voxels]. By content. The mask's
// shape must be that of the voxels, or its number of voxels: Exit::data naming both. A few rows (16 MiB before the mask, or one chunk
// of a Zarr array) are held at a time.
void scan_matrix(const std::string& path, const VoxelMask& mask, const MatrixSink& sink);

// The same, whole: up to 16 GiB.
Matrix read_matrix(const std::string& path, const VoxelMask& mask);

}  // namespace me2::ingest
