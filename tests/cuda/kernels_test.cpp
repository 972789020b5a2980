// The kernels of libcommon/cuda: their own bodies on the CPU, block by block, against LibTorch's operators; and on the device where there is one.
#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/InferenceMode.h>

#include "device.h"
#include "host_block.h"
#include "nn/cuda_part.h"

namespace me2::cuda {
namespace {

const at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(7);

// f<T, N>() for the three types, and for packs of one and of four.
template <class F>
void for_each_type(Index columns, const F& f) {
  const auto widths = [&]<class T>(at::ScalarType type) {
    f.template operator()<T, 1>(type);
    if (columns % 4 == 0) f.template operator()<T, 4>(type);
  };
  widths.template operator()<float>(at::kFloat);
  widths.template operator()<at::Half>(at::kHalf);
  widths.template operator()<at::BFloat16>(at::kBFloat16);
}

// LibTorch in f64 on the values as the type has them; a result may differ by half a unit of the type, and f32 arithmetic.
double tolerance(at::ScalarType type) { return type == at::kFloat ? 1e-5 : type == at::kHalf ? 6e-4 : 5e-3; }
void expect_near(const at::Tensor& got, const at::Tensor& want, at::ScalarType type) {
  const at::Tensor error = (got.cpu().to(at::kDouble) - want).abs() / (1 + want.abs());
  EXPECT_LE(error.max().item<double>(), tolerance(type)) << toString(type);
}

at::Tensor geglu_of(const at::Tensor& x) {
  const auto halves = x.to(at::kDouble).chunk(2, -1);
  return halves[0] * at::gelu(halves[1]);
}

at::Tensor group_norm_of(const at::Tensor& x, Index groups, const at::Tensor& weight, const at::Tensor& bias, double eps, bool silu) {
  const at::Tensor y = at::group_norm(x.to(at::kDouble).contiguous(), groups, weight.to(at::kDouble), bias.to(at::kDouble), eps);
  return silu ? at::silu(y) : y;
}

TEST(KernelBodies, GegluIsLibTorchs) {
  for (const auto& [rows, width] : std::vector<std::pair<Index, Index>>{{1, 1}, {7, 12}, {33, 260}, {5, 6}}) {
    const at::Tensor values = at::randn({rows, 2 * width}, generator) * 3;
    for_each_type(width, [&]<class T, int N>(at::ScalarType type) {
      const at::Tensor x = values.to(type), out = at::full({rows, width}, NAN, type);
      geglu_on_host<T, N>(x.const_data_ptr<T>(), out.mutable_data_ptr<T>(), rows, width);
      expect_near(out, geglu_of(x), type);
    });
  }
}

// Maps smaller than a slab and larger, channels fewer and more than threads, odd sizes, a mean far from zero, a constant group.
TEST(KernelBodies, GroupNormWithAndWithoutSiluIsLibTorchs) {
  struct Case {
    Index batch, channels, groups, height, width;
    double mean;
  };
  for (const Case& c : {Case{1, 4, 2, 1, 1, 0}, {2, 32, 8, 5, 3, 0}, {2, 320, 32, 9, 7, 1}, {1, 12, 3, 40, 33, 50}, {3, 6, 3, 17, 5, -2}, {1, 1280, 32, 4, 4, 0},
                         {1, 2080, 32, 3, 2, 0}, {1, 128, 32, 64, 48, 0}, {1, 257, 1, 3, 3, 0}}) {
    at::Tensor values = at::randn({c.batch, c.channels, c.height, c.width}, generator) + c.mean;
    if (c.batch > 1) values[0].slice(0, 0, c.channels / c.groups).fill_(2.5);
    const at::Tensor w = at::randn({c.channels}, generator), b = at::randn({c.channels}, generator);
    for (const bool silu : {false, true})
      for_each_type(c.channels, [&]<class T, int N>(at::ScalarType type) {
        const at::Tensor x = values.to(type).contiguous(at::MemoryFormat::ChannelsLast), weight = w.to(type), bias = b.to(type);
        const at::Tensor out = at::full_like(x, NAN);
        const auto shape = group_norm_shape(c.batch, c.height * c.width, c.channels, c.groups, N);
        EXPECT_GE(shape.slabs * shape.slab, shape.pixels);
        EXPECT_GT(shape.slab * shape.slabs, 0);
        EXPECT_LT((shape.slabs - 1) * shape.slab, shape.pixels);  // no slab is empty
        group_norm_on_host<T, N>(x.const_data_ptr<T>(), weight.const_data_ptr<T>(), bias.const_data_ptr<T>(), out.mutable_data_ptr<T>(), shape, 1e-5f, silu);
        SCOPED_TRACE(fmt::format("{} x {} channels of {} x {}, {} groups, packs of {}", c.batch, c.channels, c.height, c.width, c.groups, N));
        expect_near(out, group_norm_of(x, c.groups, weight, bias, 1e-5, silu), type);
      });
  }
}

TEST(KernelBodies, SumsFitInSharedMemory) {
  for (Index channels = 1; channels <= kMostChannels; ++channels)
    EXPECT_LE(group_sums_shared(group_norm_shape(1, 100, channels, 1, pack_width(channels)), pack_width(channels)) * sizeof(float), 48u * 1024) << channels;
}

class Kernels : public test::DeviceTest {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    if (!IsSkipped() && !nn::cuda_part()) GTEST_SKIP() << "libme2_cuda.so is not here";
  }
};

TEST_F(Kernels, OnTheDeviceAreLibTorchs) {
  const c10::InferenceMode guard;
  const bool small = std::getenv("ME2_CUDA_STAND_IN") != nullptr;
  for (const auto type : {at::kFloat, at::kHalf, at::kBFloat16}) {
    for (const Index width : {4, 30, 5120}) {
      const at::Tensor x = (at::randn({2, 77, 2 * width}, generator) * 3).to(type);
      expect_near(nn::cuda_part()->geglu(x.to(device())), geglu_of(x), type);
    }
    for (const auto& [channels, size] : std::vector<std::pair<Index, Index>>{{32, 3}, {30, 17}, {320, small ? 12 : 64}, {2560, small ? 3 : 24}, {128, small ? 20 : 300}})
      for (const bool silu : {false, true}) {
        const at::Tensor x = (at::randn({2, channels, size, size}, generator) + 1).to(type).contiguous(at::MemoryFormat::ChannelsLast);
        const at::Tensor weight = at::randn({channels}, generator).to(type), bias = at::randn({channels}, generator).to(type);
        const Index groups = channels == 30 ? 10 : 32;
        const at::Tensor got = nn::cuda_part()->group_norm(x.to(device()), groups, weight.to(device()), bias.to(device()), 1e-5, silu);
        EXPECT_TRUE(got.is_contiguous(at::MemoryFormat::ChannelsLast));
        SCOPED_TRACE(fmt::format("{} channels of {} x {}", channels, size, size));
        expect_near(got, group_norm_of(x, groups, weight, bias, 1e-5, silu), type);
      }
  }
}

}  // namespace
}  // namespace me2::cuda
