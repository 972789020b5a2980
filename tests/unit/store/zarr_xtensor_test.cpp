#include "store/zarr_xtensor.h"

#include <gtest/gtest.h>
#include <xtensor/xmath.hpp>
#include <xtensor/xview.hpp>

#include "support/temp_dir.h"

namespace me2::store {
namespace {

TEST(ZarrXtensor, ExpressionsComeBackAsTheyWereWritten) {
  const test::TempDir dir;
  Group group = Group::create(dir / "a.zarr");
  const xt::xarray<float> values = xt::reshape_view(xt::arange<float>(24), {2, 3, 4});
  ArraySpec spec;
  spec.dtype = DType::f2;
  spec.chunks = {1, 2, 3};
  Array array = save(group, "x", values * 2 + 1, spec);
  EXPECT_TRUE(load<float>(array) == values * 2 + 1);
  EXPECT_TRUE(load<double>(array, {{1, 0, 1}, {1, 3, 2}}) == xt::view(xt::cast<double>(values * 2 + 1), xt::range(1, 2), xt::all(), xt::range(1, 3)));
  store_expression(array, xt::view(values, xt::range(0, 1), xt::range(0, 2), xt::all()), {1, 1, 0});
  EXPECT_EQ(load<float>(array)(1, 2, 3), values(0, 1, 3));
  EXPECT_EQ(load<float>(array)(1, 0, 3), values(1, 0, 3) * 2 + 1);
}

TEST(ZarrXtensor, AScalarExpressionIsAZeroDimensionalArray) {
  const test::TempDir dir;
  Group group = Group::create(dir / "a.zarr");
  const Array array = save(group, "mean", xt::mean(xt::xarray<double>{1., 2., 6.}), {.dtype = DType::f8});
  EXPECT_EQ(array.shape(), Shape{});
  EXPECT_EQ(load<double>(array)(), 3);
}

}  // namespace
}  // namespace me2::store
