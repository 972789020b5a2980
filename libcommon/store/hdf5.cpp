#include "store/hdf5.h"

#include <hdf5.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>
#include <utility>

#include "base/error.h"
#include "store/beginning.h"
#include "store/convert.h"
#include "store/extent.h"

namespace me2::store {
namespace {

std::mutex library;  // the library as packaged is not thread-safe

class Handle {
 public:
  Handle() = default;
  Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  Handle(Handle&& o) noexcept : id_(std::exchange(o.id_, -1)), close_(o.close_) {}
  Handle& operator=(Handle&& o) noexcept {
    std::swap(id_, o.id_);
    std::swap(close_, o.close_);
    return *this;
  }
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  hid_t get() const { return id_; }
  explicit operator bool() const { return id_ >= 0; }

 private:
  hid_t id_ = -1;
  herr_t (*close_)(hid_t) = nullptr;
};

// The innermost entry of the library's error stack says what really happened.
std::string reason() {
  std::string text;
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_UPWARD,
      [](unsigned n, const H5E_error2_t* e, void* out) -> herr_t {
        if (n == 0 && e->desc) *static_cast<std::string*>(out) = e->desc;
        return 0;
      },
      &text);
  H5Eclear2(H5E_DEFAULT);
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text.empty() ? "no reason given" : text;
}

void prepare() {
  static const bool once = [] {
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    H5PLset_loading_state(0);  // no filter plugins from HDF5_PLUGIN_PATH
    return true;
  }();
  (void)once;
}

herr_t refuse_external(const char*, const char*, const char*, const char*, unsigned*, hid_t, void*) { return -1; }

struct Dataset {
  Handle id, type;  // type: as in the file, in this machine's byte order
  Shape shape;
  DType dtype = DType::f4;
};

}  // namespace

struct H5File::Impl {
  std::string path;
  Handle file;
  std::map<std::string, Dataset> open;

  Dataset& dataset(const std::string& name);
  std::vector<std::string> children(const std::string& group, H5O_type_t kind);
};

bool is_hdf5(const std::string& path) {
  return std::filesystem::exists(path) && read_beginning(path, 8) == "\x89HDF\r\n\x1a\n";
}

H5File::H5File(const std::string& path) : impl_(std::make_shared<Impl>()) {
  impl_->path = path;
  if (!std::filesystem::exists(path)) throw missing_error("{}: no such file; an HDF5 file was expected", path);
  if (!is_hdf5(path)) throw data_error("{}: not an HDF5 file: the signature is missing", path);
  const std::lock_guard lock(library);
  prepare();
  errno = 0;
  impl_->file = Handle(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  if (!impl_->file) {
    if (const int failed = errno; is_of_the_system(failed)) throw io_error("{}: cannot be opened: {}", path, std::strerror(failed));
    throw data_error("{}: cannot be opened as HDF5 (truncated or corrupt): {}", path, reason());
  }
}

const std::string& H5File::path() const { return impl_->path; }

std::vector<std::string> H5File::Impl::children(const std::string& group, H5O_type_t kind) {
  const Handle access(H5Pcreate(H5P_GROUP_ACCESS), H5Pclose);
  H5Pset_elink_cb(access.get(), refuse_external, nullptr);
  const Handle g(H5Gopen2(file.get(), group.c_str(), access.get()), H5Gclose);
  if (!g) throw data_error("{}: group {} cannot be opened: {}", path, group, reason());
  std::vector<std::string> names, out;
  hsize_t at = 0;
  const herr_t status = H5Literate(
      g.get(), H5_INDEX_NAME, H5_ITER_INC, &at,
      [](hid_t, const char* name, const H5L_info_t* info, void* list) -> herr_t {
        if (info->type == H5L_TYPE_HARD || info->type == H5L_TYPE_SOFT) static_cast<std::vector<std::string>*>(list)->push_back(name);
        return 0;
      },
      &names);
  if (status < 0) throw data_error("{}: group {} cannot be listed: {}", path, group, reason());
  for (const std::string& name : names) {
    H5O_info_t info;
    if (H5Oget_info_by_name(g.get(), name.c_str(), &info, access.get()) < 0) {
      H5Eclear2(H5E_DEFAULT);  // a dangling or looping soft link is not a child
      continue;
    }
    if (info.type == kind) out.push_back(name);
  }
  return out;
}

std::vector<std::string> H5File::datasets(const std::string& group) const {
  const std::lock_guard lock(library);
  return impl_->children(group, H5O_TYPE_DATASET);
}
std::vector<std::string> H5File::groups(const std::string& group) const {
  const std::lock_guard lock(library);
  return impl_->children(group, H5O_TYPE_GROUP);
}

bool H5File::has(const std::string& name) const {
  const std::lock_guard lock(library);
  std::string prefix;
  for (const auto& part : std::filesystem::path(name)) {  // H5Lexists wants every parent to exist
    if (part == "/") continue;
    prefix += "/" + part.string();
    if (H5Lexists(impl_->file.get(), prefix.c_str(), H5P_DEFAULT) <= 0) {
      H5Eclear2(H5E_DEFAULT);
      return false;
    }
  }
  return !prefix.empty();
}

Dataset& H5File::Impl::dataset(const std::string& name) {
  if (const auto found = open.find(name); found != open.end()) return found->second;
  const std::string where = fmt::format("{}: dataset {}", path, name);
  const Handle access(H5Pcreate(H5P_DATASET_ACCESS), H5Pclose);
  H5Pset_elink_cb(access.get(), refuse_external, nullptr);
  H5Pset_chunk_cache(access.get(), 12421, std::size_t{64} << 20, 1.0);
  Dataset d;
  d.id = Handle(H5Dopen2(file.get(), name.c_str(), access.get()), H5Dclose);
  if (!d.id) {
    const std::string why = reason();
    std::string there;
    try {
      there = fmt::format("{}", fmt::join(children("/", H5O_TYPE_DATASET), ", "));
    } catch (const Error&) {
    }
    throw data_error("{}: dataset {} cannot be opened (absent, an external link, or corrupt): {}; datasets at the top: {}", path, name, why,
                     there.empty() ? "none" : there);
  }
  const Handle creation(H5Dget_create_plist(d.id.get()), H5Pclose);
  if (H5Pget_layout(creation.get()) == H5D_VIRTUAL || H5Pget_external_count(creation.get()) > 0)
    throw data_error("{}: its data lie in other files, which are not followed", where);
  const Handle space(H5Dget_space(d.id.get()), H5Sclose);
  const int rank = H5Sget_simple_extent_ndims(space.get());
  if (rank < 0) throw data_error("{}: malformed dataspace: {}", where, reason());
  std::vector<hsize_t> extent(static_cast<std::size_t>(rank));
  H5Sget_simple_extent_dims(space.get(), extent.data(), nullptr);
  for (const hsize_t e : extent) {
    if (e > (hsize_t{1} << 62)) throw data_error("{}: an extent of {} is larger than any memory", where, e);
    d.shape.push_back(static_cast<std::int64_t>(e));
  }
  const Handle stored(H5Dget_type(d.id.get()), H5Tclose);
  const std::size_t size = H5Tget_size(stored.get());
  const bool is_signed = H5Tget_sign(stored.get()) == H5T_SGN_2;
  switch (H5Tget_class(stored.get())) {
    case H5T_INTEGER:
      if (size == 1) d.dtype = is_signed ? DType::i1 : DType::u1;
      else if (size == 2) d.dtype = is_signed ? DType::i2 : DType::u2;
      else if (size == 4) d.dtype = is_signed ? DType::i4 : DType::u4;
      else if (size == 8) d.dtype = is_signed ? DType::i8 : DType::u8;
      else throw data_error("{}: integers of {} bytes are not supported", where, size);
      break;
    case H5T_FLOAT:
      if (size == 2) d.dtype = DType::f2;
      else if (size == 4) d.dtype = DType::f4;
      else if (size == 8) d.dtype = DType::f8;
      else throw data_error("{}: floats of {} bytes are not supported", where, size);
      break;
    case H5T_ENUM:
      if (size != 1) throw data_error("{}: enumerations are read only as one-byte booleans", where);
      d.dtype = DType::b1;
      break;
    default: throw data_error("{}: its element type is neither number nor boolean", where);
  }
  checked_bytes(d.shape, item_size(d.dtype), where);
  d.type = Handle(H5Tcopy(stored.get()), H5Tclose);
  if (size > 1) H5Tset_order(d.type.get(), H5Tget_order(H5T_NATIVE_INT));
  return open.emplace(name, std::move(d)).first->second;
}

Shape H5File::shape(const std::string& dataset) const {
  const std::lock_guard lock(library);
  return impl_->dataset(dataset).shape;
}
DType H5File::dtype(const std::string& dataset) const {
  const std::lock_guard lock(library);
  return impl_->dataset(dataset).dtype;
}
std::int64_t H5File::row_size(const std::string& dataset) const {
  const Shape s = shape(dataset);
  return s.empty() ? 1 : element_count(Shape(s.begin() + 1, s.end()), dataset);
}

void H5File::read_rows(const std::string& name, std::int64_t first, std::int64_t count, DType as, void* out) const {
  const std::lock_guard lock(library);
  Dataset& d = impl_->dataset(name);
  const std::string where = fmt::format("{}: dataset {}", impl_->path, name);
  const std::int64_t rows = d.shape.empty() ? 1 : d.shape[0];
  if (first < 0 || count < 0 || first > rows - count) throw data_error("{}: rows {}..{} asked for, {} there", where, first, first + count, rows);
  Shape box = d.shape;
  if (!box.empty()) box[0] = count;
  const std::int64_t n = element_count(box, where);
  if (n == 0) return;
  const Handle space(H5Dget_space(d.id.get()), H5Sclose);
  Handle memory(H5Screate(H5S_SCALAR), H5Sclose);
  if (!box.empty()) {
    std::vector<hsize_t> start(box.size(), 0), extent(box.begin(), box.end());
    start[0] = static_cast<hsize_t>(first);
    H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start.data(), nullptr, extent.data(), nullptr);
    memory = Handle(H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr), H5Sclose);
  }
  std::vector<std::byte> raw;
  void* target = out;
  if (as != d.dtype) {
    if (n > std::int64_t{1} << 30) throw data_error("{}: {} elements at once are too many", where, n);
    raw.resize(static_cast<std::size_t>(n) * item_size(d.dtype));
    target = raw.data();
  }
  if (H5Dread(d.id.get(), d.type.get(), memory.get(), space.get(), H5P_DEFAULT, target) < 0)
    throw data_error("{}: rows {}..{} cannot be read (truncated or corrupt): {}", where, first, first + count, reason());
  if (as != d.dtype) convert_elements(d.dtype, raw.data(), as, out, static_cast<std::size_t>(n));
}

}  // namespace me2::store
