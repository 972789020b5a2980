#include "ingest/matrix.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <functional>

#include "base/error.h"
#include "store/beginning.h"
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
  return fs::exists(path) && store::read_beginning(path, 6) == "\x93NUMPY";
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

using ReadRows = std::function<void(std::int64_t first, std::int64_t count, float* out)>;

// A [rows, ...] array through `read`, a few rows at a time, whole `unit`s of rows where they are small enough.
void rows_by_voxels(const std::string& path, const Shape& shape, const VoxelMask& mask, std::int64_t unit, const MatrixSink& sink, const ReadRows& read) {
  if (shape.size() < 2) throw data_error("{}: shape [rows, voxels] or [rows, X, Y, Z] expected, [{}] found", path, fmt::join(shape, ", "));
  Matrix m;
  m.rows = shape[0];
  const Shape voxels(shape.begin() + 1, shape.end());
  const auto take = columns(path, voxels, mask);
  const std::int64_t width = store::element_count(voxels, path);
  if (width > std::int64_t{1} << 28) throw data_error("{}: one row of {} voxels takes more than 1 GiB", path, width);
  m.voxels = take.empty() ? width : static_cast<std::int64_t>(take.size());
  if (voxels.size() == 3) m.volume = voxels;
  sink.begin(m);
  const std::int64_t row_bytes = std::max<std::int64_t>(1, 4 * width);
  std::int64_t block = std::max<std::int64_t>(1, (16 << 20) / row_bytes);
  if (unit > 1 && unit <= (256 << 20) / row_bytes) block = (block + unit - 1) / unit * unit;
  block = std::min(block, std::max<std::int64_t>(1, m.rows));
  std::vector<float> buffer(static_cast<std::size_t>(block * width)), packed(take.empty() ? 0 : static_cast<std::size_t>(block * m.voxels));
  for (std::int64_t r = 0; r < m.rows; r += block) {
    const std::int64_t n = std::min(block, m.rows - r);
    read(r, n, buffer.data());
    for (std::int64_t k = 0; !take.empty() && k < n; ++k)
      for (std::size_t v = 0; v < take.size(); ++v) packed[static_cast<std::size_t>(k * m.voxels) + v] = buffer[static_cast<std::size_t>(k * width + take[v])];
    if (!sink.rows(r, n, take.empty() ? buffer.data() : packed.data())) return;
  }
}

void from_nifti(const std::string& path, const VoxelMask& mask, const MatrixSink& sink) {
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
  sink.begin(m);
  std::vector<float> row(flat.size());
  for (std::int64_t r = 0; file.next(); ++r) {
    file.gather(flat, row.data());
    if (!sink.rows(r, 1, row.data())) return;
  }
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

void scan_matrix(const std::string& path, const VoxelMask& mask, const MatrixSink& sink) {
  std::string file = path, inner;
  if (!fs::exists(file)) {  // FILE:dataset
    const std::size_t colon = path.rfind(':');
    if (colon != std::string::npos && fs::exists(path.substr(0, colon))) file = path.substr(0, colon), inner = path.substr(colon + 1);
    else throw missing_error("{}: no such file", path);
  }
  if (fs::is_directory(file)) {
    const auto group = store::Group::open(file);
    const auto array = group.array(inner.empty() ? "betas" : inner);
    if (array.shape().empty()) throw data_error("{}: shape [rows, voxels] or [rows, X, Y, Z] expected, a single number found", path);
    return rows_by_voxels(path, array.shape(), mask, array.chunks()[0], sink, [&](std::int64_t first, std::int64_t n, float* out) { array.read_rows(first, n, out); });
  }
  if (store::is_hdf5(file)) {
    const store::H5File h5(file);
    if (inner.empty()) {
      const auto names = h5.datasets();
      inner = names.size() == 1 ? names[0] : "betas";
    }
    return rows_by_voxels(path, h5.shape(inner), mask, 1, sink, [&](std::int64_t first, std::int64_t n, float* out) {
      for (std::int64_t r = 0; r < n; r += 256) h5.read_rows(inner, first + r, std::min<std::int64_t>(256, n - r), store::DType::f4, out + r * h5.row_size(inner));
    });
  }
  if (is_npy(file)) {
    const store::NpyFile npy(file);
    return rows_by_voxels(path, npy.header().shape, mask, 1, sink, [&](std::int64_t first, std::int64_t n, float* out) { npy.read_rows(first, n, store::DType::f4, out); });
  }
  if (store::is_nifti(file)) return from_nifti(file, mask, sink);
  throw data_error("{}: neither NIfTI, HDF5, .npy nor a Zarr store", file);
}

Matrix read_matrix(const std::string& path, const VoxelMask& mask) {
  Matrix out;
  MatrixSink sink;
  sink.begin = [&](const Matrix& m) {
    out = m;
    if (store::checked_bytes({m.rows, m.voxels}, 4, path) > std::int64_t{16} << 30)
      throw data_error("{}: {} rows of {} voxels take more than 16 GiB; give a mask", path, m.rows, m.voxels);
    out.values.resize(static_cast<std::size_t>(m.rows * m.voxels));
  };
  sink.rows = [&](std::int64_t first, std::int64_t count, const float* rows) {
    std::copy_n(rows, count * out.voxels, out.values.begin() + static_cast<std::ptrdiff_t>(first * out.voxels));
    return true;
  };
  scan_matrix(path, mask, sink);
  return out;
}

}  // namespace me2::ingest
