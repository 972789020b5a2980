// Tests that need a GPU (or its stand-in): skipped, with the reason, where there is none.
#pragma once
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "nn/device.h"
#include "support/golden.h"

namespace me2::test {

class DeviceTest : public testing::Test {
 protected:
  void SetUp() override {
    static std::string missing;
    if (missing.empty() && !device_) try {
        device_ = nn::open_device("cuda");
      } catch (const std::exception& e) {
        missing = e.what();
      }
    if (!device_) GTEST_SKIP() << missing;
  }
  at::Device device() const { return *device_; }

 private:
  static inline std::optional<at::Device> device_;
};

inline double relative_error(const at::Tensor& got, const at::Tensor& want) {  // NaN where something is NaN: fails every bound
  const at::Tensor a = got.detach().cpu().to(at::kDouble), b = want.detach().cpu().to(at::kDouble);
  return ((a - b).norm() / b.norm()).item<double>();
}

}  // namespace me2::test
