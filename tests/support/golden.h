// A golden case: config.json, model.safetensors (when it has one) and io.safetensors, made by the reference implementation.
#pragma once
#include <cstdlib>
#include <filesystem>
#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "weights/state_dict.h"

namespace me2::test {

// tests/golden/<name>; or, for the cases that may not be committed, ../shared/goldens/<name>. Empty when it is nowhere.
inline std::string golden_dir(const std::string& name) {
  namespace fs = std::filesystem;
  if (const char* extra = std::getenv("ME2_GOLDENS"))  // another set of the same cases, tried first
    if (const auto p = fs::path(extra) / name; fs::exists(p)) return p;
  if (const auto p = fs::path(ME2_SOURCE_DIR) / "tests/golden" / name; fs::exists(p)) return p;
  const char* shared = std::getenv("ME2_SHARED");
  const auto p = (shared ? fs::path(shared) : fs::path(ME2_SOURCE_DIR) / "../shared") / "goldens" / name;
  return fs::exists(p) ? fs::canonical(p).string() : "";
}

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

// First line of a test on a golden that may be absent.
#define ME2_NEEDS_GOLDEN(name) \
  if (me2::test::golden_dir(name).empty()) GTEST_SKIP() << "golden case " << name << " is not on this machine"
