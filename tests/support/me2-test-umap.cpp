// me2-test-umap X.npy Y.npy: the map of X [n, features] float32, written as [n, 2].
#include <ATen/ATen.h>

#include "metrics/umap.h"
#include "store/npy.h"

int main(int, char** argv) {
  const auto x = me2::store::read_npy(argv[1]);
  auto values = x.as<float>();
  const at::Tensor y = me2::metrics::umap(at::from_blob(values.data(), x.shape, at::kFloat)).contiguous();
  me2::store::write_npy(argv[2], y.sizes().vec(), me2::store::DType::f4, y.const_data_ptr());
}
