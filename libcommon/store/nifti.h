// NIfTI-1 and NIfTI-2 single files (.nii, .nii.gz), either byte order, read one volume after the other.
// Format: nifti1.h and nifti2.h of the NIfTI data format working group.
//
// Voxels are numbered two ways. On disk x runs fastest: file index = x + X (y + Y z). Arrays of ours follow NumPy's view of the
// volume [X, Y, Z], z fastest: flat index = (x Y + y) Z + z.
#pragma once
#include <array>
#include <cstdint>
#include <istream>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "store/zarr.h"

namespace me2::store {

struct NiftiHeader {
  int version = 1;
  bool swapped = false;  // the file's byte order is not this machine's
  DType dtype = DType::f4;
  Shape shape;  // [X, Y, Z, T, ...] as dim[1..dim[0]]
  std::vector<double> pixdim;
  std::int64_t data_offset = 352;
  double slope = 1, inter = 0;  // value = slope * stored + inter; 1 and 0 when the header asks for no scaling
  int qform_code = 0, sform_code = 0;
  std::array<double, 16> affine{};  // row-major voxel -> mm: sform, else qform, else pixdim with the origin at the centre voxel
  double time_step = 0;             // seconds; 0 when the header does not say

  std::int64_t x() const { return shape[0]; }
  std::int64_t y() const { return shape[1]; }
  std::int64_t z() const { return shape[2]; }
  std::int64_t voxels() const { return x() * y() * z(); }
  std::int64_t volumes() const;  // product of the axes from the fourth on
};

// The first 348 or 540 bytes. Exit::data naming the field for a header that contradicts itself.
NiftiHeader parse_nifti_header(std::span<const std::byte> bytes, const std::string& where);

bool is_nifti(const std::string& path);  // by content, also inside gzip

class NiftiFile {
 public:
  explicit NiftiFile(const std::string& path);
  NiftiFile(std::span<const std::byte> bytes, const std::string& where);  // an uncompressed file in memory (fuzzing, tests)
  const NiftiHeader& header() const;
  const std::string& path() const;

  // The next volume, as stored; false after the last. Exit::data naming the volume when the file ends early.
  bool next();
  std::int64_t position() const;  // volumes read so far
  void rewind();
  // Of the volume in hand: scaled values at `flat` indices (z fastest), or all of them in that order.
  void gather(std::span<const std::int64_t> flat, double* out) const;
  void gather(std::span<const std::int64_t> flat, float* out) const;
  std::vector<double> values() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

// A 3-D volume (or the first of a series): scaled values, z fastest. Exit::data when it has several volumes.
struct NiftiVolume {
  NiftiHeader header;
  std::vector<double> values;
};
NiftiVolume read_nifti_volume(const std::string& path);

}  // namespace me2::store
