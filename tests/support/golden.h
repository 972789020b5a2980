// A golden case: config.json, model.safetensors (when it has one) and io.safetensors, made by the reference implementation.
#pragma once
#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "support/golden_dir.h"
#include "weights/state_dict.h"

namespace me2::test {

struct Golden {
  std::string dir;
  Json config;
  weights::StateDict io;
  explicit Golden(const std::string& name) : dir(golden_dir(name)) {
    config = read_json_file(dir + "/config.json");
    io = weights::StateDict::open(dir + "/io.safetensors");
  }
  std::string model() const { return dir + "/model.safetensors"; }
  at::Tensor in(const std::string& name) const { return io.get("in." + name).clone(); }
  at::Tensor out(const std::string& name) const { return io.get("out." + name); }
  // Largest absolute difference to out.<name> must not pass `tolerance`.
  void expect(const std::string& name, const at::Tensor& got, double tolerance) const {
    const at::Tensor want = out(name);
    ASSERT_EQ(want.sizes(), got.sizes()) << name;
    if (want.numel() == 0) return;
    const double worst = (want.to(at::kDouble) - got.detach().cpu().to(at::kDouble)).abs().max().item<double>();
    EXPECT_LE(worst, tolerance) << name;  // NaN fails
  }
};

}  // namespace me2::test
