#include "store/matlab.h"

#include <matio.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>

#include "base/error.h"
#include "store/beginning.h"
#include "store/extent.h"

namespace me2::store {
namespace {

struct CloseMat {
  void operator()(mat_t* m) const { Mat_Close(m); }
};
struct FreeVar {
  void operator()(matvar_t* v) const { Mat_VarFree(v); }
};

std::unique_ptr<mat_t, CloseMat> open(const std::string& path) {
  if (!std::filesystem::exists(path)) throw missing_error("{}: no such file; a MATLAB .mat file was expected", path);
  Mat_LogInitFunc("me2", [](int, char*) {});  // its messages go to stderr otherwise; ours says what matters
  errno = 0;
  std::unique_ptr<mat_t, CloseMat> file(Mat_Open(path.c_str(), MAT_ACC_RDONLY));
  if (const int failed = errno; !file && is_of_the_system(failed)) throw io_error("{}: {}", path, std::strerror(failed));
  if (!file) throw data_error("{}: not a MATLAB .mat file, or truncated", path);
  return file;
}

template <class T>
void copy(const matvar_t& v, std::vector<double>& out) {
  const T* p = static_cast<const T*>(v.data);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<double>(p[i]);
}

}  // namespace

std::vector<std::string> mat_variables(const std::string& path) {
  const auto file = open(path);
  std::vector<std::string> names;
  while (true) {
    const std::unique_ptr<matvar_t, FreeVar> v(Mat_VarReadNextInfo(file.get()));
    if (!v) break;
    if (v->name) names.emplace_back(v->name);
    if (names.size() > 10000) break;
  }
  return names;
}

MatArray read_mat(const std::string& path, const std::string& variable) {
  const auto file = open(path);
  const std::unique_ptr<matvar_t, FreeVar> info(Mat_VarReadInfo(file.get(), variable.c_str()));
  if (!info) throw data_error("{}: variable {} is missing; the file has {}", path, variable, fmt::join(mat_variables(path), ", "));
  MatArray out;
  for (int k = 0; k < info->rank; ++k) out.shape.push_back(static_cast<std::int64_t>(info->dims[k]));
  const std::int64_t n = element_count(out.shape, fmt::format("{}: variable {}", path, variable));
  if (n > std::int64_t{1} << 28) throw data_error("{}: variable {} has {} elements, more than expected of a table of trials", path, variable, n);
  if (info->isComplex) throw data_error("{}: variable {} is complex; a real array was expected", path, variable);
  const std::unique_ptr<matvar_t, FreeVar> v(Mat_VarRead(file.get(), variable.c_str()));
  const std::size_t bytes = v ? v->nbytes : 0;
  out.values.resize(static_cast<std::size_t>(n));
  if (!v || (n > 0 && (!v->data || v->data_size <= 0 || bytes / static_cast<std::size_t>(v->data_size) < out.values.size())))
    throw data_error("{}: variable {} cannot be read (truncated or not numeric)", path, variable);
  if (n == 0) return out;
  switch (v->class_type) {
    case MAT_C_DOUBLE: copy<double>(*v, out.values); break;
    case MAT_C_SINGLE: copy<float>(*v, out.values); break;
    case MAT_C_INT8: copy<std::int8_t>(*v, out.values); break;
    case MAT_C_UINT8: copy<std::uint8_t>(*v, out.values); break;
    case MAT_C_INT16: copy<std::int16_t>(*v, out.values); break;
    case MAT_C_UINT16: copy<std::uint16_t>(*v, out.values); break;
    case MAT_C_INT32: copy<std::int32_t>(*v, out.values); break;
    case MAT_C_UINT32: copy<std::uint32_t>(*v, out.values); break;
    case MAT_C_INT64: copy<std::int64_t>(*v, out.values); break;
    case MAT_C_UINT64: copy<std::uint64_t>(*v, out.values); break;
    default: throw data_error("{}: variable {} is not a numeric array", path, variable);
  }
  return out;
}

}  // namespace me2::store
