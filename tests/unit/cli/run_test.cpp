#include "cli/run.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/json.h"
#include "store/stage.h"
#include "support/temp_dir.h"

namespace me2::cli {
namespace {

struct Options {
  InputPath input;
  OutputPath output{"out"};
  int steps = 5;
  void describe(Describe& d) {
    d.positional("INPUT", input, "");
    d.positional("OUTPUT", output, "");
    d.option("--steps", steps, "");
  }
};

struct Case {
  Options options;
  CommonOptions common;
  Describe described;
  explicit Case(const std::string& input) {
    options.input.path = input;
    options.describe(described);
  }
  std::string digest() const { return Run("t", "v", common, &described).config_digest(); }
};

TEST(ConfigDigest, ChangesWithWhatDecidesTheBytes) {
  const test::TempDir dir;
  const auto file = dir.write("a", "content");
  Case base(file);
  const auto before = base.digest();
  Case same(dir.write("elsewhere/b", "content"));  // the content counts, not the path
  same.options.output.path = "other";
  same.common.threads = 7;
  same.common.batch_size = 3;
  same.common.shard = "2/3";
  same.common.resume = true;
  EXPECT_EQ(same.digest(), before);

  Case seed(file), dtype(file), device(file), option(file), content(dir.write("c", "Content"));
  seed.common.seed = 1;
  dtype.common.dtype = DTypeOption::bf16;
  device.common.device = "cuda:1";
  option.options.steps = 6;
  for (const Case* changed : {&seed, &dtype, &device, &option, &content}) EXPECT_NE(changed->digest(), before);
}

TEST(Run, WriteOptionsFollowTheCommonOnes) {
  const test::TempDir dir;
  Case c(dir.write("a", "x"));
  c.common.shard = "2/3";
  c.common.resume = true;
  c.common.zarr_format = 2;
  const auto options = cli::Run("t", "v", c.common, &c.described).write_options();
  EXPECT_EQ(options.shard_index, 2);
  EXPECT_EQ(options.shard_count, 3);
  EXPECT_TRUE(options.resume);
  EXPECT_FALSE(options.overwrite);
  EXPECT_EQ(options.zarr_format, 2);
  EXPECT_EQ(options.config_digest, c.digest());
}

TEST(Run, ThreadsComeFromTheOptionThenFromSlurmWithinOpenMpsLimit) {
  Case c("a");
  ::unsetenv("OMP_NUM_THREADS");  // CTest may set it
  ::setenv("SLURM_CPUS_PER_TASK", "5", 1);
  EXPECT_EQ(cli::Run("t", "v", c.common, &c.described).threads(), 5);
  c.common.threads = 3;
  EXPECT_EQ(cli::Run("t", "v", c.common, &c.described).threads(), 3);
  ::setenv("OMP_THREAD_LIMIT", "2", 1);
  EXPECT_EQ(cli::Run("t", "v", c.common, &c.described).threads(), 2);
  ::setenv("OMP_THREAD_LIMIT", "4", 1);
  EXPECT_EQ(cli::Run("t", "v", c.common, &c.described).threads(), 3);
  ::unsetenv("OMP_THREAD_LIMIT");
  ::unsetenv("SLURM_CPUS_PER_TASK");
  c.common.threads = 0;
  EXPECT_GE(cli::Run("t", "v", c.common, &c.described).threads(), 1);
}

TEST(CommonOptions, RefuseWhatHasNoMeaning) {
  const auto refused = [](auto change) {
    CommonOptions options;
    change(options);
    try {
      options.check();
    } catch (const Error& e) {
      return e.exit() == Exit::usage;
    }
    return false;
  };
  for (const char* shard : {"3/2", "0/2", "1", "a/b", "1/0", "1/2/3", "/", "-1/2", ""})
    EXPECT_TRUE(refused([&](CommonOptions& o) { o.shard = shard; })) << shard;
  for (const char* device : {"gpu", "cuda:", "cuda:x", "cuda:123", "CPU", ""})
    EXPECT_TRUE(refused([&](CommonOptions& o) { o.device = device; })) << device;
  EXPECT_TRUE(refused([](CommonOptions& o) { o.zarr_format = 1; }));
  EXPECT_TRUE(refused([](CommonOptions& o) { o.threads = -1; }));
  EXPECT_TRUE(refused([](CommonOptions& o) { o.batch_size = -1; }));
  EXPECT_TRUE(refused([](CommonOptions& o) { o.resume = o.overwrite = true; }));
  EXPECT_FALSE(refused([](CommonOptions& o) { o.shard = "2/2", o.device = "cuda:11"; }));
}

TEST(Plan, AddsUpBytes) {
  Plan plan;
  plan.array("tokens", "f2", {10, 4, 3}).array("image", "u1", {10, 3}).array("caption", "str", {10}).memory("model", 100).memory("batch", 20);
  plan.seconds(2, "a guess").threads(3).note("trials", "10 of 12");
  const Json json = plan.to_json();
  EXPECT_EQ(json["bytes"], 10 * 4 * 3 * 2 + 30);
  EXPECT_EQ(json["memory_bytes"], 120);
  EXPECT_EQ(json["seconds"], 2.0);
  EXPECT_EQ(json["threads"], 3);
  EXPECT_EQ(json["arrays"][0]["shape"], Json::parse("[10, 4, 3]"));
  EXPECT_NE(plan.to_text().find("tokens f2 [10, 4, 3]  240 B"), std::string::npos);
}

TEST(Plan, AnOptionGivenSeveralTimesHasAListOfPaths) {
  Plan plan;
  plan.input("--model", "m");
  for (const char* path : {"a", "b", "c"}) plan.input("--targets", path);
  const Json inputs = plan.to_json()["inputs"];
  EXPECT_EQ(inputs["--model"], "m");
  EXPECT_EQ(inputs["--targets"], (Json{"a", "b", "c"}));
}

}  // namespace
}  // namespace me2::cli
