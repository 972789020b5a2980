#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "metrics/brain.h"
#include "store/npy.h"

namespace me2::metrics {
namespace {

// Kriegeskorte et al. 2008 human IT; the numbers are those of real/kriegeskorte92/SOURCE.md (rsatoolbox demo data, Spearman).
TEST(Brain, RSAOfHumanIT) {
  const char* shared = std::getenv("ME2_SHARED");
  const std::string dir = (shared ? std::string(shared) : std::string(ME2_SOURCE_DIR) + "/../shared") + "/real/kriegeskorte92/";
  if (!std::filesystem::exists(dir)) GTEST_SKIP() << "real/kriegeskorte92 is not on this machine";
  const auto read = [&](const char* name) {
    const auto npy = store::read_npy(dir + name);
    return at::tensor(npy.as<double>(), at::kDouble).reshape(npy.shape);
  };
  const at::Tensor brains = read("human_IT_rdm_subj4_sess2_f64.npy").mean(1), models = read("model_rdm_8_f64.npy");
  std::ifstream names(dir + "model_rdm_names.txt");
  const std::map<std::string, double> want{{"animacy", .386}, {"FaceBodyManmadeNatobj", .277}, {"monkeyIT", .296}, {"EVA", .245},
                                           {"HMAX", .160}, {"V1", .027}, {"Silhouette", .097}, {"RADON", .038}};
  int found = 0;
  std::string name;
  for (std::int64_t k = 0; k < models.size(0) && std::getline(names, name); ++k) {
    while (!name.empty() && std::isspace(static_cast<unsigned char>(name.back()))) name.pop_back();
    const auto got = rsa(models[k], brains);
    EXPECT_NEAR(got.ceiling_low, 0.3786, 6e-5);
    EXPECT_NEAR(got.ceiling_high, 0.6607, 6e-5);
    for (const auto& [key, rho] : want)
      if (name.find(key) != std::string::npos) {
        EXPECT_NEAR(got.mean, rho, 6e-4) << name;
        ++found;
        break;
      }
  }
  EXPECT_EQ(found, 8);
}

}  // namespace
}  // namespace me2::metrics
