// Whether there is a device at all, and what opening it sets.
#include "device.h"

#include <c10/core/InferenceMode.h>

namespace me2 {
namespace {

TEST(Device, IsHere) {  // run.sh asks this one first
  if (std::getenv("ME2_CUDA_STAND_IN")) GTEST_SKIP() << "the stand-in is";
  try {
    EXPECT_TRUE(nn::open_device("cuda").is_cuda());
  } catch (const std::exception& e) {
    FAIL() << e.what();
  }
}

using OpenDevice = test::DeviceTest;

TEST_F(OpenDevice, CountsFromZeroAndRefusesOneThatIsNotThere) {
  EXPECT_EQ(device().index(), 0);
  EXPECT_THROW(nn::open_device("cuda:9"), std::exception);
}

TEST_F(OpenDevice, F32IsF32) {
  EXPECT_FALSE(at::globalContext().allowTF32CuDNN());
  EXPECT_FALSE(at::globalContext().allowTF32CuBLAS());
  const c10::InferenceMode guard;
  const at::Tensor x = at::randn({1, 64, 40, 40}), w = at::randn({64, 64, 3, 3}), a = at::randn({300, 500}), b = at::randn({500, 200});
  // TF32 keeps ten bits of the inputs: an error of some 5e-4.
  EXPECT_LE(test::relative_error(at::conv2d(x.to(device()), w.to(device())), at::conv2d(x, w)), 2e-5);
  EXPECT_LE(test::relative_error(at::mm(a.to(device()), b.to(device())), at::mm(a, b)), 2e-5);
}

}  // namespace
}  // namespace me2
