#include "ingest/matrix.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include "base/error.h"
#include "store/extent.h"
#include "store/hdf5.h"
#include "store/nifti.h"
#include "store/npy.h"
#include "store/zarr.h"

namespace me2::ingest {
namespace {

namespace fs = std::filesystem;
using store::Shape;

bool is_npy(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  char magic[6] = {};
  in.read(magic, 6);
  return in && std::memcmp(magic, "\x93NUMPY", 6) == 0;
}

[[noreturn]] void shapes_differ(const std::string& path, const Shape& voxels, const VoxelMask& mask) {
  throw data_error("{}: voxels of shape [{}], but the mask {} has [{}]: mask and betas are of different shape", path, fmt::join(voxels, ", "), mask.source, fmt::join(mask.volume, ", "));
}

// Columns of a row to take; empty: all of them, as they are.
std::vector<std::int64_t> columns(const std::string& path, const Shape& voxels, const VoxelMask& mask) {
  if (mask.volume.empty()) return {};
  const std::int64_t n = store::element_count(voxels, path);
  if (voxels == mask.volume) return mask.flat;
  if (voxels.size() == 1 || mask.volume.size() == 1) {
    if (n == store::element_count(mask.volume, mask.source)) return mask.flat;
    if (voxels.size() == 1 && n == static_cast<std::int64_t>(mask.flat.size())) return {};  // masked already
  }
  shapes_differ(path, voxels, mask);
}

void check_size(const std::string& path, std::int64_t rows, std::int64_t voxels) {
  if (store::checked_bytes({rows, voxels}, 4, path) > std::int64_t{16} << 30)
    throw data_error("{}: {} rows of {} voxels take more than 16 GiB; give a mask", path, rows, voxels);
}

// Rows of a [rows, ...] array through `read`, a few at a time.
void take_rows(Matrix& m, std::int64_t width, const std::vector<std::int64_t>& columns, const std::function<void(std::int64_t, std::int64_t, float*)>& read) {
  if (columns.empty()) return read(0, m.rows, m.values.data());
  const std::int64_t block = std::clamp<std::int64_t>((16 << 20) / std::max<std::int64_t>(1, 4 * width), 1, std::max<std::int64_t>(1, m.rows));
  std::vector<float> buffer(static_cast<std::size_t>(block * width));
  for (std::int64_t r = 0; r < m.rows; r += block) {
    const std::int64_t n = std::min(block, m.rows - r);
    read(r, n, buffer.data());
    for (std::int64_t k = 0; k < n; ++k)
      for (std::size_t v = 0; v < columns.size(); ++v) m.values[static_cast<std::size_t>((r + k) * m.voxels) + v] = buffer[static_cast<std::size_t>(k * width + columns[v])];
  }
}

Matrix rows_by_voxels(const std::string& path, const Shape& shape, const VoxelMask& mask, const std::function<void(std::int64_t, std::int64_t, float*)>& read) {
  if (shape.size() < 2) throw data_error("{}: shape [rows, voxels] or [rows, X, Y, Z] expected, [{}] found", path, fmt::join(shape, ", "));
  Matrix m;
  m.rows = shape[0];
  const Shape voxels(shape.begin() + 1, shape.end());
  const auto take = columns(path, voxels, mask);
  const std::int64_t width = store::element_count(voxels, path);
  m.voxels = take.empty() ? width : static_cast<std::int64_t>(take.size());
  check_size(path, m.rows, m.voxels);
  m.values.resize(static_cast<std::size_t>(m.rows * m.voxels));
  if (voxels.size() == 3) m.volume = voxels;
  take_rows(m, width, take, read);
  return m;
}

Matrix from_nifti(const std::string& path, const VoxelMask& mask) {
  store::NiftiFile file(path);
  const auto& h = file.header();
  const Shape volume{h.x(), h.y(), h.z()};
  if (!mask.volume.empty() && mask.volume != volume) shapes_differ(path, volume, mask);
  std::vector<std::int64_t> flat = mask.flat;
  if (mask.volume.empty())
    for (std::int64_t i = 0; i < h.voxels(); ++i) flat.push_back(i);
  Matrix m;
  m.rows = h.volumes();
  m.voxels = static_cast<std::int64_t>(flat.size());
  m.volume = volume;
  m.has_affine = true;
  m.affine = h.affine;
  m.time_step = h.time_step;
  check_size(path, m.rows, m.voxels);
  m.values.resize(static_cast<std::size_t>(m.rows * m.voxels));
  for (std::int64_t r = 0; file.next(); ++r) file.gather(flat, m.values.data() + r * m.voxels);
  return m;
}

}  // namespace

VoxelMask read_mask(const std::string& path) {
  VoxelMask mask;
  mask.source = path;
  std::vector<double> values;
  if (!fs::exists(path)) throw missing_error("{}: no such file; a mask was expected", path);
  if (is_npy(path)) {
    const auto a = store::read_npy(path);
    mask.volume = a.shape;
    values = a.as<double>();
  } else {
    auto v = store::read_nifti_volume(path);
    mask.volume = {v.header.x(), v.header.y(), v.header.z()};
    mask.has_affine = true;
    mask.affine = v.header.affine;
    values = std::move(v.values);
  }
  for (std::size_t i = 0; i < values.size(); ++i)
    if (values[i] > 0) mask.flat.push_back(static_cast<std::int64_t>(i));
  if (mask.flat.empty()) throw data_error("{}: the mask selects no voxel", path);
  return mask;
}

Matrix read_matrix(const std::string& path, const VoxelMask& mask) {
  std::string file = path, inner;
  if (!fs::exists(file)) {  // FILE:dataset
    const std::size_t colon = path.rfind(':');
    if (colon != std::string::npos && fs::exists(path.substr(0, colon))) file = path.substr(0, colon), inner = path.substr(colon + 1);
    else throw missing_error("{}: no such file", path);
  }
  if (fs::is_directory(file)) {
    const auto group = store::Group::open(file);
    const auto array = group.array(inner.empty() ? "betas" : inner);
    return rows_by_voxels(path, array.shape(), mask, [&](std::int64_t first, std::int64_t n, float* out) { array.read_rows(first, n, out); });
  }
  if (store::is_hdf5(file)) {
    const store::H5File h5(file);
    if (inner.empty()) {
      const auto names = h5.datasets();
      inner = names.size() == 1 ? names[0] : "betas";
    }
    return rows_by_voxels(path, h5.shape(inner), mask, [&](std::int64_t first, std::int64_t n, float* out) {
      for (std::int64_t r = 0; r < n; r += 256) h5.read_rows(inner, first + r, std::min<std::int64_t>(256, n - r), store::DType::f4, out + r * h5.row_size(inner));
    });
  }
  if (is_npy(file)) {
    const store::NpyFile npy(file);
    return rows_by_voxels(path, npy.header().shape, mask, [&](std::int64_t first, std::int64_t n, float* out) { npy.read_rows(first, n, store::DType::f4, out); });
  }
  if (store::is_nifti(file)) return from_nifti(file, mask);
  throw data_error("{}: neither NIfTI, HDF5, .npy nor a Zarr store", file);
}

}  // namespace me2::ingest
