// Zarr arrays in and out of xtensor: for those who compute with it. Nothing else in the project includes xtensor.
//     const xt::xarray<float> betas = load<float>(group.array("betas"));            // [trial, voxel]
//     save(group, "beta_mean", xt::mean(betas, {0}), spec);                         // any expression
#pragma once
#include <string>
#include <vector>

#include <xtensor/xarray.hpp>
#include <xtensor/xeval.hpp>

#include "store/zarr.h"

namespace me2::store {

// The whole array, or the elements of `box`, converted to T (float of an f2 array: exact). Errors as Array::read_bytes.
template <class T>
xt::xarray<T> load(const Array& array, const Box& box) {
  xt::xarray<T> out = xt::xarray<T>::from_shape(std::vector<std::size_t>(box.count.begin(), box.count.end()));
  array.read_bytes(box, dtype_of<T>(), out.data());
  return out;
}
template <class T>
xt::xarray<T> load(const Array& array) {
  array.check_memory(sizeof(T));
  return load<T>(array, {Shape(array.shape().size(), 0), array.shape()});
}

// Writes an expression into the box that begins at `start` (empty: the origin). Its rank must be the array's.
template <class E>
void store_expression(Array& array, const xt::xexpression<E>& expression, Shape start = {}) {
  using T = typename E::value_type;
  const xt::xarray<T, xt::layout_type::row_major> values = expression.derived_cast();
  Box box{std::move(start), Shape(values.shape().begin(), values.shape().end())};
  if (box.start.empty()) box.start.assign(box.count.size(), 0);
  array.write_bytes(box, dtype_of<T>(), values.data());
}

// A new array that holds the expression; spec.shape is taken from it. spec.dtype stays as given (f2 of a float expression rounds).
template <class E>
Array save(Group& group, const std::string& name, const xt::xexpression<E>& expression, ArraySpec spec) {
  const auto& shape = expression.derived_cast().shape();
  spec.shape.assign(shape.begin(), shape.end());
  Array array = group.create_array(name, spec);
  store_expression(array, expression);
  return array;
}

}  // namespace me2::store
