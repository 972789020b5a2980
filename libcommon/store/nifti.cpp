#include "store/nifti.h"

#include <zlib.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "store/convert.h"
#include "store/extent.h"

namespace me2::store {
namespace {

struct Fields {
  const std::byte* data;
  bool swapped;
  template <class T>
  T at(std::size_t offset) const {
    std::byte raw[sizeof(T)];
    std::memcpy(raw, data + offset, sizeof(T));
    if (swapped) swap_bytes(raw, sizeof(T), 1);
    return std::bit_cast<T>(raw);
  }
};

DType datatype(int code, const std::string& where) {
  switch (code) {
    case 2: return DType::u1;
    case 4: return DType::i2;
    case 8: return DType::i4;
    case 16: return DType::f4;
    case 64: return DType::f8;
    case 256: return DType::i1;
    case 512: return DType::u2;
    case 768: return DType::u4;
    case 1024: return DType::i8;
    case 1280: return DType::u8;
    default: break;
  }
  throw data_error("{}: NIfTI datatype {} is not supported; integers of 1 to 8 bytes and floats of 4 or 8 are", where, code);
}

void from_quaternion(NiftiHeader& h, double b, double c, double d, const double* offset) {
  const double a2 = 1 - (b * b + c * c + d * d);
  double a = 0;
  if (a2 < 1e-7) {  // as nifti1.h: a rotation by 180 degrees, the vector part rescaled to length one
    const double n = std::sqrt(b * b + c * c + d * d);
    b /= n, c /= n, d /= n;
  } else {
    a = std::sqrt(a2);
  }
  const double dx = h.pixdim[1], dy = h.pixdim[2], dz = h.pixdim[3] * (h.pixdim[0] < 0 ? -1 : 1);
  h.affine = {(a * a + b * b - c * c - d * d) * dx, 2 * (b * c - a * d) * dy, 2 * (b * d + a * c) * dz, offset[0],
              2 * (b * c + a * d) * dx, (a * a + c * c - b * b - d * d) * dy, 2 * (c * d - a * b) * dz, offset[1],
              2 * (b * d - a * c) * dx, 2 * (c * d + a * b) * dy, (a * a + d * d - c * c - b * b) * dz, offset[2],
              0, 0, 0, 1};
}

}  // namespace

std::int64_t NiftiHeader::volumes() const {
  std::int64_t n = 1;
  for (std::size_t k = 3; k < shape.size(); ++k) n *= shape[k];
  return n;
}

NiftiHeader parse_nifti_header(std::span<const std::byte> bytes, const std::string& where) {
  if (bytes.size() < 348) throw data_error("{}: not a NIfTI file: {} bytes, at least 348 expected", where, bytes.size());
  NiftiHeader h;
  Fields f{bytes.data(), false};
  auto size = f.at<std::int32_t>(0);
  if (size != 348 && size != 540) {
    f.swapped = h.swapped = true;
    size = f.at<std::int32_t>(0);
  }
  if (size != 348 && size != 540) throw data_error("{}: not a NIfTI file: sizeof_hdr is {}, 348 or 540 expected", where, Fields{bytes.data(), false}.at<std::int32_t>(0));
  h.version = size == 348 ? 1 : 2;
  if (h.version == 2 && bytes.size() < 540) throw data_error("{}: truncated NIfTI-2 header: {} bytes, 540 expected", where, bytes.size());
  const bool v1 = h.version == 1;
  const char* magic = reinterpret_cast<const char*>(bytes.data()) + (v1 ? 344 : 4);
  if (v1 && std::memcmp(magic, "ni1", 4) == 0) throw data_error("{}: a two-file NIfTI (.hdr and .img); convert it to one .nii file", where);
  if (v1 ? std::memcmp(magic, "n+1", 4) != 0 : std::memcmp(magic, "n+2\0\r\n\032\n", 8) != 0)
    throw data_error("{}: not a NIfTI file: the magic string is wrong (ANALYZE files are not read)", where);

  const std::int64_t rank = v1 ? f.at<std::int16_t>(40) : f.at<std::int64_t>(16);
  if (rank < 1 || rank > 7) throw data_error("{}: NIfTI dim[0] is {}, 1 to 7 expected", where, rank);
  for (int k = 1; k <= rank; ++k) {
    const std::int64_t n = v1 ? f.at<std::int16_t>(40 + 2 * static_cast<std::size_t>(k)) : f.at<std::int64_t>(16 + 8 * static_cast<std::size_t>(k));
    if (n < 1) throw data_error("{}: NIfTI dim[{}] is {}, at least 1 expected", where, k, n);
    h.shape.push_back(n);
  }
  while (h.shape.size() < 3) h.shape.push_back(1);
  for (std::size_t k = 0; k < 8; ++k) h.pixdim.push_back(v1 ? f.at<float>(76 + 4 * k) : f.at<double>(104 + 8 * k));
  h.dtype = datatype(f.at<std::int16_t>(v1 ? 70 : 12), where);
  const int bitpix = f.at<std::int16_t>(v1 ? 72 : 14);
  if (bitpix != static_cast<int>(8 * item_size(h.dtype)))
    throw data_error("{}: NIfTI bitpix is {}, {} expected for {}", where, bitpix, 8 * item_size(h.dtype), dtype_name(h.dtype));
  checked_bytes(h.shape, item_size(h.dtype), where);
  if (checked_bytes({h.x(), h.y(), h.z()}, item_size(h.dtype), where) > std::int64_t{2} << 30)
    throw data_error("{}: one volume of [{}] is larger than 2 GiB", where, fmt::join(h.shape, ", "));

  const double offset = v1 ? f.at<float>(108) : static_cast<double>(f.at<std::int64_t>(168));
  const int smallest = v1 ? 352 : 544;
  if (offset == 0) h.data_offset = smallest;  // allowed by the standard's authors: "right after the header"
  else if (!(offset >= smallest - 4 && offset <= 1 << 30) || offset != std::floor(offset))
    throw data_error("{}: NIfTI vox_offset is {}, a whole number from {} to 2^30 expected", where, offset, smallest);
  else h.data_offset = static_cast<std::int64_t>(offset);

  const double slope = v1 ? f.at<float>(112) : f.at<double>(176), inter = v1 ? f.at<float>(116) : f.at<double>(184);
  if (slope != 0 && std::isfinite(slope)) {  // 0, NaN and infinity mean "not scaled", as nibabel reads them
    if (!std::isfinite(inter)) throw data_error("{}: NIfTI scl_inter is {} while scl_slope is {}", where, inter, slope);
    h.slope = slope, h.inter = inter;
  }

  const int units = v1 ? f.at<std::int8_t>(123) : f.at<std::int32_t>(500);
  if (h.shape.size() >= 4 && std::isfinite(h.pixdim[4]) && h.pixdim[4] > 0)
    h.time_step = h.pixdim[4] * ((units & 0x38) == 16 ? 1e-3 : (units & 0x38) == 24 ? 1e-6 : 1);
  h.qform_code = v1 ? f.at<std::int16_t>(252) : f.at<std::int32_t>(344);
  h.sform_code = v1 ? f.at<std::int16_t>(254) : f.at<std::int32_t>(348);
  const auto real = [&](std::size_t at1, std::size_t at2, std::size_t k) {
    return v1 ? static_cast<double>(f.at<float>(at1 + 4 * k)) : f.at<double>(at2 + 8 * k);
  };
  if (h.sform_code > 0) {
    for (std::size_t k = 0; k < 12; ++k) h.affine[k] = real(280, 400, k);
    h.affine[15] = 1;
  } else if (h.qform_code > 0) {
    const double at[3] = {real(256, 352, 3), real(256, 352, 4), real(256, 352, 5)};
    from_quaternion(h, real(256, 352, 0), real(256, 352, 1), real(256, 352, 2), at);
  } else {
    for (int k = 0; k < 3; ++k) {
      h.affine[static_cast<std::size_t>(5 * k)] = h.pixdim[static_cast<std::size_t>(k) + 1];
      h.affine[static_cast<std::size_t>(4 * k + 3)] = -0.5 * static_cast<double>(h.shape[static_cast<std::size_t>(k)] - 1) * h.pixdim[static_cast<std::size_t>(k) + 1];
    }
    h.affine[15] = 1;
  }
  return h;
}

struct NiftiFile::Impl {
  std::string path;
  gzFile gz = nullptr;  // reads plain files as they are
  std::span<const std::byte> memory;
  std::size_t memory_at = 0;
  NiftiHeader header;
  std::vector<std::byte> volume;
  std::int64_t position = 0;

  ~Impl() {
    if (gz) gzclose(gz);
  }

  // Bytes got; short only at the end of the file. Exit::data when the gzip stream is corrupt.
  std::size_t read(void* out, std::size_t n) {
    if (!gz) {
      const std::size_t got = std::min(n, memory.size() - memory_at);
      if (got) std::memcpy(out, memory.data() + memory_at, got);
      memory_at += got;
      return got;
    }
    std::size_t got = 0;
    while (got < n) {
      const int step = gzread(gz, static_cast<char*>(out) + got, static_cast<unsigned>(std::min<std::size_t>(n - got, 1 << 24)));
      if (step < 0) {
        int code = 0;
        const char* text = gzerror(gz, &code);
        if (code == Z_BUF_ERROR) break;  // the stream stops in the middle: the caller knows what is missing
        throw data_error("{}: corrupt gzip data in volume {}: {}", path, position + 1, text);
      }
      if (step == 0) break;
      got += static_cast<std::size_t>(step);
    }
    return got;
  }

  void start() {
    std::byte head[540];
    const std::size_t got = read(head, sizeof head);
    header = parse_nifti_header({head, got}, path);
    if (gz && gzdirect(gz)) {
      const auto there = static_cast<std::int64_t>(std::filesystem::file_size(path));
      const std::int64_t needed = header.data_offset + checked_bytes(header.shape, item_size(header.dtype), path);
      if (there < needed) throw data_error("{}: truncated NIfTI file: {} bytes, {} expected for shape [{}] of {}", path, there, needed,
                                           fmt::join(header.shape, ", "), dtype_name(header.dtype));
    }
    seek_data(static_cast<std::int64_t>(got));
  }

  void seek_data(std::int64_t at) {
    if (!gz) {
      memory_at = static_cast<std::size_t>(std::min<std::int64_t>(header.data_offset, static_cast<std::int64_t>(memory.size())));
    } else if (gzseek(gz, header.data_offset, SEEK_SET) < 0) {
      throw data_error("{}: truncated NIfTI file: the data start at byte {}, past the end", path, header.data_offset);
    }
    (void)at;
    position = 0;
  }

  template <class T, class Out>
  void gather(std::span<const std::int64_t> flat, Out* out) const {
    const NiftiHeader& h = header;
    const std::int64_t nx = h.x(), ny = h.y(), nz = h.z();
    const bool scaled = h.slope != 1 || h.inter != 0;
    for (std::size_t i = 0; i < flat.size(); ++i) {
      const std::int64_t z = flat[i] % nz, y = flat[i] / nz % ny, x = flat[i] / (nz * ny);
      T value;
      std::memcpy(&value, volume.data() + static_cast<std::size_t>(x + nx * (y + ny * z)) * sizeof(T), sizeof(T));
      out[i] = scaled ? static_cast<Out>(static_cast<double>(value) * h.slope + h.inter) : static_cast<Out>(value);
    }
  }
  template <class Out>
  void gather_any(std::span<const std::int64_t> flat, Out* out) const {
    switch (header.dtype) {
      case DType::u1: return gather<std::uint8_t>(flat, out);
      case DType::i1: return gather<std::int8_t>(flat, out);
      case DType::i2: return gather<std::int16_t>(flat, out);
      case DType::u2: return gather<std::uint16_t>(flat, out);
      case DType::i4: return gather<std::int32_t>(flat, out);
      case DType::u4: return gather<std::uint32_t>(flat, out);
      case DType::i8: return gather<std::int64_t>(flat, out);
      case DType::u8: return gather<std::uint64_t>(flat, out);
      case DType::f4: return gather<float>(flat, out);
      default: return gather<double>(flat, out);
    }
  }
};

NiftiFile::NiftiFile(const std::string& path) : impl_(std::make_shared<Impl>()) {
  impl_->path = path;
  if (!std::filesystem::exists(path)) throw missing_error("{}: no such file; a NIfTI file was expected", path);
  if (!std::filesystem::is_regular_file(path)) throw data_error("{}: not a file; a NIfTI file was expected", path);
  impl_->gz = gzopen(path.c_str(), "rb");
  if (!impl_->gz) throw io_error("{}: cannot be opened: {}", path, std::strerror(errno));
  gzbuffer(impl_->gz, 1 << 18);
  impl_->start();
}

NiftiFile::NiftiFile(std::span<const std::byte> bytes, const std::string& where) : impl_(std::make_shared<Impl>()) {
  impl_->path = where;
  impl_->memory = bytes;
  impl_->start();
}

const NiftiHeader& NiftiFile::header() const { return impl_->header; }
const std::string& NiftiFile::path() const { return impl_->path; }
std::int64_t NiftiFile::position() const { return impl_->position; }

void NiftiFile::rewind() {
  if (impl_->gz) gzrewind(impl_->gz);
  impl_->seek_data(0);
}

bool NiftiFile::next() {
  Impl& f = *impl_;
  const std::int64_t total = f.header.volumes();
  if (f.position >= total) return false;
  const std::size_t bytes = static_cast<std::size_t>(f.header.voxels()) * item_size(f.header.dtype);
  // Grown as data arrive: a short file with a huge header costs no more than it holds.
  std::size_t got = 0;
  while (got < bytes) {
    const std::size_t step = std::min<std::size_t>(bytes - got, std::size_t{16} << 20);
    if (f.volume.size() < got + step) f.volume.resize(got + step);
    const std::size_t here = f.read(f.volume.data() + got, step);
    got += here;
    if (here < step)
      throw data_error("{}: truncated NIfTI file: volume {} of {} has {} of {} bytes", f.path, f.position + 1, total, got, bytes);
  }
  if (f.header.swapped) swap_bytes(f.volume.data(), item_size(f.header.dtype), static_cast<std::size_t>(f.header.voxels()));
  ++f.position;
  return true;
}

void NiftiFile::gather(std::span<const std::int64_t> flat, double* out) const { impl_->gather_any(flat, out); }
void NiftiFile::gather(std::span<const std::int64_t> flat, float* out) const { impl_->gather_any(flat, out); }

std::vector<double> NiftiFile::values() const {
  std::vector<std::int64_t> flat(static_cast<std::size_t>(header().voxels()));
  for (std::size_t i = 0; i < flat.size(); ++i) flat[i] = static_cast<std::int64_t>(i);
  std::vector<double> out(flat.size());
  gather(flat, out.data());
  return out;
}

bool is_nifti(const std::string& path) {
  gzFile gz = gzopen(path.c_str(), "rb");
  if (!gz) return false;
  std::byte head[348] = {};
  const int got = gzread(gz, head, sizeof head);
  gzclose(gz);
  if (got < 348) return false;
  const char* p = reinterpret_cast<const char*>(head);
  return std::memcmp(p + 344, "n+1", 4) == 0 || std::memcmp(p + 344, "ni1", 4) == 0 || std::memcmp(p + 4, "n+2", 4) == 0;
}

NiftiVolume read_nifti_volume(const std::string& path) {
  NiftiFile file(path);
  if (file.header().volumes() != 1)
    throw data_error("{}: shape [{}]: one volume was expected, {} found", path, fmt::join(file.header().shape, ", "), file.header().volumes());
  file.next();
  return {file.header(), file.values()};
}

}  // namespace me2::store
